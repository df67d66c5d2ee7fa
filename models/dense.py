"""Small truths about dense vectors that quantizers and classifiers share."""

import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]


def usable(X: F32, present: NDArray[np.bool_] | None, *, unit: bool) -> NDArray[np.bool_]:
    """Return which rows (n,) of X (n, D) can be used: present, finite and, if scaled to unit length, not zero."""
    good = np.asarray(np.isfinite(X).all(axis=1))
    if present is not None:
        good &= present
    if unit:
        good &= X.any(axis=1)
    return good


def unit_rows(X: F32) -> F32:
    """Return X (n, D) with every row scaled to length 1 (K-07); zero rows stay zero."""
    # float16 embeddings overflow when squared, so lengths are taken in float32
    X = np.asarray(X, dtype=np.float32)
    length = np.sqrt(np.einsum("ij,ij->i", X, X, dtype=np.float32))
    length[length == 0] = 1
    return np.asarray(X / length[:, None], dtype=np.float32)
