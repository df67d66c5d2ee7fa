"""Between tokens and hidden vectors: gather and scatter rows of U, fuse t and v into z and back."""

import math

import numpy as np

from fuseline.models.fasttext.arrays import (
    BILINEAR,
    BILINEAR_GATE_IMAGE,
    BILINEAR_GATE_TEXT,
    GATE_IMAGE,
    GATE_TEXT,
    MAX,
    SUM,
)
from fuseline.models.fasttext.kernels.jit import inlined, kernel, pick, prefetch

LINE = 16  # float32 numbers of a cache line


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
def ask(U, own, c, d):  # type: ignore[no-untyped-def]
    """Have the rows of U that a document's tokens name brought near, while another document is worked on."""
    for p in range(c.indptr[d], c.indptr[d + 1]):
        for k in range(0, U.shape[1], LINE):
            prefetch(pick(own, U, 0, c.ids[p]), c.ids[p] * U.shape[1] + k)


@inlined
def gather(U, own, c, d, spec, T, A, r):  # type: ignore[no-untyped-def]
    """Set T[r] to the mean row of a document's tokens, or their weighted sum; A[r] to alpha times that of its codes.

    The first rows of U are those of `own`.
    """
    one, zero = U.dtype.type(1), U.dtype.type(0)
    for k in range(T.shape[1]):
        T[r, k] = zero
        A[r, k] = zero
    lo, hi = c.indptr[d], c.indptr[d + 1]
    if c.weights.size > 0:
        for p in range(lo, hi):
            axpy(T, r, U.dtype.type(c.weights[p]), pick(own, U, 0, c.ids[p]), c.ids[p])
    elif hi > lo:
        for p in range(lo, hi):
            axpy(T, r, one, pick(own, U, 0, c.ids[p]), c.ids[p])
        scale = one / U.dtype.type(hi - lo)
        for k in range(T.shape[1]):
            T[r, k] *= scale
    M = c.codes.shape[1]
    if M > 0 and c.has_image[d]:
        scale = U.dtype.type(spec.alpha) / U.dtype.type(M)
        for m in range(M):
            axpy(A, r, scale, U, spec.code_base + m * spec.codewords + np.int64(c.codes[d, m]))


@inlined
def scatter(U, own, c, d, spec, T, A, r):  # type: ignore[no-untyped-def]
    """Add the steps T[r] and A[r] to the rows of U that `gather` read."""
    one = U.dtype.type(1)
    lo, hi = c.indptr[d], c.indptr[d + 1]
    if c.weights.size > 0:
        for p in range(lo, hi):
            axpy(pick(own, U, 0, c.ids[p]), c.ids[p], U.dtype.type(c.weights[p]), T, r)
    elif hi > lo:
        scale = one / U.dtype.type(hi - lo)
        for k in range(T.shape[1]):
            T[r, k] *= scale
        for p in range(lo, hi):
            axpy(pick(own, U, 0, c.ids[p]), c.ids[p], one, T, r)
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
    """Turn T[r], A[r], as `fuse` left them, into the steps that step_z[g] asks of t and v; step (2, H8) is scratch."""
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
