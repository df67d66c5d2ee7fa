"""What each token of a document weighs: all alike, or the more the rarer it is."""

from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fuseline.models.fasttext.arrays import Chunk
from fuseline.models.fasttext.chunks import ChunkStore
from fuseline.models.fasttext.dictionary import Dictionary
from fuseline.models.labels import Bags


class Weighted(NamedTuple):
    """Token ids of n documents, each once, and what they weigh; row r lies at indptr[r]:indptr[r + 1]."""

    indptr: NDArray[np.int64]  # (n + 1,)
    ids: NDArray[np.int32]
    weights: NDArray[np.float32]


def weigh(store: ChunkStore, dictionary: Dictionary) -> Dictionary:
    """Give the tokens of every chunk their weights; return the dictionary with what these rest on (see `weighted`).

    That is 1 + ln((1 + n) / (1 + documents that hold the token)) of every token, as scikit-learn has it.
    """
    counts = np.zeros(dictionary.rows, np.int64)
    store.words = store.documents
    for i in range(len(store)):
        chunk = store[i]
        different = different_tokens(Bags(chunk.indptr, chunk.ids), dictionary.rows)
        store.replace(i, chunk._replace(**different._asdict()), Weighted._fields)
        counts += np.bincount(different.ids, minlength=dictionary.rows)
        store.words += len(different.ids)
    idf = (1 + np.log((1 + store.documents) / (1 + counts))).astype(np.float32)
    for i in range(len(store)):
        chunk = store[i]
        times = Weighted(chunk.indptr, chunk.ids, chunk.weights)
        store.replace(i, chunk._replace(weights=_scaled(times, idf).weights), ("weights",))
    return replace(dictionary, idf=idf)


def weighted(chunk: Chunk, dictionary: Dictionary) -> Chunk:
    """Return each document's tokens once, weighing (1 + ln of how often it comes) * idf, scaled to length 1.

    Where all tokens of the dictionary weigh alike the chunk stays as it is.
    """
    if dictionary.idf is None:
        return chunk
    times = different_tokens(Bags(chunk.indptr, chunk.ids), dictionary.rows)
    return chunk._replace(**_scaled(times, dictionary.idf)._asdict())


def different_tokens(bags: Bags, rows: int) -> Weighted:
    """Return the different tokens of each document, below `rows`, by their ids, weighing how often each comes."""
    n = len(bags.indptr) - 1
    documents = np.repeat(np.arange(n, dtype=np.int64), np.diff(bags.indptr))
    places, times = np.unique(documents * rows + bags.ids, return_counts=True)
    documents, ids = np.divmod(places, max(1, rows))
    indptr = np.concatenate([np.zeros(1, np.int64), np.cumsum(np.bincount(documents, minlength=n))])
    return Weighted(indptr, ids.astype(np.int32), times.astype(np.float32))


def _scaled(times: Weighted, idf: NDArray[np.float32]) -> Weighted:
    """Return the weights of tokens that weigh how often they come."""
    n = len(times.indptr) - 1
    documents = np.repeat(np.arange(n), np.diff(times.indptr))
    weights = (1 + np.log(times.weights.astype(np.float64))) * idf[times.ids]
    length = np.sqrt(np.bincount(documents, weights**2, minlength=n))
    return times._replace(weights=(weights / length[documents]).astype(np.float32))
