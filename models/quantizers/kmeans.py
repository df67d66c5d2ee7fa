"""The k-means under every codebook: faiss learns the centroids, a blocked GEMM assigns them."""

import numpy as np
from numpy.typing import NDArray

from fuseline.models.dense import F32

ROWS = 8192  # rows per GEMM: 8192 x 256 distances are 8 MB, which stay in the cache


def learn(X: F32, codewords: int, *, iterations: int, seed: int) -> F32:
    """Return k-means centroids (Ks, Ds) float32 of X (N, Ds) float32, by this one thread.

    faiss adds up in another order, and ends at other centroids, for each number of threads: callers who have more of
    them learn several codebooks side by side.
    """
    import faiss

    engine = faiss.Kmeans(
        X.shape[1],
        codewords,
        niter=iterations,
        seed=seed,
        min_points_per_centroid=1,
        max_points_per_centroid=max(1, len(X)),  # the caller has sampled; faiss must not do it again in silence
    )
    threads = faiss.omp_get_max_threads()  # a setting of the calling thread
    faiss.omp_set_num_threads(1)
    try:
        engine.train(np.ascontiguousarray(X, dtype=np.float32))
    finally:
        faiss.omp_set_num_threads(threads)
    return np.ascontiguousarray(engine.centroids, dtype=np.float32)


def assign(X: F32, centroids: F32) -> NDArray[np.uint8]:
    """Return the number (n,) uint8 of the nearest centroid for X (n, Ds); ties go to the lower number."""
    codes = np.empty(len(X), dtype=np.uint8)
    half_norms = (0.5 * np.square(centroids, dtype=np.float32).sum(1)).astype(np.float32)
    for lo in range(0, len(X), ROWS):
        # argmin |x - c|^2 = argmin |c|^2 / 2 - x.c
        codes[lo : lo + ROWS] = (half_norms - X[lo : lo + ROWS] @ centroids.T).argmin(1)
    return codes
