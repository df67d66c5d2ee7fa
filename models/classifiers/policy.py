"""A policy that learns when another model than the first should decide (Zahavy 2016, section 3.2; Z-12 to Z-15)."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field

from fuseline.models.checkpoint import Checkpoint, checked_number
from fuseline.models.classifier import embedding, sigmoid
from fuseline.models.classifiers.decision import TINY, BasesConfig, Choice, Mask, picked, probabilities
from fuseline.models.classifiers.stacked import Stacked, right
from fuseline.models.columns import Dense, Size
from fuseline.models.config import FrozenConfig
from fuseline.models.dense import unit_rows
from fuseline.models.fasttext.matmul import product
from fuseline.models.features import Block, Features, Input, vectors_name
from fuseline.models.labels import Classes, label_pairs, labelled
from fuseline.models.scoring import single
from fuseline.models.training import Gather, Trainer, TrainingConfig
from fuseline.models.training.tasks import LabelTask
from fuseline.plain import JsonObject

if TYPE_CHECKING:
    import torch

F32 = NDArray[np.float32]
TOP = {"cp1": 1, "cp3": 3}  # probabilities of each model that are looked at, highest first
NEVER = 1.0  # no probability lies above it


class PolicyConfig(TrainingConfig, BasesConfig):
    """What a policy looks at, its network and its training; the defaults are the paper's best row."""

    inputs: Literal["cp1", "cp3", "cp_all", "text", "image", "both"] = Field(
        "cp3",
        description="cp1, cp3: highest class probabilities of each model; cp_all: all; text, image, both: embeddings",
    )
    of: Literal["all", "first"] = Field(
        "all",
        description="Whose probabilities; first: of the first model alone, so that the others need not be asked",
    )
    entropy: bool = Field(False, description="Look at the entropy of each model's probabilities, 0..1")
    margin: bool = Field(False, description="Look at how far each model's best class is above its second")
    image: str = Field("image", description="Vectors for image and both: an embedding, or hidden/MODEL")
    text_embedding: str = Field("text", description="Vectors for text and both, likewise")
    layers: Literal[1, 2] = Field(2, description="Layers of the network")
    hidden: int = Field(10, ge=1, le=4096, description="Hidden units of two layers")
    dropout: float = Field(0.0, ge=0, lt=1, description="Share of what enters the last layer that training sets to 0")
    positive_weight: float = Field(
        5.0, gt=0, description="q: weight of documents on which another model should decide against the rest"
    )
    above: float | None = Field(
        None, ge=0, le=1,
        description="Probability above which another model decides; default: what is best on the tuning half of valid",
    )  # fmt: skip
    lr: float = Field(0.01, gt=0, description="Learning rate")
    batch: int = Field(256, ge=1, description="Documents per step")
    epochs: int = Field(10, ge=1, description="Passes over the documents that it learns from")
    steps: int = Field(1000, ge=1, description="Steps at least: of few documents there are more passes than `epochs`")
    loss: Literal["sigmoid"] = Field("sigmoid", description="Weighted sigmoid, the paper's")
    class_weights: Literal["none"] = Field("none", description="None: `positive_weight` weighs")
    bias: Literal["zero"] = Field("zero", description="Where the logits start from")
    select: Literal["p_at_1"] | None = Field(
        "p_at_1", description="Metric on the tuning half whose best epoch is kept; null: the last epoch is"
    )


class Policy(Stacked):
    """Scores of the model that a small network chooses for each document; the first is the default.

    The network has one output for every other model, trained by the weighted sigmoid loss towards 1 where that model
    is right and all before it are wrong: of several that are right, the one that stands first in `models` is to
    decide. The other model with the highest output decides where its probability lies above `above`, else the first.
    A model without input in a document is never chosen; documents that fewer than two can read teach nothing.
    """

    kind: ClassVar[str] = "policy"
    summary: ClassVar[str] = "a network that chooses which of other models decides (Zahavy 2016)"
    Config: ClassVar[type[FrozenConfig]] = PolicyConfig
    bias: ClassVar[str] = ""
    config: PolicyConfig
    weights: dict[str, F32]  # out.weight (K, H or D), out.bias (K,), hidden.weight (H, D), hidden.bias (H,)
    above: float

    @classmethod
    def inputs(cls, config: BasesConfig) -> tuple[Input, ...]:
        """Return the logits of every model, and the embeddings that are looked at."""
        names = vectors(config) if isinstance(config, PolicyConfig) else ()
        return (*super().inputs(config), *(Input(vectors_name(name), Dense) for name in names))

    def choose(self, block: Block) -> Choice:
        """Return which model decides."""
        return self._decided(self.wishes(block), self.asked(block))

    def wishes(self, block: Block) -> F32:
        """Return the probability that each model but the first should decide (n, m - 1)."""
        return self._wishes(self._numbers(block))

    def _wishes(self, x: F32) -> F32:
        if "hidden.weight" in self.weights:
            x = np.maximum(product(x, self.weights["hidden.weight"]) + self.weights["hidden.bias"], 0)
        return sigmoid(product(x, self.weights["out.weight"]) + self.weights["out.bias"])

    def _combined(self, block: Block, scores: F32, asked: Mask) -> F32:
        return picked(scores, self._decided(self.wishes(block), asked).chosen)

    def _decided(self, wishes: F32, asked: Mask) -> Choice:
        other, wish = ranked(wishes, asked)
        return Choice(np.where(wish > self.above, other, 0), wish)

    # What the trainer asks of a family: the network, and the arrays of a batch.
    def module(self, sizes: dict[str, Size], C: int) -> "torch.nn.Module":
        """Return the untrained network, with an output for every model but the first."""
        from fuseline.models.policy_layers import PolicyNet

        config = self.config
        return PolicyNet(
            self._width(), len(config.models) - 1, layers=config.layers, hidden=config.hidden,
            dropout=config.dropout,
        )  # fmt: skip

    def gather(self, block: Block) -> Gather:
        """Return what makes the arrays of a batch."""
        x = self._numbers(block)
        return lambda rows: {"x": x[rows]}

    def _learn(self, train: Features, valid: Features, *, seed: int, scratch: Path | None) -> None:
        choices, others = Choices(self, train), list(self.config.models[1:])
        counts = choices.counts()
        if not counts.sum():
            cure = "combine models that read the same documents"
            raise ValueError(f"valid: expected labelled documents that two models can read, got none; {cure}")
        # The first model has no class: where it should decide, all outputs are to be 0.
        numbers = {name: at for at, name in enumerate(others)}
        classes = Classes(others, numbers, np.maximum(1, counts[1:]), 1, int(counts.sum()))
        tuning = [
            (self._numbers(block), self.asked(block), right(self.columns(block), block.labels))
            for block in labelled(valid)
        ]
        passes = -(-self.config.steps // -(-int(counts.sum()) // self.config.batch))
        config = self.config.model_copy(update={"epochs": max(self.config.epochs, passes)})

        def evaluate(module: "torch.nn.Module") -> dict[str, float]:
            self._take(module)
            return {"p_at_1": self._tune(tuning)}

        task = LabelTask(config, classes, multi_label=self.multi_label)
        module, facts = Trainer(config, seed, scratch).fit(self, choices, task, evaluate=evaluate)
        self._take(module)
        tuned = self._tune(tuning)
        should = dict(zip(self.config.models, counts.tolist(), strict=True))
        parameters = sum(array.size for array in self.weights.values())
        self.facts = {**facts, "parameters": parameters, "above": self.above, "tuned": tuned, "should_decide": should}

    def _tune(self, tuning: list[tuple[F32, Mask, Mask]]) -> float:
        """Set `above`; return the share of documents on which the chosen model is right.

        tuning: what the network looks at (n, D), which models have input (m, n), which are right (n, m).
        """
        parts = [ranked(self._wishes(x), asked) for x, asked, _ in tuning]
        truth = np.concatenate([truth for *_, truth in tuning])
        other, wish = (np.concatenate(columns) for columns in zip(*parts, strict=True))
        gains = truth[np.arange(len(truth)), other].astype(np.int64) - truth[:, 0]
        self.above = best_threshold(wish, gains) if self.config.above is None else self.config.above
        return float((truth[:, 0].sum() + gains[wish > self.above].sum()) / len(truth))

    def _take(self, module: "torch.nn.Module") -> None:
        self.weights = {name: tensor.detach().cpu().numpy().copy() for name, tensor in module.named_parameters()}

    def _numbers(self, block: Block) -> F32:
        """Return what the network looks at (n, D); zeros for a model without input."""
        config, parts = self.config, list[F32]()
        for column in self.columns(block)[: None if config.of == "all" else 1]:
            p = probabilities(column) * column.present[:, None]
            parts += (
                [p] if config.inputs == "cp_all" else [highest(p, TOP[config.inputs])] if config.inputs in TOP else []
            )
            parts += [entropy(p)] if config.entropy else []
            parts += [-np.diff(highest(p, 2))] if config.margin else []
        parts += [unit_rows(embedding(block, name, self._dim(name))[0]) for name in vectors(config)]
        return np.ascontiguousarray(np.concatenate(parts, axis=1), np.float32)

    def _dim(self, name: str) -> int:
        return self.sizes[vectors_name(name)].width

    def _width(self) -> int:
        """Return how many numbers the network looks at."""
        config = self.config
        each = len(self.labels) if config.inputs == "cp_all" else TOP.get(config.inputs, 0)
        each += config.entropy + config.margin
        return each * (len(config.models) if config.of == "all" else 1) + sum(map(self._dim, vectors(config)))

    def describe(self) -> JsonObject:
        """Return parameters, bytes and training facts."""
        return {**self.facts, "bytes": 4 * sum(array.size for array in self.weights.values())}

    def _meta(self) -> JsonObject:
        return {**super()._meta(), "above": self.above}

    def _arrays(self) -> dict[str, NDArray[np.generic]]:
        return dict(self.weights)

    def _restore(self, saved: Checkpoint) -> None:
        D, K, H = self._width(), len(self.config.models) - 1, self.config.hidden
        shapes: dict[str, tuple[int, ...]] = {"out.weight": (K, D), "out.bias": (K,)}
        if self.config.layers > 1:
            shapes = {"hidden.weight": (H, D), "hidden.bias": (H,), "out.weight": (K, H), "out.bias": (K,)}
        self.weights = {name: saved.array(name, np.float32, *shape) for name, shape in shapes.items()}
        self.above = checked_number("above", saved.meta["above"], high=NEVER)


@dataclass
class Choices:
    """Labelled documents that two models at least can read, each labelled with the model that should decide."""

    policy: Policy
    features: Features

    def __post_init__(self) -> None:
        self.n_rows = self.features.n_rows  # about

    def blocks(self) -> Iterator[Block]:
        """Yield the blocks that hold any of them."""
        names = pa.array(self.policy.config.models, pa.string())
        for block in labelled(self.features):
            columns = self.policy.columns(block)
            rows = np.flatnonzero(np.sum([column.present for column in columns], axis=0) > 1)
            if len(rows):
                should = right(columns, block.labels)[rows].argmax(axis=1)  # of none that is right the first
                part = block.at(rows)
                yield Block(part.ids, single(names.take(pa.array(should))), part.columns)

    def counts(self) -> NDArray[np.int64]:
        """Return on how many documents each model should decide (m,)."""
        names = pa.array(self.policy.config.models, pa.string())
        counts = np.zeros(len(names), np.int64)
        for block in self.blocks():
            counts += np.bincount(label_pairs(block.labels, names)[1], minlength=len(names))
        return counts


def ranked(wishes: F32, asked: Mask) -> tuple[NDArray[np.int64], F32]:
    """Return the best other model (n,) and its probability (n,) of n documents.

    It is -inf where no other model has input, and inf where the first has none.

    Args:
        wishes: (n, m - 1) probability of each model but the first.
        asked: (m, n) which models have input.
    """
    allowed = np.where(asked[1:].T, wishes, -np.inf)
    wish = np.where(asked[0], allowed.max(axis=1), np.inf)
    return 1 + allowed.argmax(axis=1), wish.astype(np.float32)


def best_threshold(wish: F32, gains: NDArray[np.int64]) -> float:
    """Return the probability above which another model gains most, the highest of equals; 1 where none gains.

    Args:
        wish: (n,) probability that it should decide; infinite where there is no choice.
        gains: (n,) 1 where it is right and the first is wrong, -1 the other way round, else 0.
    """
    free = np.isfinite(wish)
    order = np.argsort(-wish[free], kind="stable")
    values, total = wish[free][order], np.cumsum(gains[free][order])
    ends = np.flatnonzero(np.append(values[1:] < values[:-1], len(values) > 0))  # equal ones go together
    if not len(ends) or total[ends].max() <= 0:
        return NEVER
    last = ends[int(total[ends].argmax())]
    below = values[last + 1] if last + 1 < len(values) else 0.0
    return float((float(values[last]) + float(below)) / 2)


def highest(p: F32, k: int) -> F32:
    """Return the k highest of probabilities (n, C), falling (n, k); zeros where there are fewer."""
    padded = np.pad(p, ((0, 0), (0, max(0, k - p.shape[1]))))
    return np.asarray(-np.sort(np.partition(-padded, k - 1, axis=1)[:, :k], axis=1), np.float32)


def entropy(p: F32) -> F32:
    """Return the entropy of probabilities (n, C), made to add up to 1, as a share of the highest possible (n, 1)."""
    shares = p / np.maximum(p.sum(axis=1, keepdims=True), TINY)
    terms = shares * np.log(np.maximum(shares, TINY))
    return np.asarray(-terms.sum(axis=1, keepdims=True) / np.log(max(2, p.shape[1])), np.float32)


def vectors(config: PolicyConfig) -> tuple[str, ...]:
    """Return the names of the embeddings that a policy looks at."""
    names = {"text": (config.text_embedding,), "image": (config.image,), "both": (config.image, config.text_embedding)}
    return tuple(dict.fromkeys(names.get(config.inputs, ())))
