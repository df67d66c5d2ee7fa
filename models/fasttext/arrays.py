"""What the kernels work on: the choices of a model as numbers, its matrices, encoded documents, a thread's scratch.

A document has up to two hidden vectors: t (n_text tokens averaged, U x_t) and v (V x_v, or alpha times the averaged
visual tokens). A fusion makes z of them, W z are the class scores. Hidden vectors are padded with zeros to whole groups
of 8 numbers (H8, Z8); what products run over (D, C) to groups of 16 (D16, C16).
"""

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

# Fusion kinds; below BILINEAR the hidden vector has dim numbers, from there dim * dim.
SUM, MAX, GATE_TEXT, GATE_IMAGE, BILINEAR, BILINEAR_GATE_TEXT, BILINEAR_GATE_IMAGE = range(7)
SOFTMAX, HIERARCHICAL, NEGATIVE, ONE_VS_ALL = range(4)
SAMPLE, AVERAGE = range(2)

# Of the matrix products.
LANES = 8  # numbers per vector
WIDTH = 16  # columns of an outer tile; it has 4 rows, an inner one 2 rows and 4 columns: 8 vectors both
TILE = 256  # columns of one pass, so that what it reads stays near

LINE = 128  # bytes: processors fetch cache lines of 64 in pairs


class Params(NamedTuple):
    """The matrices of a model; one float type (float32, or float64 in gradient tests).

    While it is trained V has D16 columns, and W is (Z8, C16) where groups of documents are stepped together.
    """

    U: NDArray[np.floating]  # (token ids + visual tokens, H8): words and visual tokens share it (K-21)
    V: NDArray[np.floating]  # (H8, D)
    W: NDArray[np.floating]  # (C, Z8)


class Chunk(NamedTuple):
    """Encoded documents."""

    indptr: NDArray[np.int64]  # (n + 1,) into ids
    ids: NDArray[np.int32]
    label_ptr: NDArray[np.int64]  # (n + 1,) into labels
    labels: NDArray[np.int32]
    dense: NDArray[np.floating]  # (n, D), all of one length; (n, 0) when not read
    codes: NDArray[np.uint8]  # (n, M); (n, 0) when not read
    has_image: NDArray[np.uint8]  # (n,) 1 where dense or codes count
    weights: NDArray[np.float32]  # of ids; (0,) where a document is the mean of its tokens


class Paths(NamedTuple):
    """What the output losses look up."""

    indptr: NDArray[np.int64]  # (C + 1,) hierarchical softmax: path of each class ...
    nodes: NDArray[np.int32]  # ... the rows of W, from the leaf upwards
    turns: NDArray[np.uint8]  # ... 1 where the path goes right
    negatives: NDArray[np.int32]  # negative sampling: classes by the square root of their count


class Spec(NamedTuple):
    """The choices of a model, as numbers."""

    fusion: int
    loss: int
    positives: int
    dim: int
    code_base: int  # first row of U that is a visual token
    codewords: int
    alpha: float
    negatives: int
    group: int
    classes: int


class Scratch(NamedTuple):
    """What one thread writes to; B documents in a block, b in a group."""

    docs: NDArray[np.int64]  # (B,)
    slot: NDArray[np.int64]  # (B,) row of X, -1 without image
    X: NDArray[np.floating]  # (B, D16)
    gram: NDArray[np.floating]  # (B, B) x_i . x_j for j <= i
    T: NDArray[np.floating]  # (B, H8) t, then its step
    A: NDArray[np.floating]  # (B, H8) v, then its step
    P: NDArray[np.floating]  # (B, H8) V x of the block
    S: NDArray[np.floating]  # (B, H8) steps of v, by row of X
    Z: NDArray[np.floating]  # (b, Z8)
    step_z: NDArray[np.floating]  # (b, Z8)
    columns: NDArray[np.floating]  # (Z8, b) Z transposed
    L: NDArray[np.floating]  # (b, C), or (b, C16) for groups
    step: NDArray[np.floating]  # (2, H8)
    rng: NDArray[np.uint64]  # (1,)
    stepped: NDArray[np.int64]  # (1,) groups that were stepped
    own: Params  # the most frequent rows of U, V, and W or such rows of it: copies, or the shared matrices themselves
    base: Params  # `own` when it was last exchanged with the shared matrices; without rows where it is no copy


class Table(NamedTuple):
    """A growing set of words; word i is arena[starts[i]:starts[i + 1]]."""

    slots: NDArray[np.uint64]  # hash << 32 | id + 1, 0 = empty; length a power of two
    starts: NDArray[np.int64]  # (capacity + 1,)
    arena: NDArray[np.uint8]
    hashes: NDArray[np.uint32]  # (capacity,)
    counts: NDArray[np.int64]  # (capacity,)
    size: NDArray[np.int64]  # (1,) words in use


def empty_table() -> Table:
    """Return a table without words."""
    return Table(
        np.zeros(1 << 13, np.uint64),
        np.zeros((1 << 12) + 1, np.int64),
        np.zeros(1 << 16, np.uint8),
        np.zeros(1 << 12, np.uint32),
        np.zeros(1 << 12, np.int64),
        np.zeros(1, np.int64),
    )


def aligned(shape: tuple[int, ...], dtype: DTypeLike = np.float32) -> NDArray[Any]:
    """Return zeros that share no cache line with another array: what one thread writes then slows no other down."""
    nbytes = math.prod(shape) * np.dtype(dtype).itemsize
    room = np.zeros(-(-nbytes // LINE) * LINE + LINE, np.uint8)
    start = -room.ctypes.data % LINE
    return room[start : start + nbytes].view(dtype).reshape(shape)


def widened(array: NDArray[np.float32], rows: int, columns: int) -> NDArray[np.float32]:
    """Return a copy (rows, columns) with zeros beyond the given numbers."""
    wide = aligned((rows, columns))
    wide[: array.shape[0], : array.shape[1]] = array
    return wide
