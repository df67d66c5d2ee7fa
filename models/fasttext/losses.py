"""The output losses: scores of one document, or of a group, into steps of W and of z; exact gradients."""

import math

import numpy as np

from models.fasttext.arrays import HIERARCHICAL, ONE_VS_ALL, SAMPLE
from models.fasttext.jit import inlined, kernel
from models.fasttext.steps import dot, sigmoid


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
