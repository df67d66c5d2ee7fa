"""The average of a text and an image classifier's probabilities: Arevalo's AVG_Probs, Wang's TF-IDF + CNN (K-22)."""

from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from fuseline.models.checkpoint import Checkpoint, checked_number, refuse, restoring
from fuseline.models.classifier import BaseClassifier, Link, embedding, has_text
from fuseline.models.classifiers import kiela, tfidf_linear
from fuseline.models.config import FrozenConfig, key_values, runtime_option
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


class AvgTfidfConfig(tfidf_linear.TfidfOptions, kiela.ImageAloneConfig):
    """Settings of the text part under the names of `tfidf_linear`, of the image part under those of `image`."""

    regression_mb: int = runtime_option(
        8192, ge=1, description="MB that the weights of the text part and their solver may take"
    )


class Average(BaseClassifier):
    """(p_text + p_image) / 2, of a classifier of texts and `image`; the one of a missing modality is left out.

    Its logits are log probabilities. A document with neither text nor image gets the mean of both models' output
    for empty input.
    """

    TextPart: ClassVar[type[BaseClassifier]]
    config: kiela.ImageConfig
    text: BaseClassifier
    image: kiela.ImageAlone

    def text_config(self) -> FrozenConfig:
        """Return the settings of the text part."""
        raise NotImplementedError

    def image_config(self) -> kiela.ImageConfig:
        """Return the settings of the image part."""
        return kiela.ImageConfig(**self._shared(kiela.ImageConfig))

    @classmethod
    def inputs(cls, config: kiela.ImageConfig) -> tuple[Input, ...]:
        """Return the columns that both parts read."""
        return (*kiela.TextAlone.inputs(config), *kiela.ImageAlone.inputs(config))

    @property
    def link(self) -> Link:
        """Its logits are log probabilities."""
        return "exp"

    def fit(self, train: Features, valid: Features | None, *, seed: int, scratch: Path | None = None) -> Self:
        """Fit both parts on `train`; on `valid` tune the threshold of the mean when the task is multi-label."""
        self.text, self.image = self.TextPart(self.text_config()), kiela.ImageAlone(self.image_config())
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

    def _shared(self, config: type[FrozenConfig]) -> dict[str, Any]:
        """Return the settings that a part has too, without word vectors; what it chooses itself is "auto"."""
        names = config.model_fields.keys() - {"pretrained_vectors"}
        return {name: value for name, value in self.config.model_dump().items() if name in names}

    def _meta(self) -> JsonObject:
        return {"config": key_values(self.config), "threshold": self.threshold}

    def _parts(self) -> dict[str, BaseClassifier]:
        return {"image": self.image, "text": self.text}

    @classmethod
    def restored(cls, saved: Checkpoint) -> Self:
        """Return the classifier that `checkpoint` describes; its labels and task are those of its parts."""
        with restoring(f"classifier/{cls.kind}", "config and two parts"):
            self = cls(cls.Config.model_validate(saved.meta["config"]))
            self.image = kiela.ImageAlone.restored(saved.part("image"))
            self.text = cls.TextPart.restored(saved.part("text"))
            self.labels, self.multi_label = self.text.labels, self.text.multi_label
            self.threshold = checked_number("threshold", saved.meta["threshold"], high=1.0)
            if self.image.labels != self.labels or self.image.config.image != self.config.image:
                refuse("parts", "one set of labels and the configured image", self.image.config.image)
            self.sizes = {**self.text.sizes, **self.image.sizes}
        return self

    def describe(self) -> JsonObject:
        """Return the sums of what both parts say of themselves in numbers, and each part's training facts."""
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


class AvgProbs(Average):
    """The mean of `text` and `image`."""

    kind: ClassVar[str] = "avg_probs"
    summary: ClassVar[str] = "mean of the probabilities of `text` and `image`"
    Config: ClassVar[type[FrozenConfig]] = AvgProbsConfig
    TextPart: ClassVar[type[BaseClassifier]] = kiela.TextAlone
    config: AvgProbsConfig
    text: kiela.TextAlone

    def text_config(self) -> FrozenConfig:
        vectors = self.config.pretrained_vectors
        return kiela.TextConfig(**self._shared(kiela.TextConfig), pretrained_vectors=vectors)

    def image_config(self) -> kiela.ImageConfig:
        own = {"lr": self.config.image_lr, "epochs": self.config.image_epochs}
        own = {name: value for name, value in own.items() if value is not None}
        return kiela.ImageConfig(**{**self._shared(kiela.ImageConfig), **own})


class AvgTfidf(Average):
    """The mean of `tfidf_linear` and `image`, a linear map of features that a network makes (Wang et al. 2015)."""

    kind: ClassVar[str] = "avg_tfidf"
    summary: ClassVar[str] = "mean of the probabilities of `tfidf_linear` and `image`"
    Config: ClassVar[type[FrozenConfig]] = AvgTfidfConfig
    TextPart: ClassVar[type[BaseClassifier]] = tfidf_linear.TfidfLinear
    config: AvgTfidfConfig
    text: tfidf_linear.TfidfLinear

    def text_config(self) -> FrozenConfig:
        own = self._shared(tfidf_linear.TfidfOptions)
        return tfidf_linear.TfidfLinearConfig(**own, memory_mb=self.config.regression_mb)
