"""Reductions over the elements of each document, for any number of them: no padding; imported as torch is.

`values` (m, D) are elements of n documents, `owners` (m,) int64 the document of each, in any order. A document without
an element gets zeros: the largest of nothing would be minus infinity, which no layer above could read.
"""

from collections.abc import Callable

import torch
from torch import Tensor

TIE = 1e-6  # two values so close are equal, as a share of 1 and of their size
Reduce = Callable[[Tensor, Tensor, int], Tensor]


def segment_sum(values: Tensor, owners: Tensor, n: int) -> Tensor:
    """Return the sum of the elements of each document (n, D)."""
    return values.new_zeros(n, values.shape[1]).index_add(0, owners, values)


def segment_mean(values: Tensor, owners: Tensor, n: int) -> Tensor:
    """Return the mean of the elements of each document (n, D)."""
    counts = torch.bincount(owners, minlength=n).clamp(min=1)
    return segment_sum(values, owners, n) / counts[:, None]


def segment_max(values: Tensor, owners: Tensor, n: int) -> Tensor:
    """Return the largest value of each dimension (n, D); equally large elements share the gradient evenly."""
    return _Extreme.apply(values, owners, n, "amax")  # type: ignore[no-any-return]


def segment_min(values: Tensor, owners: Tensor, n: int) -> Tensor:
    """Return the smallest value of each dimension (n, D); equally small elements share the gradient evenly."""
    return _Extreme.apply(values, owners, n, "amin")  # type: ignore[no-any-return]


def segment_median(values: Tensor, owners: Tensor, n: int) -> Tensor:
    """Return the median of each dimension (n, D): of an even number of elements the mean of the two in the middle."""
    counts = torch.bincount(owners, minlength=n)
    grouped = values.index_select(0, owners.argsort(stable=True))
    starts, medians = counts.cumsum(0) - counts, segment_sum(values[:0], owners[:0], n)
    for count in torch.unique(counts).tolist():  # documents of equally many elements are sorted together
        if count:
            rows = (counts == count).nonzero()[:, 0]
            places = (starts[rows, None] + torch.arange(count, device=values.device)).flatten()
            ordered = grouped.index_select(0, places).reshape(len(rows), count, -1).sort(dim=1).values
            middle = (ordered[:, (count - 1) // 2] + ordered[:, count // 2]) / 2
            medians = medians.index_add(0, rows, middle)
    return medians


REDUCE: dict[str, Reduce] = {
    "max": segment_max,
    "sum": segment_sum,
    "min": segment_min,
    "mean": segment_mean,
    "median": segment_median,
}


def won(values: Tensor, pooled: Tensor, owners: Tensor, *, smallest: bool = False) -> tuple[Tensor, Tensor]:
    """Return what each element won of its document's extreme values, and which dimensions nobody won (R-21).

    Elements that are equally extreme, up to rounding, share a dimension evenly. It is dead, and nobody's, in a document
    without an element, or where all of several elements are equal.

    Args:
        values: elements (m, D).
        pooled: their largest values by document (n, D).
        owners: document of each element (m,).
        smallest: whether `pooled` are the smallest values instead.

    Returns:
        Share of the D dimensions per element (m,), and per document the share that is dead (n,).
    """
    n, D = pooled.shape
    edge = TIE * (1 + pooled.abs())  # equal elements differ in their last bits where a product is cut otherwise
    if smallest:
        extreme = values <= (pooled + edge).index_select(0, owners)
    else:
        extreme = values >= (pooled - edge).index_select(0, owners)
    own = extreme.sum(dim=1, dtype=torch.int32)
    dead = (torch.bincount(owners, minlength=n) == 0).float()
    tied = own.new_zeros(n).index_add(0, owners, own) > D
    shares = own / D
    if bool(tied.any()):
        rows = tied.index_select(0, owners).nonzero()[:, 0]
        shares[rows], lost = _shared(extreme.index_select(0, rows), owners.index_select(0, rows), n)
        dead = torch.where(tied, lost, dead)
    return shares, dead


def _shared(extreme: Tensor, owners: Tensor, n: int) -> tuple[Tensor, Tensor]:
    """Return what `won` does for elements (m,), and dead shares (n,), of documents in which some dimension is tied."""
    counts = torch.bincount(owners, minlength=n)
    winners = segment_sum(extreme.float(), owners, n)
    dead = (winners == counts[:, None]) & (counts[:, None] > 1)
    part = torch.where(dead, 0.0, 1.0 / winners.clamp(min=1))
    shares = (extreme * part.index_select(0, owners)).sum(dim=1) / extreme.shape[1]
    return shares, dead.float().mean(dim=1)


class _Extreme(torch.autograd.Function):
    """Largest or smallest values; torch's own gradient of `scatter_reduce` counts ties even where there are none."""

    @staticmethod
    def forward(ctx, values: Tensor, owners: Tensor, n: int, reduce: str) -> Tensor:  # type: ignore[no-untyped-def]
        pooled = values.new_zeros(n, values.shape[1])
        pooled.scatter_reduce_(0, owners[:, None].expand_as(values), values, reduce, include_self=False)
        ctx.save_for_backward(values, pooled, owners)
        return pooled

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None, None, None]:  # type: ignore[no-untyped-def]
        values, pooled, owners = ctx.saved_tensors
        others = values != pooled.index_select(0, owners)
        extreme = others.numel() - int(torch.count_nonzero(others))
        if _tied(extreme, torch.bincount(owners, minlength=len(pooled)), pooled.shape[1]):
            winners = torch.zeros_like(pooled).index_add(0, owners, (~others).to(pooled.dtype))
            gradient = gradient / winners.clamp(min=1)
        return gradient.index_select(0, owners).masked_fill_(others, 0), None, None, None


def _tied(extreme: int, counts: Tensor, D: int) -> bool:
    """Return whether more values are extreme than one per dimension of every document that has elements."""
    return extreme > int(torch.count_nonzero(counts)) * D
