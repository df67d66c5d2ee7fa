"""Maps of vectors: t-SNE, and how well classes are told apart before anything is drawn."""

import numpy as np
from numpy.typing import NDArray

from fuseline.models.dense import F32, unit_rows
from fuseline.models.neighbours import nearest

PERPLEXITY = 30.0  # neighbours that a document is drawn near to, about (van der Maaten 2008)
FEW = 10  # documents: fewer are no map


def coordinates(vectors: F32, *, seed: int) -> F32:
    """Return places (n, 2) of vectors (n, D) by t-SNE over cosine distances, the same for equal input.

    All are at the origin when there are fewer than FEW, or when they are all the same.
    """
    X = unit_rows(vectors)
    if len(X) < FEW or np.ptp(X, axis=0).max() == 0:
        return np.zeros((len(X), 2), np.float32)
    from openTSNE import TSNE

    perplexity = min(PERPLEXITY, (len(X) - 1) / 3)
    # Of unit vectors the squared Euclidean distance is twice that of the cosine. One thread: sums in one order.
    tsne = TSNE(perplexity=perplexity, neighbors="exact", negative_gradient_method="bh", n_jobs=1, random_state=seed)
    return np.asarray(tsne.fit(X), np.float32)


def purity(vectors: F32, labels: NDArray[np.int64], *, k: int) -> NDArray[np.float64]:
    """Return the share of the k nearest others of each vector (n,) that have its label; none has any without others.

    Nearest by cosine, of vectors (n, D) with labels (n,); with fewer than k others all of them.
    """
    n = len(vectors)
    if n < 2:
        return np.full(n, np.nan)
    rows = nearest(vectors, vectors, k=min(k + 1, n)).rows
    others = rows != np.arange(n)[:, None]
    # Of equal vectors another one may stand in the first place: the last is left out then.
    full = others.all(axis=1)
    others[full, -1] = False
    same = labels[rows] == labels[:, None]
    return np.asarray((same & others).sum(axis=1) / others.sum(axis=1), np.float64)


def silhouette(vectors: F32, labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the silhouette (n,) of vectors (n, D) by cosine distance, -1..1 (Rousseeuw 1987).

    NaN everywhere unless there are two labels at least and a label of two vectors.
    """
    if not 1 < len(np.unique(labels)) < len(labels):
        return np.full(len(labels), np.nan)
    from sklearn.metrics import silhouette_samples

    # Of unit vectors, one of which is zeros: scikit-learn's own cosine distance, which knows these.
    return np.asarray(silhouette_samples(vectors, labels, metric="cosine"), np.float64)


def side_by_side(cosine: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the order (n,) in which things that are alike by a matrix of cosines (n, n) stand side by side.

    That of the leaves of a tree by average linkage (Sokal and Michener 1958), its branches turned so that neighbours
    are as near as can be (Bar-Joseph et al. 2001).
    """
    n = len(cosine)
    if n < 3:
        return np.arange(n)
    from scipy.cluster.hierarchy import leaves_list, linkage
    from scipy.spatial.distance import squareform

    distances = np.maximum(0, 1 - (cosine + cosine.T) / 2)
    np.fill_diagonal(distances, 0)
    tree = linkage(squareform(distances, checks=False), "average", optimal_ordering=True)
    return np.asarray(leaves_list(tree), np.int64)
