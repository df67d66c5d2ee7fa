"""Unpack a data set of documents.parquet and images.tar or images.parquet for a study.

    python bench/studies/prepare.py DATA OUT [--tags 20]

Writes OUT/documents.parquet and the images beside it, under the names that the column `image` gives; with `--tags N`,
only those `tags` that stand on at least N train documents.
"""

import argparse
import tarfile
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq


def main() -> None:
    """Read the command line and write the folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--tags", type=int)
    given = parser.parse_args()
    given.out.mkdir(parents=True)
    documents = pq.read_table(given.data / "documents.parquet")
    if given.tags is not None:
        documents = frequent(documents, given.tags)
    if (given.data / "images.tar").exists():
        with tarfile.open(given.data / "images.tar", "r:") as archive:
            archive.extractall(given.out, filter="data")
    else:
        for batch in pq.ParquetFile(given.data / "images.parquet").iter_batches(1000):
            for row in batch.to_pylist():
                (given.out / Path(row["name"]).name).write_bytes(row["data"])
    pq.write_table(documents, given.out / "documents.parquet")


def frequent(documents: pa.Table, least: int) -> pa.Table:
    """Return the documents with the tags of at least `least` train documents."""
    train = documents.filter(pc.equal(documents["split"], "train"))
    counts = Counter(tag for tags in train["tags"].to_pylist() for tag in set(tags or ()))
    kept = [[tag for tag in tags or () if counts[tag] >= least] for tags in documents["tags"].to_pylist()]
    place = documents.schema.get_field_index("tags")
    return documents.set_column(place, "tags", pa.array(kept, pa.list_(pa.string())))


if __name__ == "__main__":
    main()
