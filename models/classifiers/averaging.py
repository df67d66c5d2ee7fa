"""The average of a text and an image classifier's probabilities: Arevalo's AVG_Probs (K-22)."""

from pathlib import Path
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from fuseline.models.checkpoint import Checkpoint, checked_number, refuse, restoring
from fuseline.models.classifier import BaseClassifier, Link, embedding, has_text
from fuseline.models.classifiers import kiela
from fuseline.models.config import FrozenConfig, key_values
from fuseline.models.features import Block, Features, Input
from fuseline.plain import JsonObject, number

F32 = NDArray[np.float32]
TINY = float(np.finfo(np.float32).tiny)  # smallest probability that has a logarithm


class AvgProbsConfig(kiela.ImageConfig):
    """Settings of both parts; those of the image part may differ where they are named."""

    image_lr: float | None = Field(None, gt=0, description="Learning rate of the image part; default: lr")
    image_epochs: int | None = Field(
        None, ge=1, description="Passes of the image part over the training rows; default: epochs"
    )


class AvgProbs(BaseClassifier):
    """(p_text + p_image) / 2, of the classifiers `text` and `image`; the one of a missing modality is left out.

    Its logits are log probabilities. A document with neither text nor image gets the mean of both models' output
    for empty input.
    """

    kind: ClassVar[str] = "avg_probs"
    summary: ClassVar[str] = "mean of the probabilities of `text` and `image`"
    Config: ClassVar[type[FrozenConfig]] = AvgProbsConfig
    config: AvgProbsConfig
    text: kiela.TextAlone
    image: kiela.ImageAlone

    @classmethod
    def inputs(cls, config: AvgProbsConfig) -> tuple[Input, ...]:
        """Return the columns that both parts read."""
        return (*kiela.TextAlone.inputs(config), *kiela.ImageAlone.inputs(config))

    @property
    def link(self) -> Link:
        """Its logits are log probabilities."""
        return "exp"

    def fit(self, train: Features, valid: Features | None, *, seed: int, scratch: Path | None = None) -> Self:
        """Fit both parts on `train`; on `valid` tune the threshold of the mean when the task is multi-label."""
        shared = self.config.model_dump(exclude={"image_lr", "image_epochs"})
        own = {"lr": self.config.image_lr, "epochs": self.config.image_epochs}
        own = {name: value for name, value in own.items() if value is not None} | {"pretrained_vectors": None}
        text = kiela.TextConfig(**{name: shared[name] for name in kiela.TextConfig.model_fields})
        self.text, self.image = kiela.TextAlone(text), kiela.ImageAlone(kiela.ImageConfig(**{**shared, **own}))
        for part in (self.text, self.image):  # valid chooses their options, but no threshold: only the mean has one
            part.choose_options(train, valid)
            part.fit(train, None, seed=seed)
        self.labels, self.multi_label = self.text.labels, self.text.multi_label
        self.sizes = {**self.text.sizes, **self.image.sizes}
        self._tune_threshold(valid)
        return self

    def predict_logits(self, block: Block) -> F32:
        """Return log probabilities (n, C) float32."""
        return np.log(np.maximum(sum(self._terms(block)), TINY), dtype=np.float32)

    def importance(self, block: Block, chosen: NDArray[np.int64]) -> dict[str, F32]:
        """Return modality -> (n,) share of the chosen class's mean probability."""
        rows = np.arange(len(block))
        text, image = (np.asarray(term[rows, chosen], np.float32) for term in self._terms(block))
        total = np.maximum(text + image, TINY)
        return {"image": image / total, "text": text / total}

    def _meta(self) -> JsonObject:
        return {"config": key_values(self.config), "threshold": self.threshold}

    def _parts(self) -> dict[str, BaseClassifier]:
        return {"image": self.image, "text": self.text}

    @classmethod
    def restored(cls, saved: Checkpoint) -> Self:
        """Return the classifier that `checkpoint` describes; its labels and task are those of its parts."""
        with restoring(f"classifier/{cls.kind}", "config and two parts"):
            self = cls(AvgProbsConfig.model_validate(saved.meta["config"]))
            self.image = kiela.ImageAlone.restored(saved.part("image"))
            self.text = kiela.TextAlone.restored(saved.part("text"))
            self.labels, self.multi_label = self.text.labels, self.text.multi_label
            self.threshold = checked_number("threshold", saved.meta["threshold"], high=1.0)
            if self.image.labels != self.labels or self.image.config.image != self.config.image:
                refuse("parts", "one set of labels and the configured image", self.image.config.image)
            self.sizes = {**self.text.sizes, **self.image.sizes}
        return self

    def describe(self) -> JsonObject:
        """Return the sums of both parts' parameters, bytes and multiply-adds, and each part's training facts."""
        text, image = self.text.describe(), self.image.describe()
        times = ("seconds", "train_seconds", "compile_seconds")
        summed = ("parameters", "bytes", "bytes_per_document", "multiply_adds_per_document", *times)
        total = {name: number(text[name]) + number(image[name]) for name in summed if name in text}
        return {**total, "text": text, "image": image}

    def _terms(self, block: Block) -> tuple[F32, F32]:
        """Return the weighted probabilities (n, C) of text and image; their sum is the mean."""
        text = has_text(block)
        image = np.stack([embedding(block, name)[1] for name in self.config.image]).any(axis=0)
        neither = ~text & ~image
        weights = np.stack([text | neither, image | neither]).astype(np.float32)
        weights /= weights.sum(axis=0)
        parts = (part.probabilities(part.predict_logits(block)) for part in (self.text, self.image))
        p_text, p_image = (weight[:, None] * p for weight, p in zip(weights, parts, strict=True))
        return p_text, p_image
