"""Which of several documents with one id is kept."""

from collections.abc import Iterable

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from fuseline.tasks.documents.routing import id_hashes


class LastOfEach:
    """The last occurrence of every id, after one reading of all ids; 8 bytes per id while reading."""

    def __init__(self, ids: Iterable[pa.ChunkedArray]) -> None:
        every = np.concatenate([np.zeros(0, np.uint64), *map(id_hashes, ids)])
        hashes, counts = np.unique(every, return_counts=True)
        self._left = dict(zip(hashes[counts > 1].tolist(), counts[counts > 1].tolist(), strict=True))
        self._repeated = hashes[counts > 1]

    def earlier(self, ids: pa.ChunkedArray) -> NDArray[np.bool_]:
        """Return which of the next documents come again later, (n,) bool."""
        hashes = id_hashes(ids)
        earlier = np.zeros(len(hashes), np.bool_)
        for row in np.flatnonzero(np.isin(hashes, self._repeated)).tolist():
            key = int(hashes[row])
            self._left[key] -= 1
            earlier[row] = self._left[key] > 0
        return earlier
