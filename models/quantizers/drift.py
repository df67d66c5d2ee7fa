"""Has the data moved away from a frozen codebook? Pure functions over counts that add shard by shard."""

from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from fuseline.models.config import FrozenConfig


class DriftConfig(FrozenConfig):
    """When new data ask for a new codebook."""

    error_ratio: float = Field(1.25, gt=1, description="Mean squared error of new rows over that of known ones")
    empty_share: float = Field(
        0.25, gt=0, le=1, description="Share of a part's used codewords that new rows leave empty"
    )
    hot_share: float = Field(0.1, gt=0, le=1, description="A codeword with more of a part's rows is hot")
    rows: int = Field(1000, ge=1, description="Fewest new rows that are judged")
    held_out: int = Field(100, ge=1, description="With fewer held-out rows the training rows are the known ones")


class CodewordUsage(NamedTuple):
    """What some rows look like to a codebook; tallies of shards add."""

    usage: NDArray[np.int64]  # (M, Ks) rows per codeword
    error: float  # squared error, summed over the rows

    @classmethod
    def nothing(cls, parts: int, codewords: int) -> Self:
        """Return the tally of no rows."""
        return cls(np.zeros((parts, codewords), np.int64), 0.0)

    @property
    def rows(self) -> int:
        """How many rows were counted."""
        return int(self.usage[0].sum())

    @property
    def mean_error(self) -> float:
        """Their mean squared error; not a number for no rows."""
        return self.error / self.rows if self.rows else float("nan")

    def plus(self, other: "CodewordUsage") -> "CodewordUsage":
        """Return the tally of the rows of both."""
        return CodewordUsage(self.usage + other.usage, self.error + other.error)


class Drift(NamedTuple):
    """What new rows look like to a codebook beside those that it knows."""

    rows: int
    error: float  # their mean squared error; not a number without new rows
    known_error: float  # the one that it is compared with
    error_ratio: float  # 1.0 = as well quantized as the known rows; not a number without new rows
    empty: NDArray[np.int64]  # (M,) codewords used in training that no new row uses
    expected: NDArray[np.float64]  # (M,) that chance alone leaves empty, were the usage that of training
    hot: NDArray[np.int64]  # (M,) codewords with more than hot_share of the rows
    divergence: NDArray[np.float64]  # (M,) Jensen-Shannon divergence of the usages, bits, 0..1
    reasons: tuple[str, ...]  # for a refit; empty = none is advised

    @property
    def refit(self) -> bool:
        """Whether the codebook should be fitted again."""
        return bool(self.reasons)


def drift(
    trained: NDArray[np.int64], train_error: float, *, new: CodewordUsage, held_out: CodewordUsage, config: DriftConfig
) -> Drift:
    """Compare new rows with those that a codebook learned from.

    A codebook fits its training rows better than any others, the more so the fewer they were. Errors are therefore
    compared with those of held-out rows from the time of the fit, when there are enough.

    Args:
        trained, train_error: `usage` (M, Ks) and `train_error` of a fitted quantizer.
        new: rows that came or changed after the fit.
        held_out: rows that were there but taught nothing (splits other than train).
        config: thresholds.
    """
    used = trained > 0
    known = held_out.mean_error if held_out.rows >= config.held_out else train_error
    ratio = _ratio(new.mean_error, known)
    empty = (used & (new.usage == 0)).sum(axis=1)
    # With few rows most codewords are empty by chance: expect what multinomial sampling of the training usage leaves.
    expected = (used * (1.0 - shares(trained)) ** new.rows).sum(axis=1)
    hot = (new.usage > config.hot_share * max(1, new.rows)).sum(axis=1)
    reasons = []
    if new.rows >= config.rows and ratio > config.error_ratio:
        reasons.append(f"mean squared error {ratio:.2f} x that of known rows")
    emptied = np.flatnonzero(empty - expected > config.empty_share * used.sum(axis=1))
    if new.rows >= config.rows and len(emptied):
        worst = emptied[np.argmax(empty[emptied])]
        counts = f"{empty[worst]} of {used[worst].sum()} codewords of part {worst}"
        reasons.append(f"codewords fell out of use in {len(emptied)} of {len(empty)} parts, {counts}")
    divergence = jensen_shannon(shares(trained), shares(new.usage))
    return Drift(new.rows, new.mean_error, float(known), ratio, empty, expected, hot, divergence, tuple(reasons))


def _ratio(error: float, known: float) -> float:
    if np.isnan(error) or known > 0:
        return error / known if known > 0 else float("nan")
    return 1.0 if error == 0 else float("inf")


def shares(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return counts (M, Ks) as shares of their row; an empty row stays zero."""
    return np.asarray(counts / np.maximum(1, counts.sum(axis=1, keepdims=True)), np.float64)


def jensen_shannon(p: NDArray[np.float64], q: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the Jensen-Shannon divergence (M,) in bits of the distributions in the rows of p and q (M, Ks)."""
    middle = (p + q) / 2

    def part(a: NDArray[np.float64]) -> NDArray[np.float64]:
        terms = np.where(a > 0, a * np.log2(np.where(a > 0, a, 1) / np.where(middle > 0, middle, 1)), 0.0)
        return np.asarray(terms.sum(axis=1) / 2)

    return part(p) + part(q)
