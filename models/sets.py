"""What families over sets of elements share: their inputs, the arrays of a batch, and one encoder per input."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self, cast

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from fuseline.models.automatic import Chosen, automatic
from fuseline.models.columns import Column, Dense, Ragged, Sequence, Size
from fuseline.models.config import FrozenConfig, Names
from fuseline.models.dense import unit_rows, usable
from fuseline.models.features import Block, Features, Input, elements_name, embedding_name, vectors_name
from fuseline.models.labels import Classes
from fuseline.models.network import STAND_INS, NetworkClassifier, NetworkConfig
from fuseline.models.panel import branch_name
from fuseline.models.running import without_memory
from fuseline.models.stopping import MOST_EPOCHS, choose_by_stopping
from fuseline.models.training import Gather

if TYPE_CHECKING:
    import torch

    from fuseline.models.set_layers import SetNetwork

F32 = NDArray[np.float32]


class SetsConfig(NetworkConfig):
    """Inputs of sets of elements, their encoders and their training; the defaults of the latter are those of paper R.

    A new kind of element is one more name.
    """

    vectors: Names = Field(
        ("image", "text"), description="Embeddings in `embed`, or hidden/MODEL: one element of each per document"
    )
    elements: Names = Field((), description="Names in `crops`: every vector of theirs is an element")
    indices: Names = Field(
        (), description="Embeddings of indices in `embed`, or stages `sequence`: every index is an element"
    )
    sequences: Names = Field(
        (), description="The same, but all indices of a document pass filters as a text does, and are one element"
    )
    dim: int = Field(256, ge=1, le=65536, description="Numbers of an encoded element (D in the paper: 32 and 1024)")
    index_dim: int = Field(100, ge=1, le=4096, description="Numbers of an index's vector, which is drawn and trained")
    widths: tuple[Annotated[int, Field(ge=1, le=1000)], ...] = Field(
        (3, 4, 5), min_length=1, description="Indices that filters see at a time"
    )
    maps: int = Field(128, ge=1, le=65536, description="Filters of each width")
    dropout: float = Field(0.25, ge=0, lt=1, description="Share of an encoded element set to 0 while training")
    head: tuple[Annotated[int, Field(ge=1, le=65536)], ...] = Field(
        (128,), description="Units of the layers between the pooled vector and the classes"
    )
    lr: float = automatic(0.001, choices=(0.0005, 0.001, 0.002, 0.004), gt=0, description="Learning rate")
    epochs: int = automatic(20, choices=range(1, MOST_EPOCHS + 1), ge=1, description="Passes over the training rows")
    batch: int = Field(64, ge=1, description="Documents per step")
    optimizer: str = Field("adamw", description="One of torch.optim")
    schedule: str = Field("cosine", description="How the learning rate goes")
    warmup: float = Field(0.1, ge=0, lt=1, description="Share of the training in which the learning rate rises")

    stands_in_for: tuple[str, ...] = Field(
        (), description="Networks of a paper whose place others take here, as their weights need a hub; runs say so"
    )

    @model_validator(mode="after")
    def _reads_something(self) -> Self:
        names = [one.name for one in inputs_of_sets(self)]
        if not names:
            raise ValueError(
                "vectors: expected an input here, or in elements, indices or sequences, got none; name one"
            )
        if len(set(names)) < len(names):
            raise ValueError(f"inputs: expected each once, got {sorted(names)!r}; remove the repeated ones")
        if len({branch_name(one) for one in inputs_of_sets(self)}) < len(names):
            raise ValueError(f"inputs: expected names that differ in more than '.' and '_', got {names!r}; rename one")
        return self


def inputs_of_sets(config: SetsConfig) -> tuple[Input, ...]:
    """Return the columns that a configuration names."""
    numbers = (*config.indices, *config.sequences)
    return (
        *(Input(vectors_name(name), Dense) for name in config.vectors),
        *(Input(elements_name(name), Ragged) for name in config.elements),
        *(Input(embedding_name(name), Sequence) for name in numbers),
    )


@dataclass(frozen=True)
class Held:
    """The elements of one input that are used: present, and finite if they are vectors."""

    column: Ragged  # vectors (m, D) of unit length, or indices
    places: NDArray[np.int64]  # (m,) of each in its document's list, from 0
    listed: bool = False  # whether all indices of a document are one element
    single: bool = False  # whether a document has one vector at most

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Elements per document (n,)."""
        lengths = self.column.lengths
        return np.minimum(lengths, 1) if self.listed else lengths

    @property
    def whole(self) -> bool:
        """Whether an element is all that the document has of the input."""
        return self.listed or self.single

    @property
    def element_places(self) -> NDArray[np.int64]:
        """Place of every element (m,) in its document's list, 0 of a whole list."""
        return np.zeros(int(self.lengths.sum()), np.int64) if self.listed else self.places

    def arrays(self, rows: NDArray[np.int64]) -> tuple[NDArray[Any], NDArray[np.int64]]:
        """Return the elements of some documents, and how many each has (m,)."""
        chosen = self.column.at(rows)
        if not self.listed:
            return chosen.values, chosen.lengths
        has = np.flatnonzero(chosen.lengths)
        return cast(Sequence, chosen.at(has)).padded(), np.minimum(chosen.lengths, 1)


class SetClassifier(NetworkClassifier):
    """A network over the elements of all inputs; a family says what makes one vector of a document's elements.

    Vectors are taken at unit length. What is missing, and a vector that is not finite, is no element.
    """

    Config: ClassVar[type[FrozenConfig]] = SetsConfig
    bias: ClassVar[str] = "last.bias"
    config: SetsConfig

    @classmethod
    def inputs(cls, config: SetsConfig) -> tuple[Input, ...]:
        return inputs_of_sets(config)

    def _fit(
        self, train: Features, valid: Features | None, classes: Classes, *, seed: int, scratch: Path | None
    ) -> None:
        super()._fit(train, valid, classes, seed=seed, scratch=scratch)
        if self.config.stands_in_for:
            self.facts = {**self.facts, STAND_INS: list(self.config.stands_in_for)}

    def body(self, names: list[str]) -> "torch.nn.Module":
        """Return the module of the encoded elements of these inputs, in this order, with their lengths."""
        raise NotImplementedError

    def module(self, sizes: dict[str, Size], C: int) -> "torch.nn.Module":
        from fuseline.models.set_layers import Head, SetNetwork

        named = {branch_name(one): one.name for one in self._inputs()}
        encoders = {branch: self._encoder(name, sizes[name]) for branch, name in sorted(named.items())}
        body = self.body([named[branch] for branch in encoders])
        return SetNetwork(encoders, body, Head(int(body.width), self.config.head, C))  # type: ignore[arg-type]

    def blank(self, sizes: dict[str, Size], C: int) -> "torch.nn.Module":
        """Return a network without memory for its weights, so that sizes cost nothing before they are checked."""
        return without_memory(lambda: self.module(sizes, C))

    def hidden(self, block: Block) -> F32:
        """Return what the last layer reads of each document (n, H): features that the network has learnt."""
        network = cast("SetNetwork", self.network)
        return self._run(block, network.hidden, network.width)

    def gather(self, block: Block) -> Gather:
        return batches_of(self.held(block))

    def held(self, block: Block) -> dict[str, Held]:
        """Return what is used of each input, by its branch; raises ValueError for a column of another size."""
        return dict(sorted((branch_name(one), self._held(one, block.column(*one))) for one in self._inputs()))

    def _inputs(self) -> tuple[Input, ...]:
        return type(self).inputs(self.config)

    def _encoder(self, name: str, size: Size) -> "torch.nn.Module":
        from fuseline.models.layers import WordFilters
        from fuseline.models.set_layers import IndexElements, SequenceElements, VectorElements

        config = self.config
        if size.kind != Sequence.kind:
            return VectorElements(size.width, config.dim, dropout=config.dropout)
        if name in map(embedding_name, config.indices):
            return IndexElements(size.values, config.index_dim, config.dim, dropout=config.dropout)
        words = WordFilters(size.values, config.index_dim, config.widths, config.maps)
        return SequenceElements(words, config.dim, dropout=config.dropout)

    def _held(self, one: Input, column: Column) -> Held:
        wanted = self.sizes[one.name]
        if column.size != wanted:
            cure = "predict with what the model was trained with"
            raise ValueError(f"{one.name}: expected {wanted!r}, got {column.size!r}; {cure}")
        return self.used(one, column)

    def used(self, one: Input, column: Column) -> Held:
        """Return what is used of an input."""
        return replace(
            used(cast(Dense | Ragged, column)), listed=one.name in map(embedding_name, self.config.sequences)
        )

    def _choice(self, train: Features, valid: Features | None) -> Chosen:
        return choose_by_stopping(type(self), self.config, train, valid)


def used(column: Dense | Ragged) -> Held:
    """Return the elements of a column that can be used: vectors are sets of one."""
    single = isinstance(column, Dense)
    if isinstance(column, Dense):
        offsets = np.arange(len(column) + 1, dtype=np.int64)
        column = Ragged(offsets, np.asarray(column.values, np.float32), column.present)
    n, lengths = len(column), column.lengths
    owners = np.repeat(np.arange(n), lengths)
    places = np.arange(len(owners)) - column.offsets[:-1][owners]
    good = column.present[owners]
    if not isinstance(column, Sequence):
        values = np.asarray(column.values, np.float32)
        good = usable(values, good, unit=False)
        column = replace(column, values=unit_rows(values[good]))
    elif not good.all():
        column = replace(column, values=column.values[good])
    if not good.all():
        lengths = np.bincount(owners[good], minlength=n)
        column = replace(column, offsets=np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)]))
    return Held(column, places[good], single=single)


def batches_of(held: dict[str, Held]) -> Gather:
    """Return what makes the arrays of a batch, see set_layers.py, of the places (m,) of documents."""

    def arrays(rows: NDArray[np.int64]) -> Iterator[tuple[str, NDArray[Any]]]:
        from fuseline.models.set_layers import lengths_name

        for name, one in held.items():
            values, lengths = one.arrays(rows)
            yield name, values
            yield lengths_name(name), lengths

    return lambda rows: dict(arrays(rows))
