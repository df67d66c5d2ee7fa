"""What networks of one branch per input share: the arrays of a batch, and options that valid documents choose."""

from collections import abc
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, cast

import numpy as np
from numpy.typing import NDArray

from fuseline.models.automatic import Chosen
from fuseline.models.columns import Column, Dense, Pixels, Sequence, Size
from fuseline.models.config import FrozenConfig
from fuseline.models.dense import unit_rows, usable
from fuseline.models.features import Block, Features, Input, embedding_name, vectors_name
from fuseline.models.network import NetworkClassifier, NetworkConfig
from fuseline.models.running import without_memory
from fuseline.models.stopping import choose_by_stopping
from fuseline.models.training import Gather

if TYPE_CHECKING:
    import torch

    from fuseline.models.layers import Panel

F32 = NDArray[np.float32]
Take = Callable[[NDArray[np.int64]], NDArray[Any]]


class PanelClassifier(NetworkClassifier):
    """A network with one branch per input (`Panel`); a family gives its branches and its body.

    Vectors are taken at unit length, zeros where they are missing; texts as token ids; pictures as their pixels, read
    batch by batch.
    """

    Config: ClassVar[type[FrozenConfig]] = NetworkConfig
    bias: ClassVar[str] = "last.bias"

    def blank(self, sizes: dict[str, Size], C: int) -> "torch.nn.Module":
        """Return a network without memory for its weights, so that sizes cost nothing before they are checked."""
        return without_memory(lambda: self.module(sizes, C))

    def hidden(self, block: Block) -> F32:
        """Return what the last layer reads of each document (n, H): features that the network has learnt."""
        network = cast("Panel", self.network)
        return self._run(block, network.hidden, network.width)

    def gather(self, block: Block) -> Gather:
        takes = {branch_name(one): self._take_of(one, block.column(*one)) for one in self._inputs()}
        return lambda rows: {name: take(rows) for name, take in takes.items()}

    def _inputs(self) -> tuple[Input, ...]:
        return type(self).inputs(self.config)  # type: ignore[arg-type]

    def _take_of(self, one: Input, column: Column) -> Take:
        """Return what makes the array of an input of the places (m,) of documents.

        Raises ValueError for a column of another size than that trained with.
        """
        wanted = self.sizes[one.name]
        if column.size != wanted:
            cure = "predict with what the model was trained with"
            raise ValueError(f"{one.name}: expected {wanted!r}, got {column.size!r}; {cure}")
        if isinstance(column, Dense):
            return vectors_of(column)
        if isinstance(column, Sequence):
            return ids_of(column)
        if isinstance(column, Pixels):
            return pictures_of(column)
        raise ValueError(
            f"{one.name}: expected vectors, pictures or a sequence, got {column.kind!r}; name another input"
        )

    def _choice(self, train: Features, valid: Features | None) -> Chosen:
        return choose_by_stopping(type(self), self.config, train, valid)


def branch_name(one: Input) -> str:
    """Return what an input is called among the branches: its short name, dots as in no module's name."""
    return one.name.removeprefix(embedding_name("")).replace(".", "_")


def check_branches(names: abc.Sequence[str], option: str = "") -> None:
    """Raise ValueError when two of the inputs that options name would be branches of one name.

    option: which is told with the error, as "texts: "; "" where pydantic tells it.
    """
    if len({branch_name(Input(vectors_name(name), Dense)) for name in names}) < len(names):
        got = list(names)
        raise ValueError(f"{option}expected names that differ in more than '.' and '_', got {got!r}; rename one")


def vectors_of(column: Dense) -> Take:
    """Return what takes vectors (m, D) of unit length, zeros where they are missing or not finite."""
    X = np.array(column.values, np.float32)
    X[~usable(X, column.present, unit=False)] = 0
    return unit_rows(X).__getitem__


def ids_of(column: Sequence) -> Take:
    """Return what takes token ids (m, L), as many as the longest of the m documents has, -1 behind the end."""
    return lambda rows: column.at(rows).padded()


def pictures_of(column: Pixels) -> Take:
    """Return what takes pictures (m, h, w, 3) uint8, black where they are missing."""

    def take(rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        pictures = column.take(rows)
        pictures[~column.present[rows]] = 0
        return pictures

    return take
