"""The engine's matrix product for other families: a row has the same bits whatever else is in the batch."""

import numpy as np
from numpy.typing import NDArray

from fuseline.models.fasttext.arrays import widened
from fuseline.models.fasttext.hogwild import padded

F32 = NDArray[np.float32]


def product(X: F32, W: F32) -> F32:
    """Return X (n, D) times W (C, D) transposed, each row alone: a BLAS would give a row other bits elsewhere."""
    from fuseline.models.fasttext.kernels import model as kernels

    out = np.empty((len(X), len(W)), np.float32)
    width = padded(X.shape[1])
    kernels.scores(widened(W, len(W), width), widened(X, len(X), width), out)
    return out
