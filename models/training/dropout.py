"""Modality dropout: documents that lose one of their inputs, whole, in a step of training (Neverova 2016)."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from fuseline.models.features import Block

Gather = Callable[[NDArray[np.int64]], dict[str, NDArray[Any]]]


@dataclass(frozen=True)
class Maskable:
    """Documents whose inputs can be masked one at a time."""

    whole: Gather
    without: tuple[Gather, ...] = ()  # of each input: the same documents with nothing present in it
    present: NDArray[np.bool_] | None = None  # (k, n) which input each document has

    @classmethod
    def of(cls, gather: Callable[[Block], Gather], block: Block, inputs: tuple[str, ...]) -> Self:
        """Return the documents of a block; without names of inputs nothing can be masked."""
        if not inputs:
            return cls(gather(block))
        present = np.stack([block.columns[name].present for name in inputs])
        return cls(gather(block), tuple(gather(block.masked(frozenset({name}))) for name in inputs), present)

    def parts(self, rows: NDArray[np.int64], chance: float) -> Iterator[tuple[Gather, NDArray[np.int64]]]:
        """Yield places (m,) of a batch in its rows, and what gathers these: those that lose nothing first.

        Draws from torch's stream, unless nothing can be masked. Yields no part without a document.
        """
        lost = self._lost(rows, chance)
        for number, gather in enumerate((self.whole, *self.without), -1):
            places = np.flatnonzero(lost == number)
            if len(places):
                yield gather, places

    def _lost(self, rows: NDArray[np.int64], chance: float) -> NDArray[np.int64]:
        """Return the input that each document (n,) loses, -1 for none: it has another one besides."""
        import torch

        if self.present is None:
            return np.full(len(rows), -1)
        present = self.present[:, rows]
        drawn = torch.randint(len(present), (len(rows),)).numpy()
        loses = torch.rand(len(rows)).numpy() < chance
        has = present[drawn, np.arange(len(rows))]
        return np.where(loses & has & (present.sum(axis=0) > 1), drawn, -1)
