"""What a classifier says of some documents, asked for by class: of all classes at once, or found without the rest.

Classes come by falling logit, of equal ones the first.
"""

from collections.abc import Callable
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from fuseline.models.errors import TrainingError
from fuseline.models.features import Block
from fuseline.models.neighbours import top

F32 = NDArray[np.float32]
Numbers = NDArray[np.int64]


class RankedClasses(Protocol):
    """The classes of n documents."""

    def top(self, k: int) -> tuple[Numbers, F32]:
        """Return the first k classes (n, k) of each document, and their probabilities (n, k)."""

    def of(self, rows: Numbers, classes: Numbers) -> tuple[F32, F32]:
        """Return (logits (m,), probabilities (m,)) of classes (m,) for the documents `rows` (m,)."""

    def ranks(self, rows: Numbers, classes: Numbers) -> Numbers:
        """Return the places (m,) of classes (m,) in the documents `rows` (m,), 1 = first."""

    def at_least(self, probability: float) -> tuple[Numbers, Numbers, F32]:
        """Return (rows, classes, probabilities) of all that are as probable, by document, then class."""


@runtime_checkable
class Ranker(Protocol):
    """The optional power of a classifier to find the first classes without the logits of all of them."""

    def ranker(self) -> Callable[[Block], RankedClasses] | None:
        """Return what ranks the classes for the documents of a block; None where `predict_logits` is as quick."""


class LogitMatrix(NamedTuple):
    """The ranked classes of documents whose logits are all known."""

    logits: F32  # (n, C)
    probabilities: F32  # (n, C)

    def top(self, k: int) -> tuple[Numbers, F32]:
        """Return the first k classes (n, k) of each document, and their probabilities (n, k)."""
        best = self.logits.argmax(axis=1)[:, None] if k == 1 else top(self.logits, k)
        return best, np.take_along_axis(self.probabilities, best, axis=1)

    def of(self, rows: Numbers, classes: Numbers) -> tuple[F32, F32]:
        """Return (logits (m,), probabilities (m,)) of classes (m,) for the documents `rows` (m,)."""
        return self.logits[rows, classes], self.probabilities[rows, classes]

    def ranks(self, rows: Numbers, classes: Numbers) -> Numbers:
        """Return the places (m,) of classes (m,) in the documents `rows` (m,), 1 = first."""
        own, every, number = self.logits[rows, classes][:, None], self.logits[rows], np.arange(self.logits.shape[1])
        before = (every > own) | ((every == own) & (number < classes[:, None]))
        return 1 + np.asarray(before.sum(axis=1), np.int64)

    def at_least(self, probability: float) -> tuple[Numbers, Numbers, F32]:
        """Return (rows, classes, probabilities) of all that are as probable, by document, then class."""
        rows, classes = np.nonzero(self.probabilities >= probability)
        return rows, classes, self.probabilities[rows, classes]


def checked_logits(logits: F32) -> F32:
    """Return the logits; raises TrainingError when one is not finite."""
    if not np.isfinite(logits).all():
        raise TrainingError("logits: expected finite numbers, got inf or nan; lower lr and train again")
    return logits
