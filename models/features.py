"""What a classifier reads: blocks of documents, streamed in a fixed order, and which of their columns it declares."""

from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, NamedTuple, Never, Protocol, Self, TypeVar, cast, runtime_checkable

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from fuseline.models.columns import Column, Rows, Size, Text
from fuseline.models.config import FrozenConfig
from fuseline.plain import JsonObject

TEXT = "clean/text"  # the dataset of cleaned text
C = TypeVar("C", bound=Column)


def embedding_name(name: str) -> str:
    """Return the dataset of an embedding of `embed`."""
    return f"embed/{name}"


def codes_name(name: str) -> str:
    """Return the dataset of the codes of a codebook of `quantize`."""
    return f"quantize/{name}"


def logits_name(name: str) -> str:
    """Return the dataset of the logits of a model of `models`."""
    return f"logits/{name}"


def hidden_name(name: str) -> str:
    """Return the dataset of what the last layer of a model of `models` reads."""
    return f"hidden/{name}"


def vectors_name(name: str) -> str:
    """Return the dataset of vectors of a name: an embedding's, or `hidden/MODEL` as it is."""
    return name if is_hidden(name) else embedding_name(name)


def is_hidden(name: str) -> bool:
    """Return whether a name is `hidden/MODEL`."""
    return name.startswith(hidden_name(""))


def elements_name(name: str) -> str:
    """Return the dataset of elements of a name: what `crops` embeds, or `embed/STAGE` as it is."""
    return name if name.startswith(embedding_name("")) else f"crops/{name}"


class Input(NamedTuple):
    """One column that a classifier reads."""

    name: str  # of the dataset, "embed/image"
    kind: type[Column]


@dataclass(frozen=True)
class Block:
    """Some consecutive documents of a dataset: one shard, or a part of one."""

    ids: pa.Array  # (n,) string
    labels: pa.Array  # (n,) list<string>; empty where there is none
    columns: Mapping[str, Column] = field(default_factory=dict)  # dataset name -> column; iterated in sorted order

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def nbytes(self) -> int:
        """Bytes of memory that its columns take."""
        return sum(column.nbytes for column in (self.ids, self.labels, *self.columns.values()))

    @property
    def text(self) -> pa.Array:
        """Cleaned text (n,) string; "" or null where there is none, and everywhere when it is not read."""
        return self.column(TEXT, Text).values if TEXT in self.columns else pa.array([""] * len(self), pa.string())

    def column(self, name: str, kind: type[C]) -> C:
        """Return one column; raises ValueError naming what there is when it is absent or of another kind."""
        if isinstance(column := self.columns.get(name), kind):
            return column
        there = sorted(key for key, other in self.columns.items() if isinstance(other, kind))
        raise ValueError(f"{kind.kind}: expected {name!r}, got {there!r}; name one of these in the model's config")

    def at(self, rows: Rows) -> "Block":
        """Return the documents of a slice without a step, or those at `rows` (m,) in this order."""
        ids, labels = (
            column[rows] if isinstance(rows, slice) else column.take(pa.array(rows))
            for column in (self.ids, self.labels)
        )
        return Block(ids, labels, {k: c.at(rows) for k, c in sorted(self.columns.items())})

    def only(self, names: set[str]) -> "Block":
        """Return the documents with the named columns alone."""
        return Block(self.ids, self.labels, {k: c for k, c in sorted(self.columns.items()) if k in names})

    def masked(self, names: frozenset[str]) -> "Block":
        """Return the documents with nothing present in the named columns."""
        columns = {k: c.masked() if k in names else c for k, c in sorted(self.columns.items())}
        return Block(self.ids, self.labels, columns)

    def present(self, names: set[str]) -> NDArray[np.bool_]:
        """Return which documents (n,) have something in any of the named columns."""
        present = np.zeros(len(self), np.bool_)
        for name in names:
            present |= self.columns[name].present
        return present


class Features(Protocol):
    """A stream of blocks that can be read again and again."""

    n_rows: int

    def blocks(self) -> Iterator[Block]:
        """Yield every block once, always in the same order."""


class Shared(Protocol):
    """A value derived from features that several classifiers may read, none of which changes it."""

    @property
    def nbytes(self) -> int:
        """Bytes of memory that it takes."""

    def close(self) -> None:
        """Give back what it holds outside memory."""


T = TypeVar("T", bound=Shared)


@runtime_checkable
class SharedCache(Protocol):
    """Features that cache values derived from them for the next classifier."""

    def get_or_create(self, key: Hashable, make: Callable[[], T]) -> AbstractContextManager[T]:
        """Yield what `make` returned the first time for this key; `key` holds everything that determines it."""


class Classifier(Protocol):
    """Anything that can be fitted and asked for logits; a registry lists the classes themselves."""

    kind: ClassVar[str]  # its name in the registry
    summary: ClassVar[str]  # one line for `fuseline list`
    Config: ClassVar[type[FrozenConfig]]

    def __init__(self, config: FrozenConfig | None = None) -> None: ...

    @property
    def config(self) -> FrozenConfig:
        """Its options, of the type `Config`."""

    @property
    def labels(self) -> list[str]:
        """Class names; column c of the logits is labels[c]."""

    @property
    def multi_label(self) -> bool:
        """Whether a document may have several labels."""

    @property
    def link(self) -> str:
        """Name of what makes probabilities of its logits, in `LINKS` of models/classifier.py."""

    @property
    def threshold(self) -> float:
        """The probability from which a label belongs to the predicted set, tuned on valid."""

    @property
    def sizes(self) -> dict[str, Size]:
        """What it was fitted on, by input."""

    @classmethod
    def inputs(cls, config: Never) -> tuple[Input, ...]:
        """Return the columns that a classifier with this configuration reads."""

    def fit(self, train: Features, valid: Features | None, *, seed: int, scratch: Path | None = None) -> Self:
        """Fit on the rows of `train`; `valid` only tunes the threshold and early stopping.

        In the folder `scratch` a fit may keep what it goes on from when it was cut short.
        """

    def predict_logits(self, block: Block) -> NDArray[np.float32]:
        """Return logits (n, C)."""

    def probabilities(self, logits: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return probabilities (n, C) of logits under this classifier's loss."""

    def importance(self, block: Block, chosen: NDArray[np.int64]) -> dict[str, NDArray[np.float32]]:
        """Return modality -> (n,) share of the chosen class's logit; empty when the model cannot compute it."""

    def save(self, folder: Path) -> None:
        """Write model.json and *.safetensors into an existing empty folder."""

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote; refuses an unknown format version."""

    def describe(self) -> JsonObject:
        """Return parameters, bytes and training facts (epochs, loss per epoch, words/s) for the report."""


@runtime_checkable
class HasHidden(Protocol):
    """A classifier whose last layer is a linear map of features that it has learnt."""

    def hidden(self, block: Block) -> NDArray[np.float32]:
        """Return these features (n, H)."""


def inputs_of(classifier: type[Classifier], config: FrozenConfig) -> tuple[Input, ...]:
    """Return the columns that a classifier reads with a configuration of its own `Config`."""
    return classifier.inputs(cast(Never, config))


def reads_text(inputs: tuple[Input, ...]) -> bool:
    """Return whether any of these inputs is text."""
    return any(issubclass(one.kind, Text) for one in inputs)


def width(sizes: Mapping[str, Size], kind: type[Column]) -> int:
    """Return how many numbers, or codes, all columns of a kind hold per document."""
    return sum(size.width for size in sizes.values() if size.kind == kind.kind)
