"""Nearest words of visual tokens by cosine, and how coherent they are (Kiela 2018, Table 5; K-37)."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fuseline.models.dense import F32, unit_rows

CELLS = 1 << 24  # cosines per GEMM: 64 MB


class Neighbours(NamedTuple):
    """For each of q queries its k nearest keys, nearest first."""

    rows: NDArray[np.int64]  # (q, k) row of the keys
    cosine: F32  # (q, k) -1..1
    coherence: F32  # (q,) mean cosine between the k keys themselves: 1 = they all point the same way


def nearest(queries: F32, keys: F32, *, k: int = 5) -> Neighbours:
    """Return the k keys (N, H) nearest by cosine to each query (q, H); for Table 5 visual tokens and words, or back.

    A zero row has cosine 0 with everything. Ties go to the lower index, that is to the more frequent word.
    Raises ValueError when there are fewer than k keys.
    """
    if not 1 <= k <= len(keys):
        raise ValueError(f"k: expected 1..{len(keys)!r}, got {k!r}; ask for as many neighbours as there are keys")
    unit_keys, unit_queries = unit_rows(keys), unit_rows(queries)
    rows = np.empty((len(queries), k), np.int64)
    block = max(1, CELLS // len(keys))
    for lo in range(0, len(queries), block):
        similar = unit_queries[lo : lo + block] @ unit_keys.T
        rows[lo : lo + block] = top(similar, k)
    neighbour_keys = unit_keys[rows]
    cosine = np.einsum("qh,qkh->qk", unit_queries, neighbour_keys)
    gram = np.einsum("qkh,qjh->qkj", neighbour_keys, neighbour_keys)
    pairs = max(1, k * (k - 1))
    coherence = (gram.sum(axis=(1, 2)) - np.trace(gram, axis1=1, axis2=2)) / pairs if k > 1 else np.ones(len(queries))
    return Neighbours(rows, np.asarray(cosine, np.float32), np.asarray(coherence, np.float32))


def top(similar: F32, k: int) -> NDArray[np.int64]:
    """Return the columns (q, k) of the k largest numbers of each row, largest first, equal ones by column."""
    cut = np.partition(similar, similar.shape[1] - k, axis=1)[:, -k][:, None]
    best = np.empty((len(similar), k), np.int64)
    for row, (values, floor) in enumerate(zip(similar, cut, strict=True)):
        candidates = np.flatnonzero(values >= floor)
        best[row] = candidates[np.argsort(-values[candidates], kind="stable")[:k]]
    return best
