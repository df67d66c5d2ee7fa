"""The metadata files of image folders: metadata.csv, .jsonl or .parquet beside the images that they list."""

from collections.abc import Collection, Iterator

import pyarrow as pa

from fuseline.stores.errors import DataError, mismatch
from fuseline.tasks.readers import csv, jsonl, parquet
from fuseline.tasks.readers.mapping import TableOptions

METADATA = ("metadata.csv", "metadata.jsonl", "metadata.parquet")


def read_lists(path: str, options: TableOptions, metadata: str) -> Iterator[pa.Table]:
    """Read the metadata files of one name below a folder, with the options of the columns that were set."""
    values = {name: getattr(options, name) for name in TableOptions.model_fields}
    suffixes = (f"/{metadata}",)
    if metadata.endswith(".csv"):
        return csv.read_files(path, csv.CsvOptions(**values), suffixes)
    if metadata.endswith(".jsonl"):
        return jsonl.read_files(path, jsonl.JsonlOptions(**values), suffixes)
    return parquet.read_files(path, parquet.ParquetOptions(**values), suffixes)


def one_format(formats: Collection[str], path: str) -> str | None:
    """Return the name of the metadata files, None when there are none; DataError when there are several formats."""
    if len(formats) > 1:
        cure = "remove those of the other format"
        raise DataError(mismatch(f"metadata files of {path}", "one format", sorted(formats), cure))
    return next(iter(formats), None)
