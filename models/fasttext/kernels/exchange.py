"""How several threads share the matrices: each trains copies of the rows that all keep writing, and exchanges them.

Cores that write the same cache line pass it to and fro, which takes longer than the writing. So every thread has copies
of the most frequent rows of U and W. It adds what a copy has gained to the shared row and goes on with the sum: for the
row of rank r whenever all threads together have trained SPAN * r documents. At most one token in r is the one of rank
r, so that between two exchanges a thread misses a few steps of the others, of whatever row; and all are exchanged at
the end of its range. A single thread has no copies.
"""

from fuseline.models.fasttext.arrays import HIERARCHICAL, NEGATIVE
from fuseline.models.fasttext.kernels.jit import inlined, kernel
from fuseline.models.fasttext.kernels.output_losses import own_from

SPAN = 16  # documents of all threads between two exchanges of the most frequent row
WHOLE = 2  # the rank of V, and of a W of which every document reads all


@kernel
def exchange(shared, own, base, first, lo, hi):  # type: ignore[no-untyped-def]
    """Add to rows first + lo.. of `shared` what rows lo..hi-1 of `own` have gained since `base`, and take the sums.

    Without locks, as all of Hogwild: what another thread adds at the same instant may be lost.
    """
    for i in range(lo, hi):
        for k in range(base.shape[1]):
            x = shared[first + i, k] + (own[i, k] - base[i, k])
            shared[first + i, k] = x
            own[i, k] = x
            base[i, k] = x


@inlined
def due(stepped, kind, documents, threads):  # type: ignore[no-untyped-def]
    """Count a step of so many documents, and return how many rows are due: twice as many come up half as often."""
    stepped[kind] += 1
    return (stepped[kind] & -stepped[kind]) * documents * threads // SPAN


@kernel
def exchange_rows(p, spec, s, rows):  # type: ignore[no-untyped-def]
    """Exchange the `rows` most frequent rows of U and W, or all of a W that every document reads whole."""
    exchange(p.U, s.own.U, s.base.U, 0, 0, min(rows, s.base.U.shape[0]))
    n, first = s.base.W.shape[0], own_from(p.W, spec, s)
    some = min(rows, n)
    if spec.loss == HIERARCHICAL:
        exchange(p.W, s.own.W, s.base.W, first, n - some, n)
    elif spec.loss == NEGATIVE:
        exchange(p.W, s.own.W, s.base.W, first, 0, some)
    elif rows >= WHOLE:
        exchange(p.W, s.own.W, s.base.W, first, 0, n)


@inlined
def exchange_due(p, spec, s, threads):  # type: ignore[no-untyped-def]
    """Exchange what rows of U and W are due after a step."""
    rows = due(s.stepped, 0, spec.group, threads)
    if rows > 0:
        exchange_rows(p, spec, s, rows)


@inlined
def exchange_images(p, s, threads):  # type: ignore[no-untyped-def]
    """Exchange V after a block if it is due."""
    if due(s.stepped, 1, s.docs.size, threads) >= WHOLE:
        exchange(p.V, s.own.V, s.base.V, 0, 0, s.base.V.shape[0])


@kernel
def exchange_all(p, spec, s):  # type: ignore[no-untyped-def]
    """Exchange all that a thread has copies of."""
    exchange_rows(p, spec, s, max(WHOLE, s.base.U.shape[0], s.base.W.shape[0]))
    exchange(p.V, s.own.V, s.base.V, 0, 0, s.base.V.shape[0])
