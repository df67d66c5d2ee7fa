"""Fixed decisions between classifiers: the mean of their scores, or the most confident one (Zahavy 2016; Z-16)."""

from pathlib import Path
from typing import ClassVar, Literal

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
TINY = float(np.finfo(np.float32).tiny)  # smallest probability that has a logarithm


class DecisionConfig(ClassifierConfig):
    """Which models are combined, and over what."""

    models: Names = Field(("text", "image"), min_length=2, description="Names of the models to combine")
    over: Literal["probabilities", "logits"] = Field(
        "probabilities",
        description="What is averaged or compared; logits of different kinds of model do not share a scale",
    )


class Decision(BaseClassifier):
    """Scores of several models, combined without learning; a model without input in a document is left out.

    Over probabilities its logits are log probabilities. A document without input for any model gets the combination
    of all their scores for empty input.
    """

    Config: ClassVar[type[FrozenConfig]] = DecisionConfig
    config: DecisionConfig

    @classmethod
    def inputs(cls, config: DecisionConfig) -> tuple[Input, ...]:
        """Return the logits of every model."""
        return tuple(Input(logits_name(name), Logits) for name in config.models)

    @property
    def link(self) -> Link:
        """Function from its logits to probabilities."""
        return "exp" if self.config.over == "probabilities" else super().link

    def predict_logits(self, block: Block) -> F32:
        """Return logits, or log probabilities (n, C); raises ValueError for logits of other classes."""
        columns = self._columns(block)
        scores = np.stack([
            LINKS[column.link](column.values) if self.config.over == "probabilities" else column.values
            for column in columns
        ])  # fmt: skip
        present = np.stack([column.present for column in columns])
        combined = self._combined(scores, present | ~present.any(axis=0))
        return np.log(np.maximum(combined, TINY)) if self.config.over == "probabilities" else combined

    def _combined(self, scores: F32, present: NDArray[np.bool_]) -> F32:
        """Return the combination (n, C) of the models' scores (m, n, C) where each has input (m, n)."""
        raise NotImplementedError

    def _fit(
        self, train: Features, valid: Features | None, classes: Classes, *, seed: int, scratch: Path | None
    ) -> None:
        self.labels = []
        for block in train.blocks():
            columns = self._columns(block)
            self.sizes = {name: column.size for name, column in zip(self._names, columns, strict=True)}
        self.facts = {"parameters": 0}

    def _columns(self, block: Block) -> list[Logits]:
        """Return the logits of every model, all of the same classes; those of the first become its own in a fit."""
        columns = [block.column(name, Logits) for name in self._names]
        for name, column in zip(self._names, columns, strict=True):
            self.labels = self.labels or list(column.labels)
            if list(column.labels) != self.labels:
                what = f"labels of {name}: expected {self.labels!r}, got {list(column.labels)!r}"
                raise ValueError(f"{what}; combine models that were trained on the same labels")
        return columns

    @property
    def _names(self) -> list[str]:
        return [one.name for one in self.inputs(self.config)]

    def _restore(self, saved: Checkpoint) -> None:
        pass


class FixedMean(Decision):
    """The mean of the models' scores."""

    kind: ClassVar[str] = "fixed_mean"
    summary: ClassVar[str] = "mean of other models' scores (Zahavy 2016, Fixed-Mean)"

    def _combined(self, scores: F32, present: NDArray[np.bool_]) -> F32:
        weights = (present / present.sum(axis=0)).astype(np.float32)
        return np.asarray((weights[:, :, None] * scores).sum(axis=0), np.float32)


class FixedMax(Decision):
    """The scores of the model whose best class scores highest."""

    kind: ClassVar[str] = "fixed_max"
    summary: ClassVar[str] = "scores of the most confident of other models (Zahavy 2016, Fixed-Max)"

    def _combined(self, scores: F32, present: NDArray[np.bool_]) -> F32:
        confidence = np.where(present, scores.max(axis=2), -np.inf)
        return np.asarray(scores[confidence.argmax(axis=0), np.arange(scores.shape[1])], np.float32)


CLASSIFIERS = (FixedMean, FixedMax)
