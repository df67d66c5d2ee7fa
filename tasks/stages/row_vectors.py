"""Numbers that a stage makes of documents, as the table of its shard."""

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray


def row_vectors(ids: pa.Array, values: NDArray[np.generic], present: NDArray[np.bool_], schema: pa.Schema) -> pa.Table:
    """Return numbers (n, width) of documents in a schema of id, status, present and these; status: ok, missing."""
    columns = [
        ids.cast(pa.string()),
        pa.array(np.where(present, "ok", "missing").tolist(), pa.string()),
        pa.array(present),
        pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), values.shape[1]),
    ]
    return pa.Table.from_arrays(columns, schema=schema)
