"""The output losses: scores of one document, or of a group, into steps of W and of z; exact gradients."""

import math

import numpy as np

from fuseline.models.fasttext.arrays import HIERARCHICAL, ONE_VS_ALL, SAMPLE, TILE
from fuseline.models.fasttext.kernels.gemm import add_inner, add_outer
from fuseline.models.fasttext.kernels.hidden import axpy, dot, sigmoid
from fuseline.models.fasttext.kernels.jit import FAST, inlined, kernel, like, pick, two_to


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
def own_from(W, spec, s):  # type: ignore[no-untyped-def]
    """Return which row of W is the thread's first: of nodes the last are the most frequent, of classes the first."""
    return W.shape[0] - s.own.W.shape[0] if spec.loss == HIERARCHICAL else 0


@inlined
def span(y, spec, paths):  # type: ignore[no-untyped-def]
    """Return the range of the steps of class y: along its path, or itself (0) and its negatives."""
    first, last = np.int64(0), np.int64(spec.negatives + 1)
    if spec.loss == HIERARCHICAL:
        first, last = paths.indptr[y], paths.indptr[y + 1]
    return first, last


@inlined
def target(q, y, spec, paths, s):  # type: ignore[no-untyped-def]
    """Return the row of W that step q of class y moves, -1 for a negative that is y itself, and whether it is right."""
    row, positive = y, q == 0
    if spec.loss == HIERARCHICAL:
        row, positive = np.int64(paths.nodes[q]), paths.turns[q] == 1
    elif q > 0:
        row = np.int64(paths.negatives[draw(s.rng, paths.negatives.size)])
        if row == y:
            row = np.int64(-1)
    return row, positive


@kernel
def averaged_loss(W, c, lo, hi, spec, paths, lr, s, g):  # type: ignore[no-untyped-def]
    """`sparse_loss` of the labels lo..hi-1 together, by the gradient before W moves; returns their mean loss.

    Labels share rows of W (the root of the tree, a negative that is drawn twice or is another label), so that all
    scores are taken first, and what each row gets is collected in L[g], 0 before and after. Negatives are drawn twice
    from one state.
    """
    one, zero, loss, state = W.dtype.type(1), W.dtype.type(0), 0.0, s.rng[0]
    start = own_from(W, spec, s)
    rate = lr / W.dtype.type(hi - lo)
    for write in (False, True):
        s.rng[0] = state
        for p in range(lo, hi):
            y, likelihood = np.int64(c.labels[p]), 1.0
            first, last = span(y, spec, paths)
            for q in range(first, last):
                row, positive = target(q, y, spec, paths, s)
                if row < 0:
                    continue
                near = pick(s.own.W, W, start, row)
                if write:
                    axpy(near, row, s.L[g, row], s.Z, g)
                    s.L[g, row] = zero
                else:
                    probability = sigmoid(dot(near, row, s.Z, g), one)
                    step = rate * ((one if positive else zero) - probability)
                    s.L[g, row] += step
                    axpy(s.step_z, g, step, near, row)
                    likelihood *= probability if positive else one - probability
            if not write:
                loss -= math.log(max(likelihood, 1e-300)) if likelihood == likelihood else likelihood
    return loss / (hi - lo)


@inlined
def sparse_loss(W, c, d, spec, paths, lr, s, g):  # type: ignore[no-untyped-def]
    """Hierarchical softmax or negative sampling of one document; returns its loss, steps W, sets step_z[g].

    Rows of W are stepped one after the other as in the fastText program: a negative that is drawn twice sees its own
    first step. Else the step is the exact gradient, also of several labels that are averaged.
    """
    for k in range(W.shape[1]):
        s.step_z[g, k] = W.dtype.type(0)
    at, stop = c.label_ptr[d], c.label_ptr[d + 1]
    if stop > at + 1 and spec.positives == SAMPLE:
        at += draw(s.rng, stop - at)
        stop = at + 1
    loss = 0.0
    if stop > at + 1:
        loss = averaged_loss(W, c, at, stop, spec, paths, lr, s, g)
    else:
        y, likelihood = np.int64(c.labels[at]), 1.0
        first, last = span(y, spec, paths)
        start = own_from(W, spec, s)
        for q in range(first, last):
            row, positive = target(q, y, spec, paths, s)
            if row < 0:
                continue
            likelihood *= binary_step(pick(s.own.W, W, start, row), row, positive, lr, s.Z, s.step_z, g)
        loss -= math.log(max(likelihood, 1e-300)) if likelihood == likelihood else likelihood
    return loss


@inlined
def small_exp(x, one):  # type: ignore[no-untyped-def]
    """Return e^x for x <= 0, as 2^n (e^(r / 4))^4 by Taylor's series: unlike the library's it vectorises.

    Relative error in float32 at most 5e-8 |x|, in float64 4e-11. Below -87 it stays e^-87.
    """
    t = max(x, like(-87.0, x)) * like(1 / math.log(2), x)
    n = np.floor(t + like(0.5, x))
    r = (t - n) * like(math.log(2) / 4, x)
    low, middle, high = one + r, like(1 / 2, x) + r * like(1 / 6, x), like(1 / 24, x) + r * like(1 / 120, x)
    rr = r * r
    e = low + rr * (middle + rr * (high + rr * like(1 / 720, x)))
    e *= e
    return e * e * two_to(n)


def _row_top(L, g, C):  # type: ignore[no-untyped-def]
    """Return the largest of the first C numbers of L[g]; anything if one is NaN."""
    top = L[g, 0]
    for y in range(C):
        top = max(top, L[g, y])
    return top


row_top = kernel(_row_top, fastmath=FAST | {"nnan"})  # only without NaN does it vectorise


@kernel
def softmax_residual(L, g, C, labels, lo, hi, lr):  # type: ignore[no-untyped-def]
    """Turn scores L[g, :C] into steps lr * (target - probability); the labels share the target. Returns the loss."""
    one = L.dtype.type(1)
    top, total, raw, loss = row_top(L, g, C), L.dtype.type(0), L.dtype.type(0), 0.0
    for p in range(lo, hi):
        loss += top - L[g, labels[p]]
    for y in range(C):
        x = L[g, y]
        e = small_exp(x - top, one)
        raw += x
        total += e
        L[g, y] = e
    scale, share = -lr / total, lr / L.dtype.type(hi - lo)
    for y in range(C):
        L[g, y] *= scale
    for p in range(lo, hi):
        L[g, labels[p]] += share
    return loss / (hi - lo) + math.log(total) + 0 * raw  # small_exp() would hide a NaN


@kernel
def one_vs_all_residual(L, g, C, labels, lo, hi, lr):  # type: ignore[no-untyped-def]
    """Turn scores L[g, :C] into steps lr * (target - sigmoid), target 1 at every label. Returns the loss."""
    one, loss = L.dtype.type(1), 0.0
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
        return one_vs_all_residual(s.L, g, spec.classes, c.labels, lo, hi, lr)
    if spec.positives == SAMPLE and hi > lo + 1:
        lo += draw(s.rng, hi - lo)
        hi = lo + 1
    return softmax_residual(s.L, g, spec.classes, c.labels, lo, hi, lr)


@kernel
def dense_loss(W, c, spec, lr, s, d):  # type: ignore[no-untyped-def]
    """Softmax or one-vs-all of document d, its z in Z[0]; returns its loss, steps W (C, Z8), sets step_z[0]."""
    for y in range(W.shape[0]):
        s.L[0, y] = dot(W, y, s.Z, 0)
    loss = residual(c, d, spec, lr, s, 0)
    for k in range(W.shape[1]):
        s.step_z[0, k] = 0
    for y in range(W.shape[0]):
        step = s.L[0, y]
        for k in range(W.shape[1]):
            w = W[y, k]
            s.step_z[0, k] += step * w
            W[y, k] = w + step * s.Z[0, k]
    return loss


@kernel
def group_loss(W, c, spec, lr, s, first, n):  # type: ignore[no-untyped-def]
    """Softmax or one-vs-all of documents docs[first:first + n]; returns their loss, steps W (Z8, C16), sets step_z."""
    C16, loss = W.shape[1], 0.0
    for g in range(s.Z.shape[0]):
        for k in range(W.shape[0]):
            s.columns[k, g] = s.Z[g, k]
            s.step_z[g, k] = 0
        for y in range(C16):
            s.L[g, y] = 0
    add_outer(s.L, s.columns, W, W.shape[0], 0, C16)
    for g in range(n):
        loss += residual(c, s.docs[first + g], spec, lr, s, g)
    for lo in range(0, C16, TILE):
        hi = min(C16, lo + TILE)
        add_inner(s.step_z, s.L, W, n, lo, hi)
        add_outer(W, s.Z, s.L, n, lo, hi)
    return loss
