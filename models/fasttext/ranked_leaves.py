"""The ranked classes of documents under hierarchical softmax: leaves of the Huffman tree, found by searching it."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fuseline.models.fasttext.output_tables import Tree
from fuseline.models.ranked import checked_logits

F32 = NDArray[np.float32]
Numbers = NDArray[np.int64]
# Of a logarithm: more than what rounding to float32 adds to the probability of a logit and takes from its logarithm.
SLACK = 1e-4
TINY = float(np.finfo(np.float32).tiny)  # smaller probabilities have few digits


@dataclass(frozen=True)
class RankedLeaves:
    """The ranked classes of documents; equal to those of the full matrix, bit for bit.

    Every method raises TrainingError when the score of a node that it visits is NaN.
    """

    W: F32  # (C, Z8) row i is inner node C + i
    Z: F32  # (n, Z8) hidden vectors
    tree: Tree

    def top(self, k: int) -> tuple[Numbers, F32]:
        """Return the first k classes (n, k) of each document, and their probabilities (n, k)."""
        from fuseline.models.fasttext.kernels import tree_search as kernels

        classes, logits = np.zeros((len(self.Z), k), np.int64), np.zeros((len(self.Z), k), np.float32)
        kernels.best_leaves(self.W, self.Z, self.tree.children, classes, logits)
        return classes, np.exp(checked_logits(logits))

    def of(self, rows: Numbers, classes: Numbers) -> tuple[F32, F32]:
        """Return (logits (m,), probabilities (m,)) of classes (m,) for the documents `rows` (m,)."""
        from fuseline.models.fasttext.kernels import tree_search as kernels

        logits = np.zeros(len(rows), np.float32)
        kernels.leaf_logits(self.W, self.Z, self.tree.parent, self.tree.right, rows, classes, logits)
        return checked_logits(logits), np.exp(logits)

    def ranks(self, rows: Numbers, classes: Numbers) -> Numbers:
        """Return the places (m,) of classes (m,) in the documents `rows` (m,), 1 = first."""
        from fuseline.models.fasttext.kernels import tree_search as kernels

        before = np.zeros(len(rows), np.int64)
        logits = self.of(rows, classes)[0]
        kernels.leaves_before(self.W, self.Z, self.tree.children, rows, classes, logits, before)
        return 1 + before

    def at_least(self, probability: float) -> tuple[Numbers, Numbers, F32]:
        """Return (rows, classes, probabilities) of all that are as probable, by document, then class."""
        from fuseline.models.fasttext.kernels import tree_search as kernels

        floor = np.float32(math.log(probability) - SLACK if probability >= TINY else -math.inf)
        rows, classes, logits = kernels.leaves_from(self.W, self.Z, self.tree.children, floor)
        order = np.lexsort((classes, rows))
        probabilities = np.exp(logits[order])
        chosen = order[probabilities >= probability]
        return rows[chosen], classes[chosen], np.exp(logits[chosen])
