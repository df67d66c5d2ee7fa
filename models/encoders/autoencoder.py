"""Autoencoders: what several inputs of a document have in common, as a short code learnt without labels (paper P)."""

from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, cast

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from fuseline.models.checkpoint import load_checkpoint, restoring, save_checkpoint
from fuseline.models.columns import Column, Dense, Pixels, Size
from fuseline.models.config import Names, key_values, runtime_option
from fuseline.models.encoders.known_numbers import Moments, taking
from fuseline.models.features import Block, Features, Input, vectors_name
from fuseline.models.panel import branch_name, check_branches
from fuseline.models.running import run_rows, saved_state, without_memory
from fuseline.models.training import Gather, Trainer, TrainingConfig
from fuseline.plain import JsonObject

if TYPE_CHECKING:
    import torch

    from fuseline.models.encoders.autoencoder_layers import Autoencoders
    from fuseline.models.training.tasks import Objective, Truth

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
_OTHERS = ("loss", "positive_weight", "class_weights", "bias", "select", "patience", "modality_dropout")
_PICTURES = 64  # that are averaged at a time


class AutoencoderConfig(TrainingConfig):
    """What is encoded, by which layers, and how these are trained: 512-64-64-512, RMSprop, batches of 32 (P-04)."""

    inputs: Names = Field(
        ("image",),
        min_length=1,
        description="Embeddings, or stages that make pixels: one is a plain autoencoder, of several each is decoded "
        "from the codes of all",
    )
    code: int = Field(64, ge=1, le=65536, description="Numbers of the code of each input (k in the paper)")
    hidden: int = Field(512, ge=1, le=65536, description="Units of the first and the last hidden layer")
    inner: int = Field(64, ge=1, le=65536, description="Units of the hidden layers beside the code")
    layout: Literal["inner", "between"] = Field(
        "inner",
        description="Of the paper's 512-64-64-512 the code is the first 64 (inner), or stands between both (between)",
    )
    weights: tuple[float, ...] = Field(
        (), description="Weight of each input's error, in the order of `inputs`; default: all 1"
    )
    scaling: Literal["standard", "range"] = Field(
        "standard", description="Numbers are divided by their deviation, or their range, in training documents"
    )
    pooled: int = Field(32, ge=1, le=1024, description="Pixels of height and width that pictures are averaged to")
    lr: float = Field(0.001, gt=0, description="Learning rate")
    epochs: int = Field(20, ge=1, description="Passes over the training rows")
    batch: int = Field(32, ge=1, description="Documents per step")
    optimizer: str = Field("rmsprop", description="One of torch.optim, as for networks")
    max_weights: int = runtime_option(
        100_000_000, ge=1, description="Weights that the layers may have; more are refused before any work"
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.weights and len(self.weights) != len(self.inputs):
            got = f"{len(self.weights)} numbers"
            raise ValueError(
                f"weights: expected one for each of {list(self.inputs)}, got {got}; give {len(self.inputs)}"
            )
        if any(weight < 0 for weight in self.weights) or (self.weights and not any(self.weights)):
            raise ValueError(f"weights: expected numbers from 0, not all 0, got {list(self.weights)}; correct them")
        for name in _OTHERS:
            default = TrainingConfig.model_fields[name].default
            if getattr(self, name) != default:
                got = getattr(self, name)
                raise ValueError(f"{name}: expected {default!r} without labels, got {got!r}; leave it out")
        check_branches(self.inputs, "inputs: ")
        return self


class Reconstruction:
    """The task of an autoencoder: documents that have any of the inputs, and no truth beside these."""

    outputs = 0

    def __init__(self, names: set[str], documents: int) -> None:
        """Learn from `documents` documents that have any of the columns `names`."""
        self.names, self.documents = names, documents

    def blocks(self, train: Features) -> Iterator[Block]:
        """Yield the documents that have something to encode."""
        for block in train.blocks():
            rows = np.flatnonzero(block.present(self.names))
            if len(rows):
                yield block if len(rows) == len(block) else block.at(rows)

    def truth(self, block: Block) -> "Truth":
        """Return nothing: (m, 0)."""
        return lambda places: np.zeros((len(places), 0), np.float32)

    def objective(self, device: "torch.device") -> "Objective":
        """Return the mean of the documents' errors."""
        return lambda result, truth: cast("torch.Tensor", result).float().mean()

    def start(self) -> NDArray[np.float64]:
        """Return nothing: no output has a frequency."""
        return np.zeros(0)


class Autoencoder:
    """Codes of documents, and how well their inputs are decoded from these.

    Attributes:
        config: inputs, layers and training.
        sizes: kind and width of each input, by dataset name.
        facts: of the fit: epochs, loss of every epoch, documents.
    """

    kind: ClassVar[str] = "autoencoder"
    bias: ClassVar[str] = ""
    network: "Autoencoders"

    def __init__(self, config: AutoencoderConfig, sizes: dict[str, Size] | None = None) -> None:
        self.config, self.sizes, self.facts = config, sizes or {}, dict[str, Any]()
        self._scales: dict[str, tuple[F32, F32]] = {}  # of a fit; a loaded network has them in its buffers

    @property
    def width(self) -> int:
        """Numbers of a document's code."""
        return self.config.code * len(self.config.inputs)

    def fit(self, train: Features, *, seed: int, scratch: Path | None = None) -> Self:
        """Fit scales and layers on the documents of `train` that have any input; labels are not looked at.

        Raises ValueError when no document has an input, or the layers would have more than `max_weights` weights.
        """
        self.measure(train)
        documents = sum(int(block.present(set(self.sizes)).sum()) for block in train.blocks())
        if not documents:
            raise ValueError(f"inputs: expected training documents with any of {self._names()}, got none; name others")
        task = Reconstruction(set(self.sizes), documents)
        module, self.facts = Trainer(self.config, seed, scratch).fit(self, train, task)
        self.network = cast("Autoencoders", module)
        return self

    def measure(self, train: Features) -> None:
        """Take sizes and scales of the inputs from training documents; raises ValueError for layers too large."""
        first = next(train.blocks())
        self.sizes = {name: first.columns[name].size for name in self._names()}
        self._check_size()
        self._scales = self._scales_of(train)

    def codes(self, block: Block) -> F32:
        """Return the codes (n, width) of documents; that of an input which is missing is zeros."""
        return self._run(block, self.network.codes, self.width)

    def errors(self, block: Block) -> dict[str, tuple[F32, F32]]:
        """Return, by input, mean squared errors (n,) of what is decoded, and of the training mean in its place.

        Numbers are scaled as in training; a document that lacks an input has 0 in both.
        """
        import torch

        def both(batch: "dict[str, torch.Tensor]") -> "torch.Tensor":
            numbers = self.network.numbers(batch)
            parts = [self.network.errors(numbers, self.network.encoded(numbers)), self.network.spreads(numbers)]
            return torch.stack([part[name] for part in parts for name in self.network.names], dim=1)

        names = {branch_name(Input(name, Dense)): name for name in self._names()}
        found, m = self._run(block, both, 2 * len(names)), len(names)
        return {names[one]: (found[:, at], found[:, m + at]) for at, one in enumerate(self.network.names)}

    def error_sums(self, block: Block) -> dict[str, F64]:
        """Return, by input, sums (3,) that add over blocks: documents that have it, and their two `errors`."""
        found = {}
        for name, parts in self.errors(block).items():
            has = block.columns[name].present
            found[name] = np.array([has.sum(), *(one[has].sum(dtype=np.float64) for one in parts)])
        return found

    def present(self, block: Block) -> NDArray[np.bool_]:
        """Return which documents (n,) have any of the inputs."""
        return block.present(set(self._names()))

    def module(self, sizes: dict[str, Size], C: int) -> "torch.nn.Module":
        """Return the untrained layers, with the scales of the training documents in them."""
        import torch

        from fuseline.models.encoders.autoencoder_layers import Autoencoders

        config = self.config
        branches = {branch_name(Input(name, Dense)): name for name in sizes}
        weights = dict(zip(self._names(), config.weights or (1.0,) * len(sizes), strict=True))
        network = Autoencoders(
            {branch: self._numbers(sizes[name]) for branch, name in branches.items()},
            hidden=config.hidden, inner=config.inner, code=config.code, layout=config.layout, pooled=config.pooled,
            weights={branch: weights[name] for branch, name in branches.items()},
        )  # fmt: skip
        for branch, name in branches.items():
            for what, values in zip(("center", "scale"), self._scales.get(name, ()), strict=False):
                network.get_buffer(f"{what}_{branch}").copy_(torch.from_numpy(values))
        return network

    def gather(self, block: Block) -> Gather:
        """Return what makes the arrays of a batch: each input, and which numbers of it are known."""
        takes = [(branch_name(Input(name, Dense)), taking(block.columns[name])) for name in self._names()]
        return lambda rows: {
            key: array
            for branch, take in takes
            for key, array in zip((branch, f"{branch}_known"), take(rows), strict=True)
        }

    def save(self, folder: Path) -> None:
        """Write a checkpoint into an existing folder."""
        meta: JsonObject = {
            "config": key_values(self.config),
            "sizes": {name: list(size) for name, size in self.sizes.items()},
            "facts": self.facts,
        }
        arrays = {name: tensor.numpy() for name, tensor in self.network.state_dict().items()}
        save_checkpoint(folder, self.kind, meta=meta, arrays=cast("dict[str, NDArray[np.generic]]", arrays))

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote; raises CheckpointError."""
        saved = load_checkpoint(folder, cls.kind)
        with restoring(cls.kind, "config, sizes and weights"):
            config = AutoencoderConfig.model_validate({**cast("dict[str, Any]", saved.meta["config"])})
            sizes = {name: Size(*size) for name, size in cast("dict[str, Any]", saved.meta["sizes"]).items()}
            one = cls(config, sizes)
            if set(sizes) != set(one._names()):
                raise ValueError(f"sizes of {sorted(one._names())}, got {sorted(sizes)}")
            one.facts = cast("dict[str, Any]", saved.meta["facts"])
            network = without_memory(lambda: one.module(sizes, 0))
            network.load_state_dict(saved_state(saved, network), assign=True)
            one.network = cast("Autoencoders", network.eval())
        return one

    def _names(self) -> list[str]:
        return [vectors_name(name) for name in self.config.inputs]

    def _numbers(self, size: Size) -> int:
        return 3 * self.config.pooled**2 if size.kind == Pixels.kind else size.width

    def _check_size(self) -> None:
        """Raise ValueError when the layers are too large for memory."""
        config, m = self.config, len(self.sizes)
        between = config.inner if config.layout == "between" else 0
        total = 0
        for size in self.sizes.values():
            D = self._numbers(size)
            ahead = [D, config.hidden, *([between] if between else []), config.code]
            back = [config.code * m, config.inner, config.hidden, D]
            total += sum(a * b + b for sizes in (ahead, back) for a, b in pairwise(sizes))
        if total > config.max_weights:
            cure = "lower `pooled` or `hidden`, or raise `max_weights`"
            raise ValueError(
                f"inputs: expected layers of at most {config.max_weights:,} weights, got {total:,}; {cure}"
            )

    def _scales_of(self, train: Features) -> dict[str, tuple[F32, F32]]:
        """Return the centre and the scale (D,) of each input's numbers; 1 where they do not differ."""
        moments = {name: Moments(self._numbers(size)) for name, size in self.sizes.items()}
        for block in train.blocks():
            for name, kept in moments.items():
                for X, known in self._parts(block.columns[name]):
                    kept.add(X, known)
        pixels = {name for name, size in self.sizes.items() if size.kind == Pixels.kind}
        return {name: kept.scales("none" if name in pixels else self.config.scaling) for name, kept in moments.items()}

    def _parts(self, column: Column) -> Iterator[tuple[F32, NDArray[np.bool_]]]:
        """Yield numbers (m, D) of some documents, and which are known."""
        take, n = taking(column), len(column)
        step = _PICTURES if isinstance(column, Pixels) else max(n, 1)
        for lo in range(0, n, step):
            X, known = take(np.arange(lo, min(lo + step, n)))
            if isinstance(column, Pixels):
                import torch

                from fuseline.models.encoders.autoencoder_layers import pooled

                X = pooled(torch.from_numpy(X), self.config.pooled).numpy()
            yield X, np.broadcast_to(known, X.shape)

    def _run(self, block: Block, function: "Callable[[dict[str, torch.Tensor]], torch.Tensor]", width: int) -> F32:
        return run_rows(
            self.network, function, self.gather(block), len(block), width, config=self.config, name=self.kind
        )
