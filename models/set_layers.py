"""Torch layers over sets of elements (Reiter 2020); imported when a network is built, since torch takes long to import.

A batch of n documents holds two arrays per input: its elements (m, ...) of all documents, one document after another,
and under `lengths_name(input)` how many each document has, (n,) int64.
"""

from collections.abc import Mapping
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn

from fuseline.models.layers import WordFilters
from fuseline.models.segments import REDUCE

CHOOSING = ("max", "min")  # poolings that choose one element per dimension


def lengths_name(name: str) -> str:
    """Return what the numbers of elements of an input are called in a batch."""
    return f"{name}/lengths"


class Elements(NamedTuple):
    """Encoded elements of some documents, input after input."""

    values: Tensor  # (m, D)
    owners: Tensor  # (m,) int64 document of each
    documents: int  # n


class VectorElements(nn.Module):
    """phi: one fully connected layer, ELU and dropout over vectors (R-06)."""

    def __init__(self, width: int, dim: int, *, dropout: float) -> None:
        """Map vectors of `width` numbers to `dim` numbers."""
        super().__init__()
        self.linear, self.dropout = nn.Linear(width, dim), nn.Dropout(dropout)

    def forward(self, X: Tensor) -> Tensor:
        """Return encoded elements (m, dim) of X (m, width)."""
        encoded: Tensor = self.dropout(nn.functional.elu(self.linear(X)))
        return encoded

    def before(self, X: Tensor) -> Tensor:
        """Return elements (m, dim) before the activation, see `activated`."""
        scores: Tensor = self.dropout(self.linear(X))
        return scores


class IndexElements(nn.Module):
    """phi of single indices: a learned table, then as for vectors (R-15); an unknown value is a row of zeros."""

    def __init__(self, vocabulary: int, width: int, dim: int, *, dropout: float) -> None:
        """Look up indices 0 to `vocabulary` among vectors of `width` numbers, and map these to `dim` numbers."""
        super().__init__()
        self.table = nn.Embedding(vocabulary + 1, width, padding_idx=0)
        self.encoder = VectorElements(width, dim, dropout=dropout)

    def forward(self, indices: Tensor) -> Tensor:
        """Return encoded elements (m, dim) of indices (m,)."""
        encoded: Tensor = self.encoder(self.table(indices))
        return encoded

    def before(self, indices: Tensor) -> Tensor:
        """Return elements (m, dim) before the activation."""
        return self.encoder.before(self.table(indices))


class SequenceElements(nn.Module):
    """phi of several indices in their order: filters over runs of them (Kim 2014), then as for vectors (R-15)."""

    def __init__(self, words: WordFilters, dim: int, *, dropout: float) -> None:
        """Map what filters answer to `dim` numbers."""
        super().__init__()
        self.words = words
        self.encoder = VectorElements(words.width, dim, dropout=dropout)

    def forward(self, ids: Tensor) -> Tensor:
        """Return encoded elements (m, dim) of index lists (m, L), -1 behind the end of one."""
        encoded: Tensor = self.encoder(self.words(ids))
        return encoded

    def before(self, ids: Tensor) -> Tensor:
        """Return elements (m, dim) before the activation."""
        return self.encoder.before(self.words(ids))


def activated(pooled: Tensor, dropout: float) -> Tensor:
    """Return the ELU and dropout of what max or min made of elements before them, (n, D).

    Neither changes which element is largest: ELU grows, and 0, which is dropped elements' score, stays 0. Few pooled
    values then pass what many elements would. Dropout has scaled its input by 1 / (1 - dropout); it shall scale the
    ELU instead.
    """
    kept = 1.0 - dropout
    return nn.functional.elu(pooled * kept) / kept if dropout else nn.functional.elu(pooled)


class Head(nn.Module):
    """rho: layers of rectified units and a linear map to the classes (R-08)."""

    def __init__(self, width: int, units: tuple[int, ...], classes: int) -> None:
        """Make layers of so many units over `width` numbers."""
        super().__init__()
        sizes = [width, *units]
        self.layers = nn.Sequential(*(nn.Sequential(nn.Linear(a, b), nn.ReLU()) for a, b in pairwise(sizes)))
        self.last = nn.Linear(sizes[-1], classes)
        self.width = sizes[-1]


class SetNetwork(nn.Module):
    """Encoders of elements, one per input, something that makes one vector of a document's, and a head."""

    def __init__(self, branches: Mapping[str, nn.Module], body: nn.Module, head: Head) -> None:
        """Make a network.

        Args:
            branches: input -> module of its elements.
            body: module of the encoded elements by input, with their lengths; its `width` is what the head reads.
            head: rho.
        """
        super().__init__()
        self.branches = nn.ModuleDict(dict(sorted(branches.items())))
        self.body, self.layers, self.last = body, head.layers, head.last
        self.width = head.width

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """Return logits (n, C)."""
        logits: Tensor = self.last(self.hidden(batch))
        return logits

    def hidden(self, batch: dict[str, Tensor]) -> Tensor:
        """Return what the last layer reads (n, width)."""
        features: Tensor = self.layers(self.body(*self.encoded(batch)))
        return features

    def encoded(self, batch: dict[str, Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Return the elements (m, D) of each input in sorted order, and how many each document has (n,)."""
        early = bool(self.body.early)
        values = [
            branch.before(batch[name]) if early else branch(batch[name])  # type: ignore[operator]
            for name, branch in self.branches.items()
        ]
        return values, [batch[lengths_name(name)] for name in self.branches]


class Pool(nn.Module):
    """psi: all elements of a document, whatever input they are of, become one vector (R-07)."""

    def __init__(self, pooling: str, dim: int, *, dropout: float) -> None:
        """Pool vectors of `dim` numbers, made with a dropout, by a function of `REDUCE`."""
        super().__init__()
        self.reduce, self.width, self.dropout = REDUCE[pooling], dim, dropout
        self.early = pooling in CHOOSING  # it reads elements before their activation

    def forward(self, values: list[Tensor], lengths: list[Tensor]) -> Tensor:
        """Return one vector per document (n, D), zeros for one without elements."""
        return self.finished(self.reduce(*one_set(values, lengths)))

    def finished(self, pooled: Tensor) -> Tensor:
        """Return pooled vectors (n, D) as the head reads them."""
        return activated(pooled, self.dropout if self.training else 0.0) if self.early else pooled


def one_set(values: list[Tensor], lengths: list[Tensor]) -> Elements:
    """Return the elements of all inputs as one set."""
    n = len(lengths[0])
    documents = torch.arange(n, device=lengths[0].device)
    return Elements(torch.cat(values), torch.cat([documents.repeat_interleave(each) for each in lengths]), n)


class Slots(nn.Module):
    """Elements behind one another in a fixed number of places per input, zeros where there is none (R-05, R-28)."""

    early = False

    def __init__(self, places: list[int], dim: int) -> None:
        """Keep the first `places[i]` elements of `dim` numbers of input i; what is beyond them is cut."""
        super().__init__()
        self.places, self.width = places, dim * sum(places)

    def forward(self, values: list[Tensor], lengths: list[Tensor]) -> Tensor:
        """Return one vector per document (n, width)."""
        parts = [self._placed(*part) for part in zip(values, lengths, self.places, strict=True)]
        return torch.cat(parts, dim=1)

    def _placed(self, values: Tensor, lengths: Tensor, places: int) -> Tensor:
        n = len(lengths)
        owners = torch.arange(n, device=values.device).repeat_interleave(lengths)
        place = torch.arange(len(values), device=values.device) - (lengths.cumsum(0) - lengths).index_select(0, owners)
        kept = (place < places).nonzero()[:, 0]
        slots = values.new_zeros(n * places, values.shape[1])
        at = owners.index_select(0, kept) * places + place.index_select(0, kept)
        return slots.index_add(0, at, values.index_select(0, kept)).reshape(n, -1)
