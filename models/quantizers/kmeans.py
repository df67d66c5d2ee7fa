"""The k-means under every codebook: faiss learns the centroids, a blocked GEMM assigns them."""

import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]
ROWS = 8192  # rows per GEMM: 8192 x 256 distances are 8 MB, which stay in the cache


def learn(X: F32, codewords: int, *, iterations: int, seed: int) -> F32:
    """Return k-means centroids (Ks, Ds) float32 of X (N, Ds) float32."""
    import faiss

    engine = faiss.Kmeans(
        X.shape[1],
        codewords,
        niter=iterations,
        seed=seed,
        min_points_per_centroid=1,
        max_points_per_centroid=max(1, len(X)),  # the caller has sampled; faiss must not do it again in silence
    )
    engine.train(np.ascontiguousarray(X, dtype=np.float32))
    return np.ascontiguousarray(engine.centroids, dtype=np.float32)


def assign(X: F32, centroids: F32) -> NDArray[np.uint8]:
    """Return the number (n,) uint8 of the nearest centroid for X (n, Ds); ties go to the lower number."""
    codes = np.empty(len(X), dtype=np.uint8)
    half_norms = (0.5 * np.square(centroids, dtype=np.float32).sum(1)).astype(np.float32)
    for lo in range(0, len(X), ROWS):
        # argmin |x - c|^2 = argmin |c|^2 / 2 - x.c
        codes[lo : lo + ROWS] = (half_norms - X[lo : lo + ROWS] @ centroids.T).argmin(1)
    return codes


def usable(X: F32, present: NDArray[np.bool_] | None, *, unit: bool) -> NDArray[np.bool_]:
    """Return which rows (n,) can be quantized: present, finite and, if they are scaled to unit length, not zero."""
    good = np.asarray(np.isfinite(X).all(axis=1))
    if present is not None:
        good &= present
    if unit:
        good &= X.any(axis=1)
    return good


def unit_rows(X: F32) -> F32:
    """Return X (n, D) with every row scaled to length 1; zero rows stay zero."""
    # float16 embeddings overflow when squared, so lengths are taken in float32
    X = np.asarray(X, dtype=np.float32)
    length = np.sqrt(np.einsum("ij,ij->i", X, X, dtype=np.float32))
    length[length == 0] = 1
    return np.asarray(X / length[:, None], dtype=np.float32)
