"""What a loss comes to when nothing is known of a document but how frequent labels are: who learns stays below."""

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]


def softmax_entropy(counts: F64) -> float:
    """Return the cross entropy of one class among all, in nats, each as probable as its share of counts (C,)."""
    p = counts / counts.sum()
    return float(-(p * _log(p)).sum())


def sigmoid_entropy(positive: F64, negative: F64) -> float:
    """Return the sum over classes of the cross entropy of yes and no, each as probable as it is frequent.

    positive, negative: (C,) how often a document says yes and no to a class, per document.
    """
    p = positive / np.maximum(positive + negative, np.finfo(np.float64).tiny)
    return float(-(positive * _log(p) + negative * _log(1 - p)).sum())


def _log(p: F64) -> F64:
    return np.log(np.where(p > 0, p, 1.0))  # what never occurs costs nothing
