"""Has the data moved away from a frozen codebook? Pure functions over counts that add shard by shard."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from models.config import FrozenConfig


class DriftConfig(FrozenConfig):
    """When new data ask for a new codebook."""

    error_ratio: float = Field(1.25, gt=1)  # mean squared error of the new rows over that of the training rows
    hot_share: float = Field(0.1, gt=0, le=1)  # a codeword with more of its part's rows is hot
    empty_share: float = Field(0.25, gt=0, le=1)  # codewords of a part, used in training, that no new row uses
    rows: int = Field(1000, ge=1)  # fewer new rows say nothing


class Drift(NamedTuple):
    """What new rows look like to a codebook; the row counts add, so reports of shards can be joined."""

    rows: int
    error_ratio: float  # 1.0 = as well quantized as the training rows
    empty: NDArray[np.int64]  # (M,) codewords used in training that no new row uses
    hot: NDArray[np.int64]  # (M,) codewords with more than hot_share of the rows
    divergence: NDArray[np.float64]  # (M,) Jensen-Shannon divergence of the usages, bits, 0..1
    refit: bool


def usage(codes: NDArray[np.uint8], present: NDArray[np.bool_], *, codewords: int) -> NDArray[np.int64]:
    """Return how often (M, Ks) each codeword occurs in the present rows of codes (n, M); counts of shards add."""
    used = codes[present]
    return np.stack([np.bincount(column, minlength=codewords) for column in used.T]).astype(np.int64)


def drift(
    trained: NDArray[np.int64], train_error: float, *, new: NDArray[np.int64], new_error: float, config: DriftConfig
) -> Drift:
    """Compare the usage (M, Ks) and mean squared error of new rows with those of the rows that a codebook learned from.

    Args:
        trained, train_error: `usage` and `train_error` of a fitted quantizer.
        new: `usage` summed over the new shards. new_error: mean over their rows.
    """
    rows = int(new[0].sum())
    used = trained > 0
    empty = (used & (new == 0)).sum(axis=1)
    hot = (new > config.hot_share * max(1, rows)).sum(axis=1)
    ratio = new_error / train_error if train_error > 0 else 1.0
    # With few rows most codewords are empty by chance: expect what multinomial sampling of the training usage leaves.
    expected = (used * (1.0 - shares(trained)) ** rows).sum(axis=1)
    emptied = (empty - expected) > config.empty_share * used.sum(axis=1)
    refit = rows >= config.rows and bool(ratio > config.error_ratio or emptied.any())
    return Drift(rows, float(ratio), empty, hot, jensen_shannon(shares(trained), shares(new)), refit)


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
