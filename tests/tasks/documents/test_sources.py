"""Where a document stood: the reader's one text, and file and row apart."""

import pyarrow as pa
import pytest

from fuseline.stores.schemas import DOCUMENTS, INGESTED
from fuseline.tasks.documents.sources import source_text, split_source
from fuseline.tasks.readers.base import documents


@pytest.mark.parametrize(
    ("text", "file", "row"),
    [
        ("d.csv:2", "d.csv", 2),
        ("d.csv.zip/a.csv:12", "d.csv.zip/a.csv", 12),
        ("a:b.csv:3", "a:b.csv", 3),
        ("x\ny.csv:3", "x\ny.csv", 3),
        ("images/1.png", "images/1.png", None),
        ("a.tar:0001.*", "a.tar:0001.*", None),
        ("a.zip:b/c.jpg", "a.zip:b/c.jpg", None),
        ("", "", None),
        ("file:", "file:", None),
        (":7", "", 7),
        ("x:99999999999999999999", "x:99999999999999999999", None),
    ],
)
def test_file_and_row_come_apart_and_together_again(text: str, file: str, row: int | None) -> None:
    table = split_source(documents(1, source=[text], id=["a"]))
    assert (table["source_file"][0].as_py(), table["source_row"][0].as_py()) == (file, row)
    assert source_text(table).to_pylist() == [text]


def test_the_columns_stand_where_the_schema_has_them() -> None:
    table = split_source(DOCUMENTS.empty_table())
    assert table.schema.names == INGESTED.names[: len(DOCUMENTS) + 1]
    assert [field.type for field in table.schema] == [field.type for field in INGESTED][: len(DOCUMENTS) + 1]
    both = pa.concat_tables([split_source(documents(1, source=["d:1"])), table])
    assert source_text(both).to_pylist() == ["d:1"]
