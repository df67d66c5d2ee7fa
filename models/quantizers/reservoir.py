"""A uniform sample of a stream of vectors: as many rows in memory as are wanted, and no more."""

import numpy as np

from fuseline.models.dense import F32


class Reservoir:
    """Up to `size` of the rows added so far, each with the same chance, however the stream is cut into blocks.

    While there are at most `size` rows, all are kept in their order.
    """

    def __init__(self, size: int, *, seed: int) -> None:
        self.size, self.count = size, 0
        self._rng = np.random.default_rng(seed)
        self._kept: F32 | None = None

    def add(self, rows: F32) -> None:
        """Add rows (n, D) float32 of the stream (algorithm R of reservoir sampling, a block at a time)."""
        if self._kept is None:
            self._kept = np.empty((self.size, rows.shape[1]), np.float32)
        room = max(0, min(self.size - self.count, len(rows)))
        self._kept[self.count : self.count + room] = rows[:room]
        rest = rows[room:]
        # Row t of the stream takes the place of one of the t + 1 so far; it is kept when that place is in memory.
        so_far = self.count + room + 1 + np.arange(len(rest))
        places = (self._rng.random(len(rest)) * so_far).astype(np.int64)
        inside = np.flatnonzero(places < self.size)
        self._kept[places[inside]] = rest[inside]
        self.count += len(rows)

    def rows(self) -> F32:
        """Return the sample (min(size, rows added), D) float32; no copy."""
        return np.empty((0, 0), np.float32) if self._kept is None else self._kept[: self.count]
