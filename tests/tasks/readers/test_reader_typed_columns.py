"""Columns of any type in tables of images: no row is lost."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fixtures.fuzzing import rows_of

TYPED = [
    pa.array([1, 2, None]),
    pa.array([["a"], [], None]),
    pa.array([{"x": 1}, None, {}]),
    pa.array([b"\xff", b"", None]),
    pa.array([1.5, float("nan"), None]),
    pa.array([1, 2, None], pa.timestamp("ns")),
    pa.array(["a", "b", None]).dictionary_encode(),
    pa.array([[{"bytes": b"x", "path": "p"}], [], None]),
    pa.array([[("a", 1)], [], None], pa.map_(pa.string(), pa.int64())),
    pa.nulls(3),
]


@pytest.mark.parametrize("column", ["key", "status", "caption", "jpg", "image"])
@pytest.mark.parametrize("reader", ["img2dataset", "parquet"])
def test_a_column_of_any_type_loses_no_row(tmp_path, reader, column):
    """A status that was a list ended the run, and a column jpg that held numbers made one row of all."""
    for number, values in enumerate(TYPED):
        columns = {"key": ["1", "2", "3"], "status": ["success"] * 3, "caption": ["x"] * 3, column: values}
        pq.write_table(pa.table(columns), tmp_path / "00000.parquet")
        assert len(rows_of(reader, tmp_path)) == 3, number
