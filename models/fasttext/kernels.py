"""The training and prediction kernels of every model of Kiela 2018: one compiled function for all of them.

A document has up to two hidden vectors: t (n_text tokens averaged, U x_t) and v (V x_v, or alpha times the averaged
visual tokens). `fuse` makes z of them, W z are the class scores. All vectors are padded with zeros to whole groups of
8 numbers. Everything here lives in one module, because numba's disk cache looks at one file's date alone.

Gradients are exact. A group of `group` documents is one mini-batch for W and for softmax; dense images of a whole block
go through V in one GEMM, and what earlier documents of the block did to V is added by v_j += sum_i (x_i.x_j) dv_i.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.fasttext.jit import bare, inlined, kernel

# Fusion kinds; below BILINEAR the hidden vector has dim numbers, from there dim * dim.
SUM, MAX, GATE_TEXT, GATE_IMAGE, BILINEAR, BILINEAR_GATE_TEXT, BILINEAR_GATE_IMAGE = range(7)
SOFTMAX, HIERARCHICAL, NEGATIVE, ONE_VS_ALL = range(4)
SAMPLE, AVERAGE = range(2)


class Params(NamedTuple):
    """The matrices of a model; one float type (float32, or float64 in gradient tests)."""

    U: NDArray[np.floating]  # (token ids + visual tokens, H8): words and visual tokens share it (K-21)
    V: NDArray[np.floating]  # (H8, D)
    W: NDArray[np.floating]  # (C, Z8)


class Chunk(NamedTuple):
    """Encoded documents."""

    indptr: NDArray[np.int64]  # (n + 1,) into ids
    ids: NDArray[np.int32]
    label_ptr: NDArray[np.int64]  # (n + 1,) into labels
    labels: NDArray[np.int32]
    dense: NDArray[np.floating]  # (n, D), unit length; (n, 0) when not read
    codes: NDArray[np.uint8]  # (n, M); (n, 0) when not read
    has_image: NDArray[np.uint8]  # (n,) 1 where dense or codes count


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


class Scratch(NamedTuple):
    """What one thread writes to; B documents in a block, b in a group."""

    docs: NDArray[np.int64]  # (B,)
    slot: NDArray[np.int64]  # (B,) row of X, -1 without image
    X: NDArray[np.floating]  # (B, D)
    gram: NDArray[np.floating]  # (B * B,)
    T: NDArray[np.floating]  # (B, H8) t, then its step
    A: NDArray[np.floating]  # (B, H8) v, then its step
    P: NDArray[np.floating]  # (B, H8) V x of the block
    S: NDArray[np.floating]  # (B, H8) steps of v, by row of X
    Z: NDArray[np.floating]  # (b, Z8)
    step_z: NDArray[np.floating]  # (b, Z8)
    L: NDArray[np.floating]  # (b, C)
    step_v: NDArray[np.floating]  # (H8, D)
    step_w: NDArray[np.floating]  # (C, Z8), (0, 0) for groups of one
    step: NDArray[np.floating]  # (2, H8)
    rng: NDArray[np.uint64]  # (1,)


@kernel
def draw(rng, n):  # type: ignore[no-untyped-def]
    """Return a random integer below n (xorshift64*)."""
    x = rng[0]
    x ^= x >> np.uint64(12)
    x ^= x << np.uint64(25)
    x ^= x >> np.uint64(27)
    rng[0] = x
    return np.int64(((x * np.uint64(2685821657736338717)) >> np.uint64(33)) % np.uint64(n))


@inlined
def dot(a, i, b, j):  # type: ignore[no-untyped-def]
    """Return a[i] . b[j]."""
    s = a.dtype.type(0)
    for k in range(a.shape[1]):
        s += a[i, k] * b[j, k]
    return s


@inlined
def axpy(y, i, scale, x, j):  # type: ignore[no-untyped-def]
    """Add scale * x[j] to y[i]."""
    for k in range(y.shape[1]):
        y[i, k] += scale * x[j, k]


@inlined
def sigmoid(x, one):  # type: ignore[no-untyped-def]
    """Return 1 / (1 + e^-x); `one` carries the float type."""
    return one / (one + math.exp(-x))


@inlined
def gather(U, c, d, spec, T, A, r):  # type: ignore[no-untyped-def]
    """Set T[r] to the mean row of the document's tokens and A[r] to alpha times that of its visual tokens."""
    one, zero = U.dtype.type(1), U.dtype.type(0)
    for k in range(T.shape[1]):
        T[r, k] = zero
        A[r, k] = zero
    lo, hi = c.indptr[d], c.indptr[d + 1]
    if hi > lo:
        for p in range(lo, hi):
            axpy(T, r, one, U, c.ids[p])
        scale = one / U.dtype.type(hi - lo)
        for k in range(T.shape[1]):
            T[r, k] *= scale
    M = c.codes.shape[1]
    if M > 0 and c.has_image[d]:
        scale = U.dtype.type(spec.alpha) / U.dtype.type(M)
        for m in range(M):
            axpy(A, r, scale, U, spec.code_base + m * spec.codewords + np.int64(c.codes[d, m]))


@inlined
def scatter(U, c, d, spec, T, A, r):  # type: ignore[no-untyped-def]
    """Add the steps T[r] and A[r] to the rows of U that `gather` read."""
    one = U.dtype.type(1)
    lo, hi = c.indptr[d], c.indptr[d + 1]
    if hi > lo:
        scale = one / U.dtype.type(hi - lo)
        for k in range(T.shape[1]):
            T[r, k] *= scale
        for p in range(lo, hi):
            axpy(U, c.ids[p], one, T, r)
    M = c.codes.shape[1]
    if M > 0 and c.has_image[d]:
        scale = U.dtype.type(spec.alpha) / U.dtype.type(M)
        for m in range(M):
            axpy(U, spec.code_base + m * spec.codewords + np.int64(c.codes[d, m]), scale, A, r)


@kernel
def gated(fusion):  # type: ignore[no-untyped-def]
    """Return whether (text, image) passes through the sigmoid."""
    return fusion in (GATE_TEXT, BILINEAR_GATE_TEXT), fusion in (GATE_IMAGE, BILINEAR_GATE_IMAGE)


@inlined
def fuse(fusion, H, T, A, r, has_text, has_image, Z, g):  # type: ignore[no-untyped-def]
    """Set Z[g] from T[r] and A[r]; gates and the stand-in of a missing vector are written back to T[r], A[r].

    A gate acts only where both are present. Where one is missing its term is dropped: z is the other vector, or for
    the bilinear kinds its product with the constant vector of length 1.
    """
    if fusion == SUM:
        for k in range(T.shape[1]):
            Z[g, k] = T[r, k] + A[r, k]
    else:
        fuse_rare(fusion, H, T, A, r, has_text, has_image, Z, g)


@kernel
def fuse_rare(fusion, H, T, A, r, has_text, has_image, Z, g):  # type: ignore[no-untyped-def]
    """`fuse` of the kinds that are no sum."""
    one = T.dtype.type(1)
    both = has_text and has_image
    gate_text, gate_image = gated(fusion)
    if both and gate_text:
        for k in range(H):
            T[r, k] = sigmoid(T[r, k], one)
    if both and gate_image:
        for k in range(H):
            A[r, k] = sigmoid(A[r, k], one)
    if fusion >= BILINEAR:
        unit = one / math.sqrt(T.dtype.type(H))
        for k in range(H):
            if not has_text:
                T[r, k] = unit
            if not has_image:
                A[r, k] = unit
        for i in range(H):
            t = T[r, i]
            for k in range(H):
                Z[g, i * H + k] = t * A[r, k]
    elif both and fusion == MAX:
        for k in range(H):
            Z[g, k] = max(T[r, k], A[r, k])
    elif both:
        for k in range(H):
            Z[g, k] = T[r, k] * A[r, k]
    else:
        for k in range(H):
            Z[g, k] = T[r, k] + A[r, k]


@inlined
def unfuse(fusion, H, T, A, r, has_text, has_image, step_z, g, step):  # type: ignore[no-untyped-def]
    """Turn T[r], A[r], as `fuse` left them, into the steps that step_z[g] asks of t and v; `step` (2, H8) is scratch."""
    if fusion == SUM or (fusion < BILINEAR and not (has_text and has_image)):
        for k in range(T.shape[1]):
            T[r, k] = step_z[g, k]
            A[r, k] = step_z[g, k]
    else:
        unfuse_rare(fusion, H, T, A, r, has_text and has_image, step_z, g, step)


@kernel
def unfuse_rare(fusion, H, T, A, r, both, step_z, g, step):  # type: ignore[no-untyped-def]
    """`unfuse` of the kinds that are no sum."""
    one, zero = T.dtype.type(1), T.dtype.type(0)
    gate_text, gate_image = gated(fusion)
    for k in range(H):
        step[0, k], step[1, k] = zero, zero
    if fusion >= BILINEAR:
        for i in range(H):
            t, s = T[r, i], zero
            for k in range(H):
                x = step_z[g, i * H + k]
                s += x * A[r, k]
                step[1, k] += x * t
            step[0, i] = s
    elif fusion == MAX:
        for k in range(H):
            first = T[r, k] >= A[r, k]
            step[0, k] = step_z[g, k] if first else zero
            step[1, k] = zero if first else step_z[g, k]
    else:
        for k in range(H):
            step[0, k] = step_z[g, k] * A[r, k]
            step[1, k] = step_z[g, k] * T[r, k]
    for k in range(H):
        t, a = T[r, k], A[r, k]
        T[r, k] = step[0, k] * (t * (one - t) if both and gate_text else one)
        A[r, k] = step[1, k] * (a * (one - a) if both and gate_image else one)


@inlined
def binary_step(W, row, positive, lr, Z, dZ, g):  # type: ignore[no-untyped-def]
    """Logistic step of one row of W; adds to dZ[g] and returns the probability given to the truth."""
    one = W.dtype.type(1)
    p = sigmoid(dot(W, row, Z, g), one)
    step = lr * ((one if positive else one - one) - p)
    for k in range(W.shape[1]):
        w = W[row, k]
        dZ[g, k] += step * w
        W[row, k] = w + step * Z[g, k]
    return p if positive else one - p


@inlined
def sparse_loss(W, c, d, spec, paths, lr, s, g):  # type: ignore[no-untyped-def]
    """Hierarchical softmax or negative sampling of one document; returns its loss, steps W, sets step_z[g]."""
    for k in range(W.shape[1]):
        s.step_z[g, k] = W.dtype.type(0)
    lo, hi = c.label_ptr[d], c.label_ptr[d + 1]
    if spec.positives == SAMPLE:
        lo += draw(s.rng, hi - lo) if hi > lo + 1 else 0
        hi = lo + 1
    rate = lr / W.dtype.type(hi - lo)
    loss = 0.0
    for p in range(lo, hi):
        y, likelihood = np.int64(c.labels[p]), 1.0
        first, last = np.int64(0), spec.negatives + 1
        if spec.loss == HIERARCHICAL:
            first, last = paths.indptr[y], paths.indptr[y + 1]
        for q in range(first, last):
            row, positive = y, q == 0
            if spec.loss == HIERARCHICAL:
                row, positive = np.int64(paths.nodes[q]), paths.turns[q] == 1
            elif q > 0:
                row = np.int64(paths.negatives[draw(s.rng, paths.negatives.size)])
                if row == y:
                    continue
            likelihood *= binary_step(W, row, positive, rate, s.Z, s.step_z, g)
        loss -= math.log(max(likelihood, 1e-300)) if likelihood == likelihood else likelihood
    return loss / (hi - lo)


@inlined
def small_exp(x, one):  # type: ignore[no-untyped-def]
    """Return e^x for x <= 0, as (e^(x / 256))^256 by Taylor's series: unlike the library's it vectorises.

    Relative error at most 256 (x / 256)^7 / 7! beside rounding: 1e-9 at x = -20. Below -87 it stays e^-87.
    """
    r = max(x, one * -87) * (one / 256)
    e = one + r * (one + r * (one / 2 + r * (one / 6 + r * (one / 24 + r * (one / 120 + r * (one / 720))))))
    e *= e
    e *= e
    e *= e
    e *= e
    e *= e
    e *= e
    e *= e
    return e * e


@kernel
def softmax_residual(L, g, labels, lo, hi, lr):  # type: ignore[no-untyped-def]
    """Turn scores L[g] into steps lr * (target - probability); the labels share the target. Returns the loss."""
    one = L.dtype.type(1)
    top, total, loss, C = L[g, 0], L.dtype.type(0), 0.0, L.shape[1]
    for y in range(C):
        top = max(top, L[g, y])
        total += L[g, y]
    loss += 0 * total  # max() would hide a NaN
    total = L.dtype.type(0)
    for p in range(lo, hi):
        loss += top - L[g, labels[p]]
    for y in range(C):
        L[g, y] = small_exp(L[g, y] - top, one)
    for y in range(C):
        total += L[g, y]
    scale, share = -lr / total, lr / L.dtype.type(hi - lo)
    for y in range(C):
        L[g, y] *= scale
    for p in range(lo, hi):
        L[g, labels[p]] += share
    return loss / (hi - lo) + math.log(total)


@kernel
def one_vs_all_residual(L, g, labels, lo, hi, lr):  # type: ignore[no-untyped-def]
    """Turn scores L[g] into steps lr * (target - sigmoid), target 1 at every label. Returns the loss."""
    one, loss, C = L.dtype.type(1), 0.0, L.shape[1]
    for p in range(lo, hi):
        loss -= L[g, labels[p]]
    for first in range(0, C, 256):
        product = 1.0  # of 256 factors in 1..2: one logarithm for all of them
        for y in range(first, min(C, first + 256)):
            x = L[g, y]
            e = small_exp(-abs(x), one)
            product *= one + e
            loss += max(x, L.dtype.type(0)) + 0 * x  # max() would hide a NaN
            L[g, y] = -lr * (one if x >= 0 else e) / (one + e)
        loss += math.log(product)
    for p in range(lo, hi):
        L[g, labels[p]] += lr
    return loss


@kernel
def residual(c, d, spec, lr, s, g):  # type: ignore[no-untyped-def]
    """Turn the scores L[g] of document d into steps; returns its loss."""
    lo, hi = c.label_ptr[d], c.label_ptr[d + 1]
    if spec.loss == ONE_VS_ALL:
        return one_vs_all_residual(s.L, g, c.labels, lo, hi, lr)
    if spec.positives == SAMPLE and hi > lo + 1:
        lo += draw(s.rng, hi - lo)
        hi = lo + 1
    return softmax_residual(s.L, g, c.labels, lo, hi, lr)


@kernel
def dense_loss(W, c, spec, lr, s, first, n):  # type: ignore[no-untyped-def]
    """Softmax or one-vs-all of documents docs[first:first + n]; returns their loss, steps W, sets dZ[:n]."""
    loss = 0.0
    if n == 1:
        for y in range(W.shape[0]):
            s.L[0, y] = dot(W, y, s.Z, 0)
        loss = residual(c, s.docs[first], spec, lr, s, 0)
        for k in range(W.shape[1]):
            s.step_z[0, k] = 0
        for y in range(W.shape[0]):
            step = s.L[0, y]
            for k in range(W.shape[1]):
                w = W[y, k]
                s.step_z[0, k] += step * w
                W[y, k] = w + step * s.Z[0, k]
        return loss
    np.dot(s.Z[:n], W.T, s.L[:n])
    for g in range(n):
        loss += residual(c, s.docs[first + g], spec, lr, s, g)
    np.dot(s.L[:n], W, s.step_z[:n])
    np.dot(s.L[:n].T, s.Z[:n], s.step_w)
    W += s.step_w
    return loss


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
    if images > 0:
        X = s.X[:images]
        np.dot(X, p.V.T, s.P[:images])
        np.dot(X, X.T, s.gram[: images * images].reshape(images, images))
    return n, images


@kernel
def train_block(p, c, spec, paths, lr, s, order, lo, hi):  # type: ignore[no-untyped-def]
    """One stochastic step per group of the documents order[lo:hi]; returns (summed loss, documents)."""
    n, images = load_block(p, c, s, order, lo, hi)
    loss, done = 0.0, 0
    sparse = spec.loss == HIERARCHICAL or spec.loss == NEGATIVE
    for first in range(0, n, spec.group):
        size = min(spec.group, n - first)
        for g in range(size):
            r = first + g
            d, slot = s.docs[r], s.slot[r]
            gather(p.U, c, d, spec, s.T, s.A, r)
            if slot >= 0:
                axpy(s.A, r, p.V.dtype.type(1), s.P, slot)
                for i in range(done):
                    axpy(s.A, r, s.gram[i * images + slot], s.S, i)
            fuse(spec.fusion, spec.dim, s.T, s.A, r, c.indptr[d + 1] > c.indptr[d], c.has_image[d] > 0, s.Z, g)
            if sparse:
                loss += sparse_loss(p.W, c, d, spec, paths, lr, s, g)
        if not sparse:
            loss += dense_loss(p.W, c, spec, lr, s, first, size)
        for g in range(size):
            r = first + g
            d, slot = s.docs[r], s.slot[r]
            unfuse(
                spec.fusion,
                spec.dim,
                s.T,
                s.A,
                r,
                c.indptr[d + 1] > c.indptr[d],
                c.has_image[d] > 0,
                s.step_z,
                g,
                s.step,
            )
            scatter(p.U, c, d, spec, s.T, s.A, r)
            if slot >= 0:
                for k in range(s.S.shape[1]):
                    s.S[slot, k] = s.A[r, k]
                done = slot + 1
    if images > 0:
        np.dot(s.S[:images].T, s.X[:images], s.step_v)
        V = p.V
        V += s.step_v
    return loss, n


@kernel
def train_range(p, c, spec, paths, s, order, lo, hi, rate, start, threads, total, stats):  # type: ignore[no-untyped-def]
    """Train on order[lo:hi]; the learning rate falls from `rate` to 0 as words seen go from 0 to `total`.

    stats (4,) float64: summed loss, documents, words, and the 1-based position of a loss that is no finite number.
    """
    p = Params(bare(p.U), bare(p.V), bare(p.W))
    c = Chunk(
        bare(c.indptr), bare(c.ids), bare(c.label_ptr), bare(c.labels), bare(c.dense), bare(c.codes), bare(c.has_image)
    )
    paths = Paths(bare(paths.indptr), bare(paths.nodes), bare(paths.turns), bare(paths.negatives))
    s = Scratch(
        bare(s.docs),
        bare(s.slot),
        bare(s.X),
        bare(s.gram),
        bare(s.T),
        bare(s.A),
        bare(s.P),
        bare(s.S),
        bare(s.Z),
        bare(s.step_z),
        bare(s.L),
        bare(s.step_v),
        bare(s.step_w),
        bare(s.step),
        bare(s.rng),
    )
    block, words = s.docs.size, 0
    for q in range(lo, hi, block):
        stop = min(q + block, hi)
        share = min(1.0, (start + threads * words) / total)
        loss, n = train_block(p, c, spec, paths, p.W.dtype.type(rate * (1.0 - share)), s, order, q, stop)
        for i in range(q, stop):
            words += c.indptr[order[i] + 1] - c.indptr[order[i]] + 1
        stats[0] += loss
        stats[1] += n
        if not np.isfinite(loss):
            stats[3] = q + 1
            break
    stats[2] += words


@kernel
def hidden(p, c, spec, Z, T, A):  # type: ignore[no-untyped-def]
    """Set z (n, Z8), t and v (n, H8) of every document; each row alone, so that batches do not matter."""
    for d in range(Z.shape[0]):
        gather(p.U, c, d, spec, T, A, d)
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
