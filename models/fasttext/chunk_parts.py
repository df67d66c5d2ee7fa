"""Encoded documents cut, picked, joined and scaled."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from fuseline.models.fasttext.arrays import Chunk
from fuseline.models.labels import Bags


def sliced(chunk: Chunk, lo: int, hi: int) -> Chunk:
    """Return documents lo..hi-1 of a chunk; token ids stay shared."""
    return chunk._replace(
        indptr=chunk.indptr[lo : hi + 1],
        dense=chunk.dense[lo:hi],
        codes=chunk.codes[lo:hi],
        has_image=chunk.has_image[lo:hi],
    )


def scaled(chunk: Chunk, length: float) -> Chunk:
    """Return the chunk with images of another length."""
    return chunk if length == 1.0 else chunk._replace(dense=chunk.dense * np.float32(length))


def take(chunk: Chunk, rows: NDArray[np.int64]) -> Chunk:
    """Return the documents at `rows` (m,) in this order."""
    indptr, tokens = places(chunk.indptr, rows)
    labels = picked(Bags(chunk.label_ptr, chunk.labels), rows)
    weights = chunk.weights[tokens] if len(chunk.weights) else chunk.weights
    return Chunk(
        indptr, chunk.ids[tokens], *labels, chunk.dense[rows], chunk.codes[rows], chunk.has_image[rows], weights
    )


def picked(bags: Bags, rows: NDArray[np.int64]) -> Bags:
    """Return the bags at `rows` (m,)."""
    indptr, at = places(bags.indptr, rows)
    return Bags(indptr, bags.ids[at])


def places(indptr: NDArray[np.int64], rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the bounds (m + 1,) of the bags at `rows` (m,) side by side, and where their ids lie now."""
    lengths = np.diff(indptr)[rows]
    bounds = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
    return bounds, np.repeat(indptr[rows] - bounds[:-1], lengths) + np.arange(bounds[-1])


def joined(chunks: list[Chunk]) -> Chunk:
    """Return the documents of several chunks, at least one, as one chunk."""
    if len(chunks) == 1:
        return chunks[0]

    def starts(arrays: Iterator[NDArray[np.int64]]) -> NDArray[np.int64]:
        lengths = np.concatenate([np.diff(array) for array in arrays])
        return np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])

    others = {
        name: np.concatenate([getattr(chunk, name) for chunk in chunks])
        for name in ("ids", "labels", "dense", "codes", "has_image", "weights")
    }
    return Chunk(
        indptr=starts(chunk.indptr for chunk in chunks), label_ptr=starts(chunk.label_ptr for chunk in chunks), **others
    )
