"""Image networks by name: where their weights come from, and what of them is trained. Without torch."""

import math
from pathlib import Path
from typing import ClassVar, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator

from fuseline.models.columns import Pixels
from fuseline.models.config import added
from fuseline.models.device import torch_device
from fuseline.models.encoders.backbones import BACKBONES, PRESETS, BackboneConfig, WeightFileConfig
from fuseline.models.encoders.base import files_digest
from fuseline.models.encoders.efficientnet_lite import EfficientNetLite, EfficientNetLite0, EfficientNetLiteConfig
from fuseline.models.features import Features
from fuseline.models.labels import labelled
from fuseline.models.training import TrainingConfig
from fuseline.models.weights import supplied

Normalise = Literal["auto", "unit", "mean", "mean_std", "imagenet", "lite"]
Triple = tuple[float, float, float]  # one number for red, green and blue

_VERSION = "image-network-1"  # raise it when a network starts from other numbers out of the same file
_PICTURES = 4096  # that the mean of the training pictures is taken over
LITE = {one.kind: one for one in (EfficientNetLite0, EfficientNetLite)}
ARCHITECTURES = (*PRESETS, *LITE)
# Sides below which a network has nothing left to look at.
LEAST = {"vgg16": 32, "inception_v3": 75, "densenet121": 32}


class Scale(NamedTuple):
    """What is subtracted from values 0..1 of a picture, and what they are divided by."""

    mean: Triple
    std: Triple


SCALES = {
    "unit": Scale((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
    "imagenet": Scale((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "lite": Scale((127 / 255, 127 / 255, 127 / 255), (128 / 255, 128 / 255, 128 / 255)),
}


class ImageNetworkConfig(WeightFileConfig):
    """Which network looks at the pictures, where it starts, and how much of it is trained."""

    architecture: str = Field("vgg16", description=f"Network of torchvision or timm: {', '.join(ARCHITECTURES)}")
    pretrained: bool = Field(
        False, description="Start from ImageNet weights: those of efficientnet_lite are at hand, others are your file"
    )
    freeze_fraction: float = Field(
        0.0,
        ge=0,
        le=1,
        description="Share of the network's layers, from the pixels on, that stay as they start; a layer is a "
        "convolution, a batch norm or a linear layer; 1: all but the last is",
    )
    normalise: Normalise = Field(
        "auto",
        description="Of values 0..1 per colour: unit: none; mean: that of the training pictures is subtracted; "
        "mean_std: and divided by their deviation; imagenet, lite: constants; auto: as the weights were trained, "
        "without weights mean_std",
    )

    stands_in_for: tuple[str, ...] = added(
        (), description="Networks of a paper whose place others take here, as their weights need a hub; runs say so"
    )

    @field_validator("architecture")
    @classmethod
    def _architecture_exists(cls, value: str) -> str:
        if value not in ARCHITECTURES:
            raise ValueError(f"expected one of {list(ARCHITECTURES)}, got {value!r}")
        return value

    @property
    def scaling(self) -> str:
        """How the pictures are normalised, `auto` resolved."""
        if self.normalise != "auto":
            return self.normalise
        if not self.pretrained:
            return "mean_std"
        return "lite" if self.architecture in LITE else PRESETS[self.architecture].pixels

    @property
    def starts_from_file(self) -> bool:
        """Whether training starts from a weight file."""
        return self.pretrained

    def weight_file(self) -> Path | None:
        """Return the file that the network starts from, None when it starts from random numbers.

        Raises MissingWeights, which says where the file can be had, or WrongWeights.
        """
        if not self.starts_from_file:
            return None
        if self.architecture not in LITE:
            (backbone,) = (one for one in BACKBONES if one.kind == self.architecture)
            return backbone(self._backbone_options()).file
        if self.weights is None:
            return LITE[self.architecture](EfficientNetLiteConfig()).weights
        cure = "correct the path, or leave `weights` out: those of its package are at hand"
        return supplied(self.weights, what=self.architecture, sha256=self.sha256, cure=cure)

    def encoder_options(self) -> BackboneConfig | EfficientNetLiteConfig:
        """Return the options under which an encoder of the same name finds the file."""
        return EfficientNetLiteConfig() if self.architecture in LITE else self._backbone_options()

    def _backbone_options(self) -> BackboneConfig:
        return BackboneConfig(weights=self.weights, hub=self.hub, sha256=self.sha256)

    def start_digest(self) -> str:
        """Return the digest of what training starts from, "" for random numbers; raises MissingWeights."""
        file = self.weight_file()
        return "" if file is None else files_digest([file], salt=f"{_VERSION} {self.architecture}")


class PictureTotals:
    """Sums over pictures, whole numbers: they are the same however the documents are cut into shards."""

    values: ClassVar[tuple[int, ...]] = (1, 2)  # powers

    def __init__(self) -> None:
        self.n = 0
        self.sums = np.zeros((2, 3), np.uint64)  # of the values 0..255, and of their squares

    def add(self, pictures: NDArray[np.uint8]) -> None:
        """Add pictures (m, h, w, 3)."""
        wide = pictures.reshape(-1, 3).astype(np.uint64)
        self.n += len(wide)
        self.sums += np.stack([(wide**power).sum(axis=0) for power in self.values])

    def scale(self, *, deviation: bool) -> Scale:
        """Return mean and deviation of every colour, 1 instead of a deviation of 0 or one that is not asked for."""
        if not self.n:
            return SCALES["unit"]
        mean, square = (sums / self.n / 255.0**power for power, sums in zip(self.values, self.sums, strict=True))
        std = np.sqrt(np.maximum(square - mean**2, 0.0))
        std = np.where((std > 0) & deviation, std, 1.0)
        return Scale(*((float(one[0]), float(one[1]), float(one[2])) for one in (mean, std)))


def picture_scale(scaling: str, train: Features, name: str) -> Scale:
    """Return how pictures are normalised.

    Args:
        scaling: "mean" or "mean_std", else a key of SCALES.
        train: training documents, of which at most 4,096, evenly spaced, are looked at.
        name: of their column of pictures.
    """
    if scaling in SCALES:
        return SCALES[scaling]
    totals, step, at = PictureTotals(), max(1, math.ceil(train.n_rows / _PICTURES)), 0
    for block in labelled(train):
        column = block.column(name, Pixels)
        rows = np.arange(-at % step, len(block), step)
        rows, at = rows[column.present[rows]], at + len(block)
        for lo in range(0, len(rows), 64):
            totals.add(column.take(rows[lo : lo + 64]))
    return totals.scale(deviation=scaling == "mean_std")


def side_of(width: int, architecture: str) -> int:
    """Return the side of square pictures of `width` numbers; raises ValueError when a network needs larger ones."""
    side, least = math.isqrt(width // 3), LEAST.get(architecture, 1)
    if side < least:
        cure = "raise `side` of the stage that makes the pictures, or take another architecture"
        raise ValueError(f"pixels: expected at least {least} x {least} for {architecture}, got {side} x {side}; {cure}")
    return side


def check_precision(config: TrainingConfig) -> None:
    """Raise ValueError for bfloat16 without a GPU, where convolutions in it are slower than in float32."""
    if config.precision == "bfloat16" and torch_device(config.device).type == "cpu":
        raise ValueError(
            "precision: expected 'float32' on a processor, got 'bfloat16'; leave it out, or train on a GPU"
        )
