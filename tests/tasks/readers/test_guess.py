"""A source is pointed at, and its reader and columns are told."""

import gzip
import io
import tarfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fixtures.layouts import LAYOUTS

from fuseline.stores.errors import ConfigError
from fuseline.tasks.readers.guess import guess, has_labels

# What these need nobody can see in their files: that texts are joined with images by id, or what a column means.
TOLD_APART_BY_NAME = {"flickrtag": "fasttext", "ads_parallelity": "csv"}


@pytest.mark.parametrize("name", LAYOUTS)
def test_the_reader_of_every_layout_is_found(name: str, tmp_path: Path) -> None:
    layout = LAYOUTS[name]
    layout.make(tmp_path / "set", 60)
    found = guess(str(tmp_path / "set"))
    assert found.reader == TOLD_APART_BY_NAME.get(name, layout.reader)
    assert found.options.get("preset") == layout.options.get("preset")
    assert len(found.sample) > 0


def test_columns_get_their_roles_and_the_others_are_numbers_or_categories(tmp_path: Path) -> None:
    rows = [f"s{n},A shirt {n},p/{n}.jpg,shirts,{n}.5,{'ab'[n % 2]},{n}{n}x" for n in range(20)]
    file = tmp_path / "products.csv.gz"
    file.write_bytes(gzip.compress("\n".join(["SKU,Caption,photo,Category,price,brand,note", *rows]).encode()))
    found = guess(str(file))
    roles = {"id": "SKU", "text": "Caption", "image": "photo", "labels": "Category"}
    assert (found.reader, found.options) == ("csv", {"columns": roles})
    assert found.columns == ["SKU", "Caption", "photo", "Category", "price", "brand", "note"]
    assert found.tabular == {"price": "number", "brand": "category"}
    assert found.sample["text"][1].as_py() == "A shirt 1"


def test_rows_without_an_id_are_known_by_their_line(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "train.jsonl").write_text('{"text": "a", "label": "x"}\n{"text": "b", "label": "y"}\n')
    assert guess(str(tmp_path / "set")).options == {"columns": {"id": "#line", "text": "text", "labels": "label"}}


def test_a_named_reader_is_taken(tmp_path: Path) -> None:
    LAYOUTS["img2dataset"].make(tmp_path, 60)
    assert guess(str(tmp_path), "webdataset").reader == "webdataset"


def test_what_nobody_reads_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "notes.docx").write_bytes(b"PK")
    with pytest.raises(ConfigError, match=r"got \['notes.docx'\]; name one with --reader"):
        guess(str(tmp_path))
    with pytest.raises(ConfigError, match=r"reader jsonl looks for \*\.jsonl"):
        guess(str(tmp_path), "jsonl")
    with pytest.raises(ConfigError, match=r"--reader: expected \[.*'csv'.*\], got 'cvs'"):
        guess(str(tmp_path), "cvs")
    with pytest.raises(ConfigError, match=r"source\.path: expected 'a file or folder that exists'"):
        guess(str(tmp_path / "absent"))


def write_table(file: Path, labels: list[str | None], tags: list[list[str]] | None = None) -> None:
    n = len(labels)
    columns = {"id": [f"d{i}" for i in range(n)], "text": ["a word"] * n, "image": [f"{i}.png" for i in range(n)]}
    columns |= {"label": pa.array(labels, pa.string())}
    pq.write_table(pa.table(columns | ({} if tags is None else {"tags": tags})), file)


def test_a_table_goes_before_the_bare_images_beside_it(tmp_path: Path) -> None:
    """images.tar holds what documents.parquet speaks of: read alone, it has neither texts nor labels."""
    write_table(tmp_path / "documents.parquet", ["x", "y"])
    with tarfile.open(tmp_path / "images.tar", "w") as archive:
        for i in range(2):
            member = tarfile.TarInfo(f"{i}.png")
            member.size = 3
            archive.addfile(member, io.BytesIO(b"PNG"))
    assert guess(str(tmp_path)).reader == "parquet"
    (tmp_path / "documents.parquet").unlink()
    assert guess(str(tmp_path)).reader == "webdataset"


@pytest.mark.parametrize("reader", [None, "parquet"])
def test_of_two_columns_of_labels_the_first_that_is_filled_is_named(tmp_path: Path, reader: str | None) -> None:
    file = tmp_path / "documents.parquet"
    write_table(file, [None] * 300 + ["x"] * 300, [["a", "b"]] * 600)
    found = guess(str(file), reader)
    assert found.options["columns"]["labels"] == "tags"
    assert found.sample["labels"][0].as_py() == ["a", "b"]
    write_table(file, ["x", None, "y"], [["a"]] * 3)
    assert guess(str(file), reader).options["columns"]["labels"] == "label"


def test_labels_that_begin_after_the_first_rows_are_seen(tmp_path: Path) -> None:
    """A file in the order of its sources: the first of them had no labels."""
    file = tmp_path / "documents.parquet"
    write_table(file, [None] * 2000 + ["x"] * 10)
    found = guess(str(file))
    assert found.options["columns"]["labels"] == "label"
    assert has_labels(found.sample)
    write_table(file, [None] * 2000)
    assert not has_labels(guess(str(file)).sample)
