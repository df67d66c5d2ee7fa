"""Copies that several threads train: their gains add up, in rows that are copied and in rows that are not."""

import numpy as np
import pytest

from fuseline.models.fasttext import arrays, hogwild
from fuseline.models.fasttext.arrays import Chunk, Params, Spec
from fuseline.models.fasttext.kernels import model as kernels
from fuseline.models.fasttext.output_tables import lookups
from tests.models.fasttext_family.test_gradients import COUNTS, LR, chunk, params, spec

LOSSES = {"softmax": arrays.SOFTMAX, "hs": arrays.HIERARCHICAL, "ns": arrays.NEGATIVE, "ova": arrays.ONE_VS_ALL}
KINDS = [
    (arrays.SUM, "text"),
    (arrays.SUM, "weighted"),
    (arrays.SUM, "codes"),
    (arrays.MAX, "dense"),
    (arrays.BILINEAR, "dense"),
]
CASES = [(*kind, loss, 1) for kind in KINDS for loss in LOSSES]
CASES += [(*kind, loss, 16) for kind in KINDS for loss in ("softmax", "ova")]


def trained(start: Params, c: Chunk, s: Spec, loss: str, parts: list[list[int]], *, threads: int) -> Params:
    """Return the matrices after each part was trained by a thread of its own, one after the other."""
    p = Params._make(matrix.copy() for matrix in start)
    shared = hogwild.working(p, s.group)
    scratches = [
        hogwild.new_scratch(shared, s.group, 7, hogwild.copies(shared, s.loss) if threads > 1 else None) for _ in parts
    ]
    for scratch, part in zip(scratches, parts, strict=True):
        kernels.train_range(
            shared, c, s, lookups(COUNTS, loss), scratch, np.array(part), 0, len(part), LR, 0.0, threads, 1e18,
            np.zeros(4),
        )  # fmt: skip
    hogwild.take_back(shared, p, s.group)
    return p


@pytest.mark.parametrize(("fusion", "kind", "loss", "group"), [case for case in CASES if case[1] != "codes"])
def test_gains_of_threads_add_up(fusion: int, kind: str, loss: str, group: int) -> None:
    """Visual tokens, which none of them names often, are trained in place."""
    c, s, start = chunk(kind), spec(fusion, LOSSES[loss], group=group), params(fusion, kind)
    parts = [[0, 4], [2, 1, 4]]
    together = trained(start, c, s, loss, parts, threads=2)
    apart = [trained(start, c, s, loss, [part], threads=1) for part in parts]
    for got, before, *after in zip(together, start, *apart, strict=True):
        np.testing.assert_allclose(got - before, sum(matrix - before for matrix in after), rtol=1e-8, atol=1e-11)


@pytest.mark.parametrize(("fusion", "kind", "loss", "group"), CASES)
@pytest.mark.parametrize("rows", [1, 3, 100])
def test_a_row_is_trained_alike_in_a_copy_and_in_place(
    fusion: int, kind: str, loss: str, group: int, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    c, s, start = chunk(kind), spec(fusion, LOSSES[loss], group=group), params(fusion, kind)
    monkeypatch.setattr(hogwild, "OWN", rows * start.U.shape[1])
    monkeypatch.setattr(hogwild, "WHOLE", 0 if rows == 3 else 1 << 20)
    part = [0, 4, 2, 1] * 20  # enough for rows to be exchanged on the way
    got, expected = (trained(start, c, s, loss, [part], threads=threads) for threads in (2, 1))
    for one, other in zip(got, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-8, atol=1e-10)


def test_frequent_rows_are_exchanged_on_the_way() -> None:
    c, s, start = chunk("text"), spec(arrays.SUM, arrays.HIERARCHICAL), params(arrays.SUM, "text")
    shared = hogwild.working(start, 1)
    scratch = hogwild.new_scratch(shared, 1, 7, hogwild.copies(shared, s.loss))
    before, order = scratch.base.W.copy(), np.array([0, 2] * 8)
    for lo in range(0, 16, 2):  # the end of a range exchanges everything
        kernels.train_range(
            shared, c, s, lookups(COUNTS, "hs"), scratch, order, lo, lo + 2, LR, 0.0, 2, 1e18, np.zeros(4)
        )
    assert int(scratch.stepped[0]) == 16
    assert not np.array_equal(scratch.base.W, before)
    np.testing.assert_array_equal(scratch.own.W, shared.W)
    np.testing.assert_array_equal(scratch.own.U, shared.U)


def test_large_matrices_are_not_copied() -> None:
    big = Params(np.zeros((10_000, 104)), np.zeros((104, 16_384)), np.zeros((1_000_000, 104), np.float32))
    for loss in LOSSES.values():
        own, base = hogwild.copies(big, loss)
        assert own.V is big.V
        assert len(base.V) == 0
        assert (own.W is big.W) == (loss in (arrays.SOFTMAX, arrays.ONE_VS_ALL))
        assert sum(matrix.size for matrix in base) <= 2 * hogwild.OWN
    np.testing.assert_array_equal(hogwild.copies(big, arrays.HIERARCHICAL)[0].W, big.W[-157:])


def test_arrays_of_threads_share_no_cache_line() -> None:
    shared = hogwild.working(params(0, "dense"), 1)
    scratches = [hogwild.new_scratch(shared, 1, t, hogwild.copies(shared, arrays.SOFTMAX)) for t in range(3)]
    lines = list[int]()
    for scratch in scratches:
        written = [scratch.T, scratch.Z, scratch.step_z, scratch.L, scratch.rng, scratch.stepped, *scratch.own]
        for array in written:
            first = array.ctypes.data // arrays.LINE
            lines += range(first, (array.ctypes.data + array.nbytes - 1) // arrays.LINE + 1)
    assert len(lines) == len(set(lines))
