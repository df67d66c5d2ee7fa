"""Whether a model is as often right as it says: the expected calibration error (Guo 2017, section 2)."""

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from fuseline.models.metrics.metric import Counts, Documents, Metric
from fuseline.models.metrics.scores import Tally, outcomes

BINS = 15  # of equal width over 0..1, each with its upper edge
KIND = "ece"


def bin_sums(probability: NDArray[np.float64], right: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return per bin (BINS, 3) how many predictions it holds, the sum of their probabilities, and how many are right.

    probability: (n,) of the most probable label; right: (n,) whether that is one of the document's own.
    """
    bins = np.searchsorted(np.linspace(0, 1, BINS + 1)[1:-1], probability)
    weights = (np.ones(len(bins)), probability, right.astype(np.float64))
    return np.stack([np.bincount(bins, weight, minlength=BINS) for weight in weights], axis=1)


def calibration_error(sums: NDArray[np.float64]) -> float:
    """Return the mean of |mean probability - share of right ones| over bins (BINS, 3), weighted by what they hold."""
    n = sums[:, 0].sum()
    return float(np.abs(sums[:, 1] - sums[:, 2]).sum() / n) if n else 0.0


def _sums(documents: Documents) -> NDArray[np.float64]:
    given = documents.score.is_valid()
    truth, best = documents.truth.filter(given), documents.best.filter(given)
    first = outcomes(truth, documents.predicted.filter(given), best=best).first
    probability = documents.score.filter(given).cast(pa.float64()).to_numpy(zero_copy_only=False)
    return bin_sums(probability, first)


def _value(counts: Counts) -> float:
    return calibration_error(counts.tally.sums[KIND])


def _documents(tally: Tally) -> int:
    return int(tally.sums[KIND][:, 0].sum()) if KIND in tally.sums else 0


ECE = Metric(
    KIND,
    f"expected calibration error of the best label's probability, {BINS} bins of equal width",
    _value, _documents, lower_is_better=True, title="ECE", shown=(), sums=_sums,
)  # fmt: skip
