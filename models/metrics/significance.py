"""Whether one classifier is better than another on the same documents: paired bootstrap, McNemar, permutations."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fuseline.models.metrics.scores import Interval, Outcomes

DRAWS = 2000
CELLS = 1 << 22  # numbers of a block of draws: 32 MB
ROUNDING = 1e-12  # sums in another order differ by less

F64 = NDArray[np.float64]


class Difference(NamedTuple):
    """How much better a than b, with its interval and the two-sided p value of no difference."""

    value: float
    low: float
    high: float
    p: float


def statistic(metric: str, sums: F64) -> F64:
    """Return a metric from sums over documents (..., 4) of first, true, predicted and hit, or of one value (..., 1)."""
    if metric == "f1_micro":
        total = sums[..., 1] + sums[..., 2]
        return np.asarray(np.divide(2 * sums[..., 3], total, out=np.zeros_like(total), where=total > 0))
    return np.asarray(sums[..., 0])


def per_document(metric: str, outcomes: Outcomes, *, multi_label: bool) -> F64:
    """Return what a metric is summed from, (n, 4) or (n, 1); a mean over n documents is divided by n here.

    Raises ValueError for a metric that no sum over documents gives.
    """
    n = max(1, len(outcomes.first))
    if metric == "f1_micro":
        return np.stack([np.asarray(column, np.float64) for column in outcomes], axis=1)
    exact = (outcomes.hit == outcomes.true) & (outcomes.hit == outcomes.predicted)
    means = {
        "p_at_1": outcomes.first,
        "accuracy": exact if multi_label else outcomes.first,
        "f1_samples": 2 * outcomes.hit / (outcomes.true + outcomes.predicted),
    }
    if metric not in means:
        raise ValueError(
            f"metric: expected one of {sorted([*means, 'f1_micro'])!r}, got {metric!r}; choose one of these"
        )
    return np.asarray(means[metric], np.float64)[:, None] / n


def resampled(values: Sequence[F64], *, rng: np.random.Generator, draws: int = DRAWS) -> list[F64]:
    """Return, for each (n, K) array, sums over n documents drawn with replacement, (draws, K).

    Draw d takes the same documents for every array, so that their differences are paired.
    """
    n = len(values[0])
    totals: list[list[F64]] = [[] for _ in values]
    size = max(1, CELLS // max(1, n))
    for lo in range(0, draws, size):
        rows = min(size, draws - lo)
        chosen = rng.integers(0, n, (rows, n)) + n * np.arange(rows)[:, None]
        weights = np.bincount(chosen.ravel(), minlength=rows * n).reshape(rows, n).astype(np.float64)
        for sums, own in zip(totals, values, strict=True):
            sums.append(weights @ own)
    return [np.concatenate(sums) for sums in totals]


def interval(draws: F64, *, level: float = 0.95) -> Interval:
    """Return the percentile interval of drawn values (d,)."""
    return Interval(*(float(end) for end in np.quantile(draws, [(1 - level) / 2, (1 + level) / 2])))


def mcnemar(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    """Return the two-sided p value of no difference between two models that are right on documents (n,) or not.

    Of the documents on which they differ each is as likely to be right: an exact binomial test (McNemar 1947); 1 where
    they never differ.
    """
    from scipy.stats import binomtest

    only_a, only_b = int((a & ~b).sum()), int((b & ~a).sum())
    return float(binomtest(only_a, only_a + only_b).pvalue) if only_a + only_b else 1.0


def permutation(metric: str, a: F64, b: F64, *, rng: np.random.Generator, draws: int = DRAWS) -> float:
    """Return the two-sided p value of no difference in a metric between two models, whose answers are exchanged.

    a, b: what the metric is summed from, (n, K) of `per_document`. In every draw each document's answers are those of
    the other model with probability 1/2. Never 0: at least 1 / (draws + 1).
    """
    total_a, total_b = a.sum(axis=0), b.sum(axis=0)
    seen = abs(float(statistic(metric, total_a)) - float(statistic(metric, total_b)))
    change = (b - a)[(a != b).any(axis=1)]
    beyond, size = 0, max(1, CELLS // max(1, len(change)))
    for lo in range(0, draws, size):
        swapped = rng.integers(0, 2, (min(size, draws - lo), len(change))).astype(np.float64) @ change
        gaps = statistic(metric, total_a + swapped) - statistic(metric, total_b - swapped)
        beyond += int((np.abs(gaps) >= seen - ROUNDING).sum())
    return (beyond + 1) / (draws + 1)


def difference(a: float, b: float, a_draws: F64, b_draws: F64, *, level: float = 0.95) -> Difference:
    """Return a - b with the percentile interval of its draws (d,), and p = twice the share on the other side of 0."""
    draws = a_draws - b_draws
    low, high = interval(draws, level=level)
    beyond = min(int((draws <= 0).sum()), int((draws >= 0).sum()))
    return Difference(a - b, low, high, min(1.0, 2 * (beyond + 1) / (len(draws) + 1)))
