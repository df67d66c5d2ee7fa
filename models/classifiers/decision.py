"""Decisions between classifiers by their scores: their mean, or the most confident one (Zahavy 2016; Z-16)."""

from pathlib import Path
from typing import ClassVar, Literal, NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from fuseline.models.checkpoint import Checkpoint
from fuseline.models.classifier import LINKS, BaseClassifier, ClassifierConfig, Link
from fuseline.models.columns import Logits
from fuseline.models.config import FrozenConfig, Names
from fuseline.models.features import Block, Features, Input, logits_name
from fuseline.models.labels import Classes

F32 = NDArray[np.float32]
Mask = NDArray[np.bool_]
TINY = float(np.finfo(np.float32).tiny)  # smallest probability that has a logarithm


class BasesConfig(ClassifierConfig):
    """Which models are decided between."""

    models: Names = Field(("text", "image"), min_length=2, description="Names of the models to combine")


class DecisionConfig(BasesConfig):
    """Which models are combined, and over what."""

    over: Literal["probabilities", "logits"] = Field(
        "probabilities",
        description="What is averaged or compared; logits of different kinds of model do not share a scale",
    )


class Choice(NamedTuple):
    """Which model decides on each of n documents."""

    chosen: NDArray[np.int64]  # (n,) its place in `models`
    wish: F32  # (n,) how much another model than the first is wished for: the higher, the sooner it is asked


@runtime_checkable
class Between(Protocol):
    """What combines or chooses between models, whose scores it can tell apart."""

    def between(self) -> tuple[str, ...]:
        """Return the names of the models, the default first."""

    def columns(self, block: Block) -> list[Logits]:
        """Return the logits of each."""


@runtime_checkable
class Chooser(Protocol):
    """What decides for each document by which model it goes."""

    def choose(self, block: Block) -> Choice:
        """Return which model decides."""


class Decision(BaseClassifier):
    """Scores of several models in one; a model without input in a document is left out.

    Over probabilities its logits are log probabilities. A document without input for any model gets what their
    scores for empty input give. A subclass says in `_combined` how scores become one.
    """

    Config: ClassVar[type[FrozenConfig]] = BasesConfig
    config: BasesConfig

    @classmethod
    def inputs(cls, config: BasesConfig) -> tuple[Input, ...]:
        """Return the logits of every model."""
        return tuple(Input(logits_name(name), Logits) for name in config.models)

    def between(self) -> tuple[str, ...]:
        """Return the names of the models, the default first."""
        return self.config.models

    @property
    def over(self) -> str:
        """What is combined: probabilities or logits."""
        return self.config.over if isinstance(self.config, DecisionConfig) else "probabilities"

    @property
    def link(self) -> Link:
        """Function from its logits to probabilities."""
        return "exp" if self.over == "probabilities" else super().link

    def predict_logits(self, block: Block) -> F32:
        """Return logits, or log probabilities (n, C); raises ValueError for logits of other classes."""
        combined = self._combined(block, self.scores(block), self.asked(block))
        return np.log(np.maximum(combined, TINY)) if self.over == "probabilities" else combined

    def scores(self, block: Block) -> F32:
        """Return the models' probabilities, or logits (m, n, C)."""
        columns = self.columns(block)
        return np.stack([probabilities(one) if self.over == "probabilities" else one.values for one in columns])

    def asked(self, block: Block) -> Mask:
        """Return which models have input in which documents (m, n); all of them where none has."""
        present = np.stack([column.present for column in self.columns(block)])
        return present | ~present.any(axis=0)

    def columns(self, block: Block) -> list[Logits]:
        """Return the logits of every model, all of the same classes; those of the first become its own in a fit."""
        columns = [block.column(logits_name(name), Logits) for name in self.config.models]
        for name, column in zip(self.config.models, columns, strict=True):
            self.labels = self.labels or list(column.labels)
            if list(column.labels) != self.labels:
                what = f"labels of {logits_name(name)}: expected {self.labels!r}, got {list(column.labels)!r}"
                raise ValueError(f"{what}; combine models that were trained on the same labels")
        return columns

    def _combined(self, block: Block, scores: F32, asked: Mask) -> F32:
        """Return the combination (n, C) of the models' scores (m, n, C), each where it is asked (m, n)."""
        raise NotImplementedError

    def _fit(
        self, train: Features, valid: Features | None, classes: Classes, *, seed: int, scratch: Path | None
    ) -> None:
        self.labels = []
        for block in train.blocks():
            self.columns(block)
            self.sizes = {one.name: block.columns[one.name].size for one in self.inputs(self.config)}
        self.facts = {"parameters": 0}

    def _restore(self, saved: Checkpoint) -> None:
        pass


class FixedMean(Decision):
    """The mean of the models' scores."""

    kind: ClassVar[str] = "fixed_mean"
    summary: ClassVar[str] = "mean of other models' scores (Zahavy 2016, Fixed-Mean)"
    Config: ClassVar[type[FrozenConfig]] = DecisionConfig

    def _combined(self, block: Block, scores: F32, asked: Mask) -> F32:
        return weighted(scores, asked, np.ones(len(scores), np.float32))


class FixedMax(Decision):
    """The scores of the model whose best class scores highest."""

    kind: ClassVar[str] = "fixed_max"
    summary: ClassVar[str] = "scores of the most confident of other models (Zahavy 2016, Fixed-Max)"
    Config: ClassVar[type[FrozenConfig]] = DecisionConfig

    def choose(self, block: Block) -> Choice:
        """Return which model decides: the most confident one."""
        return self._decided(self.scores(block), self.asked(block))

    def _combined(self, block: Block, scores: F32, asked: Mask) -> F32:
        return picked(scores, self._decided(scores, asked).chosen)

    def _decided(self, scores: F32, asked: Mask) -> Choice:
        confidence = np.where(asked, scores.max(axis=2), -np.inf)
        with np.errstate(invalid="ignore"):
            wish = np.where(asked[0], confidence[1:].max(axis=0) - confidence[0], np.inf)
        return Choice(confidence.argmax(axis=0), wish.astype(np.float32))


def probabilities(column: Logits) -> F32:
    """Return the probabilities (n, C) of a model's logits."""
    return LINKS[column.link](column.values)


def weighted(scores: F32, asked: Mask, weights: F32) -> F32:
    """Return the weighted mean (n, C) of scores (m, n, C) of the models that are asked (m, n).

    weights: (m,), of any sum. Where all that are asked weigh nothing, they count alike.
    """
    shares = asked * weights[:, None]
    shares = np.where(shares.any(axis=0), shares, asked)
    shares = (shares / shares.sum(axis=0)).astype(np.float32)
    mean = np.zeros(scores.shape[1:], np.float32)
    for share, own in zip(shares, scores, strict=True):
        if share.any():
            mean += share[:, None] * own
    return mean


def picked(scores: F32, chosen: NDArray[np.int64]) -> F32:
    """Return the scores (n, C) of the chosen models (n,) among those of all (m, n, C)."""
    return np.asarray(scores[chosen, np.arange(scores.shape[1])], np.float32)


CLASSIFIERS = (FixedMean, FixedMax)
