"""Estimates of one number of a document, such as its cost, by a network over frozen vectors (Miller et al. 2020)."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, cast

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from fuseline.models.checkpoint import checked_number, load_checkpoint, restoring, save_checkpoint
from fuseline.models.columns import Dense, Size
from fuseline.models.config import Names, key_values
from fuseline.models.encoders.known_numbers import Moments, taking
from fuseline.models.features import Block, Features, Input, vectors_name
from fuseline.models.panel import branch_name, check_branches
from fuseline.models.running import run_rows, saved_state, without_memory
from fuseline.models.training import Gather, Trainer, TrainingConfig
from fuseline.plain import JsonObject

if TYPE_CHECKING:
    import torch

    from fuseline.models.training.tasks import Objective, Result, Truth

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
Transform = Literal["none", "log"]
_OTHERS = ("loss", "positive_weight", "class_weights", "bias", "select", "patience")  # of classes


class RegressorConfig(TrainingConfig):
    """What is read, by which layers the number is estimated, and how these are trained."""

    vectors: Names = Field(
        ("image", "text"), min_length=1, description="Embeddings in `embed`, or hidden/MODEL: what a network has learnt"
    )
    transform: Transform = Field("none", description="log: log(1 + y) is learnt, of numbers from 0 on")
    error: Literal["mse", "huber"] = Field("mse", description="Loss: squared errors, or Huber's, linear beyond `delta`")
    delta: float = Field(1.0, gt=0, description="Deviations of the training numbers at which Huber's loss bends")
    dim: int = Field(256, ge=1, le=65536, description="Hidden units")
    dropout: float = Field(0.2, ge=0, lt=1, description="Share of what a layer reads that is set to 0 while training")
    layers: int = Field(2, ge=1, le=9, description="Fully connected layers; 1 is a linear map without hidden units")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        for name in _OTHERS:
            default, got = TrainingConfig.model_fields[name].default, getattr(self, name)
            if got != default:
                raise ValueError(f"{name}: expected {default!r} for a number, got {got!r}; leave it out")
        check_branches(self.vectors, "vectors: ")
        return self


def encoded(values: F64, transform: Transform) -> F64:
    """Return numbers (n,) as they are learnt."""
    return np.log1p(values) if transform == "log" else values


def decoded(values: F64, transform: Transform) -> F64:
    """Return numbers (n,) of what was learnt; what is a logarithm is 0 at least."""
    return np.maximum(np.expm1(np.minimum(values, 700.0)), 0.0) if transform == "log" else values


class ValueTask:
    """The task of estimating a number: documents that have it and any input, at mean 0 and deviation 1."""

    outputs = 1

    def __init__(self, config: RegressorConfig, target: str, names: set[str], moments: Moments) -> None:
        """Learn a column `target` from the columns `names`; `moments` are those of the numbers."""
        self.config, self.target, self.names = config, target, names
        self.center, self.scale = (float(one[0]) for one in moments.scales("standard"))
        self.documents = int(moments.n[0])

    def blocks(self, train: Features) -> Iterator[Block]:
        """Yield the documents that are learnt from."""
        return known(train, self.target, self.names)

    def truth(self, block: Block) -> "Truth":
        """Return what makes the numbers (m, 1)."""
        z = (encoded(numbers(block, self.target), self.config.transform) - self.center) / self.scale
        return z.astype(np.float32)[:, None].__getitem__

    def objective(self, device: "torch.device") -> "Objective":
        """Return the mean loss."""
        from torch.nn import functional

        config = self.config

        def mean(result: "Result", truth: "torch.Tensor") -> "torch.Tensor":
            estimate = cast("torch.Tensor", result).float()
            if config.error == "huber":
                return functional.huber_loss(estimate, truth, delta=config.delta)
            return functional.mse_loss(estimate, truth)

        return mean

    def start(self) -> F64:
        """Return what the output starts from: the mean."""
        return np.zeros(1)


def known(features: Features, target: str, names: set[str]) -> Iterator[Block]:
    """Yield the documents that have a number `target` and any of the columns `names`."""
    for block in features.blocks():
        rows = np.flatnonzero(block.columns[target].present & block.present(names))
        if len(rows):
            yield block if len(rows) == len(block) else block.at(rows)


def numbers(block: Block, target: str) -> F64:
    """Return a column of numbers (n,)."""
    return block.column(target, Dense).values[:, 0].astype(np.float64)


class Regressor:
    """Estimates of a number from vectors, each number of which is at mean 0 and deviation 1; missing ones are 0.

    Attributes:
        config: inputs, layers and training.
        sizes: kind and width of each input, by dataset name.
        center, scale: mean and deviation of the training numbers, as they are learnt.
        facts: of the fit: epochs, loss of every epoch, documents.
    """

    kind: ClassVar[str] = "regressor"
    bias: ClassVar[str] = ""
    network: "torch.nn.Module"

    def __init__(self, config: RegressorConfig) -> None:
        self.config, self.sizes, self.facts = config, dict[str, Size](), dict[str, Any]()
        self.center, self.scale = 0.0, 1.0
        self.scales: dict[str, tuple[F32, F32]] = {}

    def fit(self, train: Features, target: str, *, seed: int, scratch: Path | None = None) -> Self:
        """Learn a column of numbers from the documents that have it and any input.

        Raises ValueError when there are none.
        """
        names, values = set(self._names()), Moments(1)
        moments: dict[str, Moments] = {}
        for block in known(train, target, names):
            self.sizes = {name: block.columns[name].size for name in self._names()}
            y = encoded(numbers(block, target), self.config.transform).astype(np.float32)[:, None]
            values.add(y, np.ones(y.shape, np.bool_))
            for name, size in self.sizes.items():
                X, has = taking(block.columns[name])(np.arange(len(block)))
                moments.setdefault(name, Moments(size.width)).add(X, np.broadcast_to(has, X.shape))
        if not values.n[0]:
            cure = "name a column that train has, and inputs of the same documents"
            raise ValueError(f"{target}: expected training documents with a number and an input, got none; {cure}")
        self.scales = {name: one.scales("standard") for name, one in moments.items()}
        task = ValueTask(self.config, target, names, values)
        self.center, self.scale = task.center, task.scale
        self.network, self.facts = Trainer(self.config, seed, scratch).fit(self, train, task)
        return self

    def estimate(self, block: Block) -> F64:
        """Return the estimates (n,); of a document without any input that of training means."""
        z = run_rows(self.network, self.network, self.gather(block), len(block), 1, config=self.config, name=self.kind)
        return decoded(z[:, 0].astype(np.float64) * self.scale + self.center, self.config.transform)

    @property
    def origin(self) -> float:
        """What is estimated where nothing is known: the mean of the training numbers as they are learnt."""
        return float(decoded(np.array([self.center]), self.config.transform)[0])

    def present(self, block: Block) -> NDArray[np.bool_]:
        """Return which documents (n,) have any of the inputs."""
        return block.present(set(self._names()))

    def module(self, sizes: dict[str, Size], C: int) -> "torch.nn.Module":
        """Return the untrained network over batches of scaled vectors."""
        from fuseline.models.layers import Concat, Panel, Same

        branches = {branch_name(Input(name, Dense)): size.width for name, size in sorted(sizes.items())}
        body = Concat([branches[name] for name in sorted(branches)], self.config.dim, self.config.layers - 1,
                      dropout=self.config.dropout)  # fmt: skip
        return Panel({name: Same(width) for name, width in branches.items()}, body, C, dropout=self.config.dropout)

    def gather(self, block: Block) -> Gather:
        """Return what makes the arrays of a batch; raises ValueError for a column of another size than in training."""
        takes = {}
        for name in self._names():
            column = block.columns[name]
            if column.size != self.sizes[name]:
                cure = "estimate with what was trained with"
                raise ValueError(f"{name}: expected {self.sizes[name]!r}, got {column.size!r}; {cure}")
            X, has = taking(column)(np.arange(len(block)))
            center, scale = self.scales[name]
            takes[branch_name(Input(name, Dense))] = np.where(has, (X - center) / scale, np.float32(0))
        return lambda rows: {name: X[rows] for name, X in takes.items()}

    def save(self, folder: Path) -> None:
        """Write a checkpoint into an existing folder."""
        meta: JsonObject = {
            "config": key_values(self.config), "sizes": {name: list(size) for name, size in self.sizes.items()},
            "center": self.center, "scale": self.scale, "facts": self.facts,
        }  # fmt: skip
        arrays = {name: tensor.numpy() for name, tensor in self.network.state_dict().items()}
        for name, pair in self.scales.items():
            arrays |= dict(zip((f"center.{name}", f"scale.{name}"), pair, strict=True))
        save_checkpoint(folder, self.kind, meta=meta, arrays=arrays)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote; raises CheckpointError."""
        saved = load_checkpoint(folder, cls.kind)
        with restoring(cls.kind, "config, sizes, scales and weights"):
            one = cls(RegressorConfig.model_validate({**cast("dict[str, Any]", saved.meta["config"])}))
            one.sizes = {name: Size(*size) for name, size in cast("dict[str, Any]", saved.meta["sizes"]).items()}
            if set(one.sizes) != set(one._names()):
                raise ValueError(f"sizes of {sorted(one._names())}, got {sorted(one.sizes)}")
            one.center = checked_number("center", saved.meta["center"], low=-math.inf)
            one.scale = checked_number("scale", saved.meta["scale"])
            one.facts = cast("dict[str, Any]", saved.meta["facts"])
            for name, size in one.sizes.items():
                pair = (saved.array(f"{what}.{name}", np.float32, size.width) for what in ("center", "scale"))
                one.scales[name] = cast("tuple[F32, F32]", tuple(pair))
            network = without_memory(lambda: one.module(one.sizes, 1))
            network.load_state_dict(saved_state(saved, network), assign=True)
            one.network = network.eval()
        return one

    def _names(self) -> list[str]:
        return [vectors_name(name) for name in self.config.vectors]
