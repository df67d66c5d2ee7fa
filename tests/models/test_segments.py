"""Reductions over elements: beside a loop over documents, their gradients, order, duplicates, and sets of nothing."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fuseline.models.segments import REDUCE, won

every = pytest.mark.parametrize("pooling", sorted(REDUCE))
Lengths = list[int]
lengths = st.lists(st.integers(0, 6), min_size=1, max_size=6)
OF_A_LOOP: dict[str, Any] = {
    "max": lambda rows: rows.amax(dim=0),
    "min": lambda rows: rows.amin(dim=0),
    "sum": lambda rows: rows.sum(dim=0),
    "mean": lambda rows: rows.mean(dim=0),
    "median": lambda rows: rows.quantile(0.5, dim=0),
}


def elements(sizes: Lengths, seed: int = 0, D: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    """Return elements (m, D) float64 of documents, and the document of each, all in a random order."""
    rng = torch.Generator().manual_seed(seed)
    owners = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
    order = torch.randperm(len(owners), generator=rng)
    return torch.randn(len(owners), D, dtype=torch.float64, generator=rng), owners[order]


def by_loop(pooling: str, values: torch.Tensor, owners: torch.Tensor, n: int) -> torch.Tensor:
    """Return the reduction by its definition, a document at a time."""
    rows = [values[owners == document] for document in range(n)]
    # A sum of nothing is zeros that a gradient passes through.
    return torch.stack([OF_A_LOOP[pooling](one) if len(one) else one.sum(dim=0) for one in rows])


@every
@given(sizes=lengths, seed=st.integers(0, 99))
def test_values_and_gradients_are_those_of_a_loop(pooling: str, sizes: Lengths, seed: int) -> None:
    values, owners = elements(sizes, seed)
    gradients = []
    for reduce in (REDUCE[pooling], lambda *args: by_loop(pooling, *args)):
        leaf = values.clone().requires_grad_()
        pooled = reduce(leaf, owners, len(sizes))
        (pooled * torch.arange(1.0, pooled.numel() + 1).reshape(pooled.shape)).sum().backward()
        gradients.append((pooled.detach(), torch.zeros_like(leaf) if leaf.grad is None else leaf.grad))
    for ours, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, theirs)


@every
def test_gradients_are_those_of_finite_differences(pooling: str) -> None:
    values, owners = elements([3, 0, 1, 4, 2])
    leaf = values.requires_grad_()
    assert torch.autograd.gradcheck(lambda one: REDUCE[pooling](one, owners, 5), (leaf,))


@every
@given(sizes=lengths, seed=st.integers(0, 99))
def test_the_order_of_elements_changes_nothing(pooling: str, sizes: Lengths, seed: int) -> None:
    values, owners = elements(sizes, seed)
    order = torch.randperm(len(owners), generator=torch.Generator().manual_seed(seed + 1))
    pooled = [REDUCE[pooling](*one, len(sizes)) for one in ((values, owners), (values[order], owners[order]))]
    torch.testing.assert_close(*pooled)


@every
@given(sizes=lengths, seed=st.integers(0, 99))
def test_elements_that_stand_twice_change_the_sum_alone(pooling: str, sizes: Lengths, seed: int) -> None:
    values, owners = elements(sizes, seed)
    once, twice = (REDUCE[pooling](values.repeat(k, 1), owners.repeat(k), len(sizes)) for k in (1, 2))
    torch.testing.assert_close(twice, 2 * once if pooling == "sum" else once)


@every
@given(sizes=lengths, cut=st.integers(0, 6), seed=st.integers(0, 99))
def test_documents_are_reduced_by_themselves(pooling: str, sizes: Lengths, cut: int, seed: int) -> None:
    values, owners = elements(sizes, seed)
    cut = min(cut, len(sizes))
    first = owners < cut
    parts = [
        REDUCE[pooling](values[first], owners[first], cut),
        REDUCE[pooling](values[~first], owners[~first] - cut, len(sizes) - cut),
    ]
    torch.testing.assert_close(torch.cat(parts), REDUCE[pooling](values, owners, len(sizes)))


@every
@pytest.mark.parametrize("sizes", [[0], [0, 0, 0], [1], [500], [0, 500, 1]])
def test_none_one_and_five_hundred_elements(pooling: str, sizes: Lengths) -> None:
    values, owners = elements(sizes)
    pooled = REDUCE[pooling](values, owners, len(sizes))
    torch.testing.assert_close(pooled, by_loop(pooling, values, owners, len(sizes)))
    assert torch.isfinite(pooled).all()
    assert not pooled[torch.tensor(sizes) == 0].any()


@pytest.mark.parametrize("pooling", ["max", "min"])
def test_equally_extreme_elements_share_the_gradient(pooling: str) -> None:
    leaf = torch.tensor([[2.0], [2.0], [2.0], [5.0]], requires_grad=True)
    REDUCE[pooling](leaf, torch.tensor([0, 0, 0, 1]), 2).sum().backward()
    assert leaf.grad is not None
    np.testing.assert_allclose(leaf.grad[:, 0], [1 / 3, 1 / 3, 1 / 3, 1])


def test_won_dimensions_by_hand() -> None:
    # Document 0: dimensions are won by the first, the second, and twice by nobody as both are equal. Document 1 has
    # nothing, 2 one element that wins all, 3 two of three equally large ones.
    values = torch.tensor([[3.0, 1, 4, 7], [2, 5, 4, 7], [1, 1, 1, 1], [0, 0, 0, 0], [0, 0, 0, 0], [-1, -1, -1, -1]])
    owners = torch.tensor([0, 0, 2, 3, 3, 3])
    share, dead = won(values, REDUCE["max"](values, owners, 4), owners)
    np.testing.assert_allclose(share, [0.25, 0.25, 1, 0.5, 0.5, 0])
    np.testing.assert_allclose(dead, [0.5, 1, 0, 0])


@pytest.mark.parametrize("pooling", ["max", "min"])
@given(sizes=lengths, seed=st.integers(0, 99), ties=st.booleans())
def test_what_is_won_and_what_is_dead_is_all(pooling: str, sizes: Lengths, seed: int, ties: bool) -> None:
    values, owners = elements(sizes, seed)
    values = values.round() if ties else values
    share, dead = won(values, REDUCE[pooling](values, owners, len(sizes)), owners, smallest=pooling == "min")
    total = np.bincount(owners, weights=share, minlength=len(sizes)) + dead.numpy()
    np.testing.assert_allclose(total, 1, rtol=1e-6)
    assert (share >= 0).all()
