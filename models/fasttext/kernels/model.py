"""The training and prediction kernels of every model of Kiela 2018: one compiled function for all of them.

A group of documents is one mini-batch for W under softmax and one-vs-all. The dense images of a whole block go through
V in one product; what earlier documents of the block did to V is compensated by v_j += sum_i (x_i.x_j) step_i, so that
a block equals its documents one by one.
"""

import math

import numpy as np

from fuseline.models.fasttext.arrays import HIERARCHICAL, NEGATIVE, Chunk, Params, Paths, Scratch
from fuseline.models.fasttext.kernels.exchange import exchange_all, exchange_due, exchange_images
from fuseline.models.fasttext.kernels.gemm import add_inner, add_outer, gram
from fuseline.models.fasttext.kernels.hidden import ask, axpy, dot, fuse, gather, scatter, unfuse
from fuseline.models.fasttext.kernels.jit import bare, inlined, kernel
from fuseline.models.fasttext.kernels.output_losses import dense_loss, group_loss, sparse_loss

HUGE = 1e300  # isfinite() does not survive reordered sums, this comparison does: NaN and infinity fail it


@kernel
def load_block(p, c, s, order, lo, hi):  # type: ignore[no-untyped-def]
    """Collect the documents of a block that can teach, and V x of their images; returns (documents, images)."""
    n = images = 0
    D = c.dense.shape[1]
    for q in range(lo, hi):
        d = order[q]
        if c.label_ptr[d] == c.label_ptr[d + 1] or (c.indptr[d] == c.indptr[d + 1] and not c.has_image[d]):
            continue
        s.docs[n], s.slot[n] = d, -1
        if D > 0 and c.has_image[d]:
            s.slot[n] = images
            for k in range(D):
                s.X[images, k] = c.dense[d, k]
            images += 1
        n += 1
    for i in range(images):
        for k in range(s.P.shape[1]):
            s.P[i, k] = 0
    if images > 0:
        add_inner(s.P, s.X, s.own.V, images, 0, p.V.shape[1])
        gram(s.gram, s.X, images)
    return n, images


@inlined
def train_block(p, c, spec, paths, lr, s, order, lo, hi, threads):  # type: ignore[no-untyped-def]
    """One stochastic step per group of the documents order[lo:hi]; returns (summed loss, documents)."""
    n, images = load_block(p, c, s, order, lo, hi)
    loss, done = 0.0, 0
    sparse = spec.loss == HIERARCHICAL or spec.loss == NEGATIVE
    for first in range(0, n, spec.group):
        size = min(spec.group, n - first)
        for g in range(size):
            r = first + g
            d, slot = s.docs[r], s.slot[r]
            if r + 1 < n:
                ask(p.U, s.own.U, c, s.docs[r + 1])
            gather(p.U, s.own.U, c, d, spec, s.T, s.A, r)
            if slot >= 0:
                axpy(s.A, r, p.V.dtype.type(1), s.P, slot)
                for i in range(done):
                    axpy(s.A, r, s.gram[slot, i], s.S, i)
            fuse(spec.fusion, spec.dim, s.T, s.A, r, c.indptr[d + 1] > c.indptr[d], c.has_image[d] > 0, s.Z, g)
            if sparse:
                loss += sparse_loss(p.W, c, d, spec, paths, lr, s, g)
        if spec.group > 1:
            loss += group_loss(s.own.W, c, spec, lr, s, first, size)
        elif not sparse:
            loss += dense_loss(s.own.W, c, spec, lr, s, s.docs[first])
        for g in range(size):
            r = first + g
            d, slot = s.docs[r], s.slot[r]
            has_text, has_image = c.indptr[d + 1] > c.indptr[d], c.has_image[d] > 0
            unfuse(spec.fusion, spec.dim, s.T, s.A, r, has_text, has_image, s.step_z, g, s.step)
            scatter(p.U, s.own.U, c, d, spec, s.T, s.A, r)
            if slot >= 0:
                for k in range(s.S.shape[1]):
                    s.S[slot, k] = s.A[r, k]
                done = slot + 1
        if threads > 1:
            exchange_due(p, spec, s, threads)
    if images > 0:
        add_outer(s.own.V, s.S, s.X, images, 0, p.V.shape[1])
        if threads > 1:
            exchange_images(p, s)
    return loss, n


@kernel
def train_range(p, c, spec, paths, s, order, lo, hi, rate, start, threads, total, stats):  # type: ignore[no-untyped-def]
    """Train on order[lo:hi]; the learning rate falls from `rate` to 0 as words seen go from 0 to `total`.

    stats (4,) float64: summed loss, documents, words, and the 1-based position of a loss that is no finite number.
    """
    p = Params(bare(p.U), bare(p.V), bare(p.W))
    c = Chunk(
        bare(c.indptr),
        bare(c.ids),
        bare(c.label_ptr),
        bare(c.labels),
        bare(c.dense),
        bare(c.codes),
        bare(c.has_image),
        bare(c.weights),
    )
    paths = Paths(bare(paths.indptr), bare(paths.nodes), bare(paths.turns), bare(paths.negatives))
    s = Scratch(
        bare(s.docs), bare(s.slot), bare(s.X), bare(s.gram), bare(s.T), bare(s.A), bare(s.P), bare(s.S), bare(s.Z),
        bare(s.step_z), bare(s.columns), bare(s.L), bare(s.step), bare(s.rng), bare(s.stepped),
        Params(bare(s.own.U), bare(s.own.V), bare(s.own.W)), Params(bare(s.base.U), bare(s.base.V), bare(s.base.W)),
    )  # fmt: skip
    block, words = s.docs.size, 0
    summed, documents = stats[0], stats[1]  # not in place: threads' statistics share a cache line
    for q in range(lo, hi, block):
        stop = min(q + block, hi)
        share = min(1.0, (start + threads * words) / total)
        loss, n = train_block(p, c, spec, paths, p.W.dtype.type(rate * (1.0 - share)), s, order, q, stop, threads)
        for i in range(q, stop):
            words += c.indptr[order[i] + 1] - c.indptr[order[i]] + 1
        summed += loss
        documents += n
        if not abs(loss) < HUGE:
            stats[3] = q + 1
            break
    exchange_all(p, spec, s)
    stats[0] = summed
    stats[1] = documents
    stats[2] += words


@kernel
def hidden(p, c, spec, Z, T, A):  # type: ignore[no-untyped-def]
    """Set z (n, Z8), t and v (n, H8) of every document; each row alone, so that batches do not matter."""
    none = p.U[:0]
    for d in range(Z.shape[0]):
        gather(p.U, none, c, d, spec, T, A, d)
        if c.dense.shape[1] > 0 and c.has_image[d]:
            for k in range(A.shape[1]):
                A[d, k] = dot(p.V, k, c.dense, d)
        has_text, has_image = c.indptr[d + 1] > c.indptr[d], c.has_image[d] > 0
        if has_text or has_image:
            fuse(spec.fusion, spec.dim, T, A, d, has_text, has_image, Z, d)


@kernel
def scores(W, Z, out):  # type: ignore[no-untyped-def]
    """Set out (n, rows of W) to Z W^T, each row alone."""
    for d in range(Z.shape[0]):
        for y in range(out.shape[1]):
            out[d, y] = dot(W, y, Z, d)


@kernel
def leaf_log_probabilities(node_scores, parent, right, out):  # type: ignore[no-untyped-def]
    """Set out (n, C) to the log probability of each leaf of the Huffman tree.

    parent (2C - 1,), leaves first, the root last with parent -1; right (2C - 1,) 1 for right children.
    """
    C = out.shape[1]
    reached = np.zeros(2 * C - 1, np.float64)
    for d in range(out.shape[0]):
        for i in range(2 * C - 3, -1, -1):
            x = np.float64(node_scores[d, parent[i] - C])
            x = x if right[i] else -x
            reached[i] = reached[parent[i]] - (math.log1p(math.exp(-abs(x))) + max(-x, 0.0))
        for y in range(C):
            out[d, y] = reached[y]


@kernel
def unit_images(X, out, present):  # type: ignore[no-untyped-def]
    """Set out (n, D) to X scaled to rows of length 1; rows that are absent, not finite or zero become absent zeros."""
    for d in range(X.shape[0]):
        total = 0.0
        for k in range(X.shape[1]):
            x = np.float64(X[d, k])
            total += x * x
        present[d] = present[d] and 0 < total < HUGE
        scale = np.float32(1.0 / math.sqrt(total)) if present[d] else np.float32(0)
        for k in range(X.shape[1]):
            out[d, k] = X[d, k] * scale if present[d] else np.float32(0)
