"""What each token of a document weighs: all alike, or the more the rarer it is."""

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fuseline.models.fasttext.chunks import ChunkStore
from fuseline.models.labels import Bags

Weighting = Literal["mean", "tfidf"]


class Weighted(NamedTuple):
    """Token ids of n documents, each once, and what they weigh; row r lies at indptr[r]:indptr[r + 1]."""

    indptr: NDArray[np.int64]  # (n + 1,)
    ids: NDArray[np.int32]
    weights: NDArray[np.float32]


def inverse_document_frequency(store: ChunkStore, rows: int) -> NDArray[np.float32]:
    """Return 1 + ln((1 + n) / (1 + documents that hold the token)) of every token (rows,), as scikit-learn has it."""
    counts = np.zeros(rows, np.int64)
    for i in range(len(store)):
        chunk = store[i]
        counts += np.bincount(counted(Bags(chunk.indptr, chunk.ids), rows)[1], minlength=rows)
    return (1 + np.log((1 + store.documents) / (1 + counts))).astype(np.float32)


def weigh(store: ChunkStore, idf: NDArray[np.float32]) -> None:
    """Give the tokens of every chunk their weights; see `weighted`."""
    store.words = store.documents
    for i in range(len(store)):
        chunk = store[i]
        chunk = chunk._replace(**weighted(Bags(chunk.indptr, chunk.ids), idf)._asdict())
        store.replace(i, chunk, Weighted._fields)
        store.words += len(chunk.ids)


def weighted(bags: Bags, idf: NDArray[np.float32]) -> Weighted:
    """Return each document's tokens once, weighing (1 + ln of how often it comes) * idf, scaled to length 1."""
    documents, ids, times = counted(bags, len(idf))
    weights = (1 + np.log(times)) * idf[ids]
    n = len(bags.indptr) - 1
    length = np.sqrt(np.bincount(documents, weights**2, minlength=n))
    indptr = np.concatenate([np.zeros(1, np.int64), np.cumsum(np.bincount(documents, minlength=n))])
    return Weighted(indptr, ids.astype(np.int32), (weights / length[documents]).astype(np.float32))


def counted(bags: Bags, rows: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return (documents, ids, times) of the different tokens of each document, by document, then by id."""
    documents = np.repeat(np.arange(len(bags.indptr) - 1, dtype=np.int64), np.diff(bags.indptr))
    places, times = np.unique(documents * rows + bags.ids, return_counts=True)
    return *np.divmod(places, max(1, rows)), times
