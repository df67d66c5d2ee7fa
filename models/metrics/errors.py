"""How far estimates of numbers lie from the truth: sums that add over shards, equal to scikit-learn's metrics."""

from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]


class Errors(NamedTuple):
    """Sums over n documents; those of the truth are of its differences from one number, which keeps them exact."""

    n: int = 0
    absolute: float = 0.0  # of |estimate - truth|
    squared: float = 0.0  # of its square
    total: float = 0.0  # of truth - origin
    squares: float = 0.0  # of its square
    constant: float = 0.0  # of |origin - truth|

    @classmethod
    def of(cls, truth: F64, estimates: F64, *, origin: float) -> Self:
        """Return the sums of documents (n,)."""
        error, apart = estimates - truth, truth - origin
        sums = (np.abs(error), error**2, apart, apart**2, np.abs(apart))
        return cls(len(truth), *(float(values.sum()) for values in sums))

    def plus(self, other: Self) -> "Errors":
        """Return the sums over the documents of both."""
        n, *sums = (a + b for a, b in zip(self, other, strict=True))
        return Errors(int(n), *sums)

    @property
    def mae(self) -> float:
        """Mean absolute error."""
        return self.absolute / self.n

    @property
    def rmse(self) -> float:
        """Root of the mean squared error."""
        return float(np.sqrt(self.squared / self.n))

    @property
    def r2(self) -> float | None:
        """Share of the variance that is explained: 1 - squared errors / those of the mean; None of equal numbers."""
        spread = self.squares - self.total**2 / self.n
        return None if self.n < 2 or spread <= 1e-12 * self.squares else 1 - self.squared / spread

    @property
    def constant_mae(self) -> float:
        """Mean absolute error of the origin in the place of all estimates."""
        return self.constant / self.n
