"""The probability from which a label belongs to the predicted set: chosen for micro-F1, in one streaming pass."""

import numpy as np
from numpy.typing import NDArray

# Candidates: equal steps of log p, since under a softmax over many classes the best one lies far below 0.1.
CANDIDATES = np.geomspace(1e-6, 1.0, 1201)
FLOORS: list[float] = CANDIDATES[[600, 400, 200, 0]].tolist()  # each a tenth of the one before, about


class MicroF1:
    """Counts of true and of all labels at or above every candidate threshold from a floor on; counts of passes add."""

    def __init__(self, floor: float = FLOORS[-1]) -> None:
        self.candidates = CANDIDATES[floor <= CANDIDATES]
        self.true = np.zeros(len(self.candidates) + 1, np.int64)
        self.chosen = np.zeros(len(self.candidates) + 1, np.int64)
        self.labels = 0

    def add(self, probabilities: NDArray[np.float32], true: NDArray[np.int64], labels: int) -> None:
        """Count a batch: the probabilities (m,) of pairs of a document and a class, and the places of the true ones.

        Pairs below every candidate may be left out; `labels` counts those of the documents all the same, also those
        that are no class of the model: they are always missed.
        """
        bins = np.searchsorted(self.candidates, probabilities, side="right")
        self.chosen += np.bincount(bins, minlength=len(self.chosen))
        self.true += np.bincount(bins[true], minlength=len(self.true))
        self.labels += labels

    def settled(self) -> bool:
        """Return whether no threshold below the floor can be better: even if it missed no label, it chose too many."""
        return not self.labels or bool(2 * self.labels / (self.chosen[1:].sum() + self.labels) <= self._f1().max())

    def best(self) -> float:
        """Return the threshold with the highest micro-F1, the highest of equals; 0.5 when nothing was true."""
        f1 = self._f1()
        if not self.labels or not f1.any():
            return 0.5
        return float(self.candidates[len(f1) - 1 - int(f1[::-1].argmax())])

    def _f1(self) -> NDArray[np.float64]:
        true, chosen = (np.cumsum(counts[::-1])[::-1][1:] for counts in (self.true, self.chosen))
        return np.asarray(2 * true / np.maximum(1, chosen + self.labels))
