"""What single elements of documents, and the inputs they are of, had in decisions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from fuseline.models.features import Block, embedding_name

F32 = NDArray[np.float32]


@dataclass(frozen=True)
class ElementValues:
    """A number for every element of one input of n documents, one document after another."""

    lengths: NDArray[np.int64]  # (n,) how many each document has
    places: NDArray[np.int64]  # (m,) of each among the document's elements in the column, from 0
    values: F32  # (m,)
    whole: bool = False  # whether an element is all that the document has of the input

    @classmethod
    def join(cls, parts: Sequence["ElementValues"]) -> "ElementValues":
        """Return the numbers of several runs of documents, at least one, as one."""
        lengths = np.concatenate([part.lengths for part in parts])
        places = np.concatenate([part.places for part in parts])
        return cls(lengths, places, np.concatenate([part.values for part in parts]), parts[0].whole)

    def by_document(self) -> F32:
        """Return the sum over the elements of each document (n,)."""
        n = len(self.lengths)
        sums = np.bincount(np.repeat(np.arange(n), self.lengths), weights=self.values, minlength=n)
        return np.asarray(sums, np.float32)


@dataclass(frozen=True)
class ElementShares:
    """Shares of all elements of n documents; those of a document and what is dead add up to 1."""

    inputs: Mapping[str, ElementValues]  # by the name of the column: "crops/objects"
    dead: F32  # (n,) share that no element had

    @classmethod
    def join(cls, parts: Sequence["ElementShares"]) -> "ElementShares":
        """Return the shares of several runs of documents, at least one, as one."""
        inputs = {name: ElementValues.join([part.inputs[name] for part in parts]) for name in parts[0].inputs}
        return cls(inputs, np.concatenate([part.dead for part in parts]))

    def by_input(self) -> dict[str, F32]:
        """Return what each input had per document (n,)."""
        return {name: one.by_document() for name, one in self.inputs.items()}


@runtime_checkable
class TellsElements(Protocol):
    """A classifier that can tell what every element had in its decisions, at little more than their cost."""

    def explained(self, block: Block) -> tuple[F32, ElementShares | None]:
        """Return logits (n, C) and the shares of the elements; None where its options keep them from being told."""


def shares_by_input(told: ElementShares) -> dict[str, F32]:
    """Return input -> (n,) its share of what any element had, by the short name that other networks call it by."""
    by_input = told.by_input()
    total = np.asarray(sum(by_input.values()))
    total[total == 0] = 1
    return {
        name.removeprefix(embedding_name("")): np.asarray(one / total, np.float32) for name, one in by_input.items()
    }
