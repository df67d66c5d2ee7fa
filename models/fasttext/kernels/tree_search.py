"""Searches of a Huffman tree of classes that visit the nodes which matter: a row of W is read when its node is.

A node's log probability bounds those of its leaves, in float64 and, since rounding keeps order, in float32. Classes are
ordered as in the full scan: by falling float32 logit, of equal ones the smaller number first.

Of all kernels: W (C, Z8); Z (n, Z8) float32; children (C - 1, 2) int32, the left and right child of inner node C + i.
"""

import heapq
import math

import numpy as np

from fuseline.models.fasttext.kernels.hidden import dot
from fuseline.models.fasttext.kernels.jit import inlined, kernel


@inlined
def log_sigmoid(x):  # type: ignore[no-untyped-def]
    """Return log(1 / (1 + e^-x)) of a float64."""
    return -(math.log1p(math.exp(-abs(x))) + max(-x, 0.0))


@kernel
def node_score(W, row, Z, d):  # type: ignore[no-untyped-def]
    """Return the score of an inner node: one function for all searches, so that its bits are the same in all."""
    return np.float64(dot(W, row, Z, d))


@kernel
def best_leaves(W, Z, children, classes, logits):  # type: ignore[no-untyped-def]
    """Set classes (n, k) int64 and logits (n, k) float32 to the first k classes of each document, by best-first search.

    The logits of a document are NaN when the score of a node that was visited is.
    """
    C, k = children.shape[0] + 1, classes.shape[1]
    for d in range(Z.shape[0]):
        heap, n = [(0.0, 2 * C - 2)], 0
        while heap:
            cost, node = heapq.heappop(heap)
            logit = np.float32(-cost)
            if n == k and logit < logits[d, k - 1]:
                break
            if node < C:
                at = min(n, k - 1)
                if n == k and logit == logits[d, at] and node > classes[d, at]:
                    continue
                while at > 0 and (
                    logit > logits[d, at - 1] or (logit == logits[d, at - 1] and node < classes[d, at - 1])
                ):
                    logits[d, at], classes[d, at] = logits[d, at - 1], classes[d, at - 1]
                    at -= 1
                logits[d, at], classes[d, at] = logit, node
                n = min(n + 1, k)
                continue
            x = node_score(W, node - C, Z, d)
            if x != x:
                logits[d, :] = np.nan
                break
            for right in range(2):
                reached = log_sigmoid(x if right else -x) - cost
                if n < k or np.float32(reached) >= logits[d, k - 1]:
                    heapq.heappush(heap, (-reached, np.int64(children[node - C, right])))


@kernel
def leaf_logits(W, Z, parent, right, rows, classes, logits):  # type: ignore[no-untyped-def]
    """Set logits (m,) float32 to those of the classes (m,) for the documents `rows` (m,)."""
    C = (parent.size + 1) // 2
    way = np.empty(C, np.int64)
    for i in range(rows.size):
        node, depth = classes[i], 0
        while parent[node] >= 0:
            way[depth] = node
            node = np.int64(parent[node])
            depth += 1
        reached = 0.0
        for step in range(depth - 1, -1, -1):
            node = way[step]
            x = node_score(W, parent[node] - C, Z, rows[i])
            reached += log_sigmoid(x if right[node] else -x)
        logits[i] = np.float32(reached)


@kernel
def leaves_before(W, Z, children, rows, classes, logits, before):  # type: ignore[no-untyped-def]
    """Set before (m,) int64 to how many classes come before classes (m,) with these logits (m,) in documents `rows`."""
    C = children.shape[0] + 1
    nodes, log_p = np.empty(C + 1, np.int64), np.empty(C + 1)
    for i in range(rows.size):
        nodes[0], log_p[0], size = 2 * C - 2, 0.0, 1
        before[i] = 0
        while size:
            size -= 1
            node, reached = nodes[size], log_p[size]
            logit = np.float32(reached)
            if node < C:
                before[i] += logit > logits[i] or (logit == logits[i] and node < classes[i])
            elif logit >= logits[i]:
                x = node_score(W, node - C, Z, rows[i])
                for right in range(2):
                    nodes[size] = children[node - C, right]
                    log_p[size] = reached + log_sigmoid(x if right else -x)
                    size += 1


@kernel
def leaves_from(W, Z, children, floor):  # type: ignore[no-untyped-def]
    """Return (rows, classes, logits) of every class whose logit is at least `floor` (float32), by document."""
    C, m = children.shape[0] + 1, 0
    nodes, log_p = np.empty(C + 1, np.int64), np.empty(C + 1)
    rows, classes, logits = np.empty(1024, np.int64), np.empty(1024, np.int64), np.empty(1024, np.float32)
    for d in range(Z.shape[0]):
        nodes[0], log_p[0], size = 2 * C - 2, 0.0, 1
        while size:
            size -= 1
            node, reached = nodes[size], log_p[size]
            if not np.float32(reached) >= floor:
                continue
            if node < C:
                if m == rows.size:
                    rows, classes = np.concatenate((rows, rows)), np.concatenate((classes, classes))
                    logits = np.concatenate((logits, logits))
                rows[m], classes[m], logits[m] = d, node, reached
                m += 1
                continue
            x = node_score(W, node - C, Z, d)
            for right in range(2):
                nodes[size] = children[node - C, right]
                log_p[size] = reached + log_sigmoid(x if right else -x)
                size += 1
    return rows[:m], classes[:m], logits[:m]
