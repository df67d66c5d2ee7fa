"""How several threads share the matrices: each trains copies of the rows that all keep writing, and exchanges them.

Cores that write the same cache line pass it to and fro, which takes longer than the writing. So every thread has copies
of the most frequent rows of U and W. It adds what a copy has gained to the shared row and goes on with the sum: for the
row of rank r whenever all threads together have trained SPAN * r documents. At most one token in r is the one of rank
r, so that between two exchanges a thread misses a few steps of the others, of whatever row. A W of which every document
reads all is exchanged after DENSE_SPAN documents of all threads, V after every block, and everything at the end of a
range. A single thread has no copies.
"""

from fuseline.models.fasttext.arrays import HIERARCHICAL, NEGATIVE
from fuseline.models.fasttext.kernels.jit import inlined, kernel
from fuseline.models.fasttext.kernels.output_losses import own_from

SPAN = 16  # documents of all threads between two exchanges of the most frequent row
DENSE_SPAN = 8  # the same of a W of which every document reads all


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


@kernel
def exchange_rows(p, spec, s, documents):  # type: ignore[no-untyped-def]
    """Exchange the rows of U and W that are due after so many documents."""
    n, first, rows = s.base.W.shape[0], own_from(p.W, spec, s), documents // SPAN
    exchange(p.U, s.own.U, s.base.U, 0, 0, min(rows, s.base.U.shape[0]))
    if spec.loss == HIERARCHICAL:
        exchange(p.W, s.own.W, s.base.W, first, n - min(rows, n), n)
    elif spec.loss == NEGATIVE:
        exchange(p.W, s.own.W, s.base.W, first, 0, min(rows, n))
    elif documents >= DENSE_SPAN:
        exchange(p.W, s.own.W, s.base.W, first, 0, n)


@inlined
def exchange_due(p, spec, s, threads):  # type: ignore[no-untyped-def]
    """Count a step, and exchange what is due after it: twice as many rows half as often."""
    s.stepped[0] += 1
    documents = (s.stepped[0] & -s.stepped[0]) * spec.group * threads
    if documents >= DENSE_SPAN:
        exchange_rows(p, spec, s, documents)


@inlined
def exchange_images(p, s):  # type: ignore[no-untyped-def]
    """Exchange V."""
    exchange(p.V, s.own.V, s.base.V, 0, 0, s.base.V.shape[0])


@kernel
def exchange_all(p, spec, s):  # type: ignore[no-untyped-def]
    """Exchange all that a thread has copies of."""
    exchange_rows(p, spec, s, SPAN * max(1, s.base.U.shape[0], s.base.W.shape[0]))
    exchange_images(p, s)
