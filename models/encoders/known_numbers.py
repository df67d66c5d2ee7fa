"""Numbers of an input and which of them are known; their means and scales, summed block by block."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fuseline.models.columns import Column, Dense, Pixels
from fuseline.models.dense import usable

F32 = NDArray[np.float32]
Taken = tuple[NDArray[Any], NDArray[np.bool_]]


class Moments:
    """Count, sum, sum of squares, low and high of numbers, each by its place."""

    def __init__(self, D: int) -> None:
        self.n, self.sum, self.squares = (np.zeros(D) for _ in range(3))
        self.low, self.high = np.full(D, np.inf), np.full(D, -np.inf)

    def add(self, X: F32, known: NDArray[np.bool_]) -> None:
        """Take in numbers (m, D)."""
        values = np.where(known, X, 0).astype(np.float64)
        self.n += known.sum(axis=0)
        self.sum += values.sum(axis=0)
        self.squares += (values**2).sum(axis=0)
        self.low = np.minimum(self.low, np.where(known, X, np.inf).min(axis=0, initial=np.inf))
        self.high = np.maximum(self.high, np.where(known, X, -np.inf).max(axis=0, initial=-np.inf))

    def scales(self, kind: str) -> tuple[F32, F32]:
        """Return centre and scale (D,): 0 and 1 where nothing is known, scale 1 where nothing differs."""
        n = np.maximum(self.n, 1)
        mean = self.sum / n
        spread = np.sqrt(np.maximum(self.squares / n - mean**2, 0))
        if kind == "range":
            spread = np.where(self.n > 0, self.high - self.low, 0)
        # What differs by rounding alone does not differ.
        flat = spread <= 1e-6 * np.maximum(1, np.abs(mean))
        scale = np.ones_like(mean) if kind == "none" else np.where(flat, 1.0, spread)
        return mean.astype(np.float32), scale.astype(np.float32)


def taking(column: Column) -> Callable[[NDArray[np.int64]], Taken]:
    """Return what takes the numbers of places (m,) and which are known (m, D or 1).

    Raises ValueError for a column of another kind.
    """
    if isinstance(column, Pixels):
        return lambda rows: (column.take(rows), column.present[rows][:, None])
    if not isinstance(column, Dense):
        raise ValueError(  # noqa: TRY004 - of a configuration, not of code
            f"inputs: expected vectors or pictures, got {column.kind!r}; name another input"
        )
    X = np.asarray(column.values, np.float32)
    known = usable(X, column.present, unit=False)[:, None]
    known = known if column.missing is None else known & ~column.missing
    X = np.where(np.isfinite(X), X, np.float32(0))
    return lambda rows: (X[rows], known[rows])
