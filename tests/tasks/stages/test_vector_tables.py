"""The Parquet copy of embeddings."""

import numpy as np
import pyarrow as pa
import pytest

from fuseline.stores.schemas import VECTORS, embedding
from fuseline.tasks.engine.nodes import Context
from fuseline.tasks.stages.vector_tables import VectorsConfig, export_vectors


@pytest.mark.parametrize("dtype", [pa.float16(), pa.float32()])
def test_vectors_are_lists_of_float32_and_null_where_a_document_has_none(dtype: pa.DataType) -> None:
    rows = [("a", True, [1.5, -2.0]), ("b", False, [0.0, 0.0]), ("c", True, [float("nan"), 0.25])]
    columns = ("id", "present", "embedding")
    values = [{**dict(zip(columns, row, strict=True)), "status": "ok"} for row in rows]
    if dtype == pa.float16():
        for value in values:
            value["embedding"] = np.array(value["embedding"], np.float16)
    table = pa.Table.from_pylist(values, schema=embedding(2, dtype)).select(columns)
    found = export_vectors([table], VectorsConfig(), Context("", {}, {}))
    assert found.schema.equals(VECTORS)
    assert found["embedding"].to_pylist()[:2] == [[1.5, -2.0], None]
    assert np.array_equal(found["embedding"][2].as_py(), [np.nan, 0.25], equal_nan=True)
    empty = export_vectors([table.slice(0, 0)], VectorsConfig(), Context("", {}, {}))
    assert empty.schema.equals(VECTORS)
    assert empty.num_rows == 0
