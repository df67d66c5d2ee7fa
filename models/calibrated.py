"""One temperature that makes the probabilities of a trained classifier as often right as they say (Guo 2017)."""

import numpy as np
from numpy.typing import NDArray

from fuseline.models.classifier import LINKS

F32 = NDArray[np.float32]
COLDEST, HOTTEST, STEPS = 0.01, 100.0, 40  # bounds of a temperature, and halvings of the interval between them


def at_temperature(logits: F32, link: str, temperature: float) -> F32:
    """Return probabilities (n, C) of logits divided by a temperature; log probabilities are logits of a softmax.

    Raises ValueError for logits that are probabilities themselves (clipped), which have no temperature.
    """
    if link not in ("softmax", "sigmoid", "exp"):
        raise ValueError(
            f"link: expected softmax, sigmoid or exp for a temperature, got {link!r}; train by another loss"
        )
    return LINKS["softmax" if link == "exp" else link](np.asarray(logits / temperature, np.float32))


def fitted_temperature(logits: F32, link: str, truth: NDArray[np.bool_]) -> float:
    """Return the temperature under which the own labels of documents are most probable; 1 without documents.

    The likelihood is concave in 1 / temperature, so that halving an interval finds the best one. A classifier that is
    always right gets one at which its probabilities are 1, one that is always wrong the hottest.

    Args:
        logits: (n, C).
        link: what makes probabilities of them.
        truth: (n, C) own labels; documents without one are left out.
    """
    has = truth.any(axis=1)
    logits, target = logits[has].astype(np.float64), truth[has].astype(np.float64)
    if not len(logits):
        return 1.0
    target = target if link == "sigmoid" else target / target.sum(axis=1, keepdims=True)
    low, high = np.log(1 / HOTTEST), np.log(1 / COLDEST)
    for _ in range(STEPS):
        middle = (low + high) / 2
        p = at_temperature(logits, link, float(np.exp(-middle)))
        if (logits * (target - p)).sum() > 0:  # the slope of the likelihood in 1 / temperature
            low = middle
        else:
            high = middle
    return float(np.exp(-(low + high) / 2))
