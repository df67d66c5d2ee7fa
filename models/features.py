"""What a classifier reads: blocks of documents, streamed in a fixed order."""

from collections.abc import Callable, Hashable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol, Self, TypeVar, runtime_checkable

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from fuseline.models.config import FrozenConfig

Number = TypeVar("Number", bound=np.generic)
CODEWORDS = 256  # of a codebook at most: as many as a uint8 can name


@dataclass(frozen=True)
class Block:
    """Some consecutive documents of a dataset: one shard, or a part of one.

    Modality keys are iterated in sorted order everywhere.
    """

    ids: pa.Array  # (n,) string
    text: pa.Array  # (n,) string, cleaned; "" where there is none
    labels: pa.Array  # (n,) list<string>; empty where there is none
    dense: dict[str, NDArray[np.float32]]  # embedding name -> (n, dim) float32; zeros where absent
    codes: dict[str, NDArray[np.uint8]]  # codebook name -> (n, M) uint8; meaningless where absent
    present: dict[str, NDArray[np.bool_]]  # key of dense or codes -> (n,)
    # Single values that present rows lack, where there are any: key of dense -> (n, dim); they are zeros in `dense`.
    missing: dict[str, NDArray[np.bool_]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def nbytes(self) -> int:
        """Bytes of memory that its columns take."""
        arrays = [*self.dense.values(), *self.codes.values(), *self.present.values(), *self.missing.values()]
        return sum(column.nbytes for column in (self.ids, self.text, self.labels, *arrays))

    def at(self, rows: slice | NDArray[np.int64]) -> "Block":
        """Return the documents of a slice without a step, or those at `rows` (m,) in this order."""
        ids, text, labels = (
            column[rows] if isinstance(rows, slice) else column.take(pa.array(rows))
            for column in (self.ids, self.text, self.labels)
        )
        parts = (_at(self.dense, rows), _at(self.codes, rows), _at(self.present, rows), _at(self.missing, rows))
        return Block(ids, text, labels, *parts)


def _at(parts: dict[str, NDArray[Number]], rows: slice | NDArray[np.int64]) -> dict[str, NDArray[Number]]:
    return {key: parts[key][rows] for key in sorted(parts)}


class Features(Protocol):
    """A stream of blocks that can be read again and again."""

    n_rows: int

    def blocks(self) -> Iterator[Block]:
        """Yield every block once, always in the same order."""


class Shared(Protocol):
    """Something made from features that several classifiers may read, none of which changes it."""

    @property
    def nbytes(self) -> int:
        """Bytes of memory that it takes."""

    def close(self) -> None:
        """Give back what it holds outside memory."""


T = TypeVar("T", bound=Shared)


@runtime_checkable
class Lender(Protocol):
    """Features that keep what was made from them for the next classifier."""

    def lend(self, key: Hashable, make: Callable[[], T]) -> AbstractContextManager[T]:
        """Yield what `make` returned the first time for this key; `key` says everything that decides it."""


@dataclass(frozen=True)
class Inputs:
    """What a classifier was trained on, saved in its checkpoint and compared before it predicts."""

    dense: dict[str, int]  # embedding name -> dim
    codes: dict[str, tuple[int, int]]  # codebook name -> (M tokens, Ks codewords)
    text: bool


class Classifier(Protocol):
    """Anything that can be fitted and asked for logits."""

    config: FrozenConfig
    labels: list[str]  # class names; column c of the logits is labels[c]
    multi_label: bool
    threshold: float  # probability from which a label belongs to the predicted set, tuned on valid
    uses_text: ClassVar[bool]

    def fit(self, train: Features, valid: Features | None, *, seed: int) -> Self:
        """Fit on the rows of `train`; `valid` only tunes the threshold and early stopping."""

    def predict_logits(self, block: Block) -> NDArray[np.float32]:
        """Return logits (n, C)."""

    def probabilities(self, logits: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return probabilities (n, C) of logits under this classifier's loss."""

    def importance(self, block: Block, chosen: NDArray[np.int64]) -> dict[str, NDArray[np.float32]]:
        """Return modality -> (n,) share of the chosen class's logit; empty when the model cannot tell."""

    def save(self, folder: Path) -> None:
        """Write model.json and *.safetensors into an existing empty folder."""

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote; refuses an unknown format version."""

    def describe(self) -> dict[str, Any]:
        """Return parameters, bytes and training facts (epochs, loss per epoch, words/s) for the report."""
