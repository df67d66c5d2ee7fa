"""What the output losses look up: the Huffman tree of the classes, and the table of negatives."""

import heapq
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fuseline.models.fasttext.arrays import Paths
from fuseline.models.frequency_loss import sigmoid_entropy, softmax_entropy

NEGATIVES = 1_000_000  # entries of the negative table, about


class Tree(NamedTuple):
    """A Huffman tree over C classes: nodes 0..C-1 are the leaves, 2C-2 the root."""

    parent: NDArray[np.int32]  # (2C - 1,) -1 at the root
    right: NDArray[np.uint8]  # (2C - 1,) 1 for right children
    children: NDArray[np.int32]  # (C - 1, 2) left and right child of node C + i


def huffman(counts: NDArray[np.int64]) -> Tree:
    """Return the tree of classes by count (C,): of two lightest nodes the heavier goes right.

    With counts sorted downwards it is the tree of the fastText program. The trees asked for last are kept: a large one
    takes a second, and every prediction needs it.
    """
    return _huffman(np.asarray(counts, np.int64).tobytes())


@lru_cache(maxsize=4)
def _huffman(data: bytes) -> Tree:
    counts = np.frombuffer(data, np.int64)
    C = len(counts)
    parent, right = np.full(2 * C - 1, -1, np.int32), np.zeros(2 * C - 1, np.uint8)
    # On equal weight an inner node goes before a leaf, and of two leaves the later one.
    heap = [(int(count), 1, -leaf) for leaf, count in enumerate(counts)]
    heapq.heapify(heap)
    for node in range(C, 2 * C - 1):
        (light, _, a), (heavy, _, b) = heapq.heappop(heap), heapq.heappop(heap)
        parent[abs(a)] = parent[abs(b)] = node
        right[abs(b)] = 1
        heapq.heappush(heap, (light + heavy, 0, node))
    children = np.zeros((C - 1, 2), np.int32)
    children[parent[:-1] - C, right[:-1]] = np.arange(2 * C - 2)
    return Tree(parent, right, children)


def paths(tree: Tree) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.uint8]]:
    """Return (indptr (C + 1,), rows of W, turns) of the way from each leaf up to the root."""
    C = (len(tree.parent) + 1) // 2
    indptr, nodes, turns = np.zeros(C + 1, np.int64), [], []
    parent, right = tree.parent.tolist(), tree.right.tolist()
    for leaf in range(C):
        node = leaf
        while parent[node] >= 0:
            nodes.append(parent[node] - C)
            turns.append(right[node])
            node = parent[node]
        indptr[leaf + 1] = len(nodes)
    return indptr, np.array(nodes, np.int32), np.array(turns, np.uint8)


def way(tree: Tree, leaf: int) -> tuple[NDArray[np.int32], NDArray[np.uint8]]:
    """Return (rows of W, turns) of the way from one leaf up to the root, as `paths` does of all."""
    C = (len(tree.parent) + 1) // 2
    nodes = [leaf]
    while tree.parent[nodes[-1]] >= 0:
        nodes.append(int(tree.parent[nodes[-1]]))
    return np.array(nodes[1:], np.int32) - np.int32(C), tree.right[nodes[:-1]]


def negatives(counts: NDArray[np.int64]) -> NDArray[np.int32]:
    """Return classes, each repeated by the square root of its count: what negative sampling draws from."""
    weight = np.sqrt(counts.astype(np.float64))
    repeats = np.maximum(1, weight / max(weight.sum(), 1.0) * NEGATIVES).astype(np.int64)
    return np.repeat(np.arange(len(counts), dtype=np.int32), repeats)


def frequency_loss(counts: NDArray[np.int64], loss: str, *, documents: int, drawn: int) -> float:
    """Return what `loss` comes to, in nats, by how many of the documents carry each class (C,) alone.

    A tree can give each class any probability. Under ns a document says no to the `drawn` classes it is told to.
    """
    own = counts.astype(np.float64)
    if loss in ("softmax", "hs"):
        return softmax_entropy(own)
    if loss == "ova":
        return sigmoid_entropy(own / documents, 1 - own / documents)
    positive, chances = own / own.sum(), np.sqrt(own) / np.sqrt(own).sum()
    return sigmoid_entropy(positive, drawn * chances * (1 - positive))


def lookups(counts: NDArray[np.int64], loss: str) -> Paths:
    """Return what `loss` looks up for classes with these counts (C,); empty arrays where it needs nothing."""
    none = np.zeros(1, np.int64), np.zeros(0, np.int32), np.zeros(0, np.uint8)
    return Paths(
        *(paths(huffman(counts)) if loss == "hs" else none),
        negatives=negatives(counts) if loss == "ns" else np.zeros(0, np.int32),
    )
