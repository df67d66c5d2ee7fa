"""Objects of the 80 COCO classes: SSDLite-MobileNetV2, which ships with the project."""

from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import Field

from fuseline.models.config import FrozenConfig, runtime_option
from fuseline.models.detectors.base import Element, Finds, Rgb, bounded, suppress
from fuseline.models.encoders.base import files_digest, onnx_session
from fuseline.models.weights import bundled

_FILE = "ssdlite_mobilenet_v2_coco80_300.onnx"
_VERSION = "ssdlite-1"
_SIDE = 300


class SsdLiteConfig(FrozenConfig):
    """What is kept of the raw detections; readers may ask for more than the floor later, never for less."""

    min_score: float = Field(
        0.2,
        gt=0,
        le=1,
        description="Score from which an object is kept; 0.3 is a good threshold for use, 0.5 gives few false boxes",
    )
    iou: float = Field(
        0.6,
        gt=0,
        le=1,
        description="Share of overlap (intersection over union) from which two boxes of one class are one object",
    )
    limit: int = Field(100, ge=1, description="Objects kept per image, those of the highest scores")
    threads: int | None = runtime_option(
        None, ge=1, description="Threads of the network; default: what the process may use"
    )


class SsdLite:
    """Object detector; the whole image is stretched to 300 x 300 (Sandler et al. 2018)."""

    kind: ClassVar[str] = "ssdlite_coco"
    summary: ClassVar[str] = "SSDLite-MobileNetV2: objects of the 80 COCO classes"
    origin: ClassVar[str] = "bundled ssdlite_mobilenet_v2_coco80_300.onnx, 9 MB, Apache-2.0"
    finds: ClassVar[Finds] = "object"
    Config: ClassVar[type[FrozenConfig]] = SsdLiteConfig
    min_side = _SIDE

    def __init__(self, config: SsdLiteConfig) -> None:
        self.config = config

    @cached_property
    def digest(self) -> str:
        """Weights and post-processing."""
        return files_digest([bundled(_FILE)], salt=_VERSION)

    def prepare(self, pixels: Rgb) -> Rgb:
        """Return the image as (300, 300, 3) uint8."""
        return np.asarray(Image.fromarray(pixels).resize((_SIDE, _SIDE), Image.Resampling.BILINEAR))

    def detect(self, prepared: Rgb) -> list[Element]:
        """Return objects by falling score."""
        session, names = self._session
        image = np.ascontiguousarray(prepared.astype(np.float32).transpose(2, 0, 1)[None])
        boxes, scores = (output[0] for output in session.run(["boxes", "scores"], {"image": image}))
        return self._elements(boxes, scores, names)

    def _elements(self, boxes: NDArray[np.float32], scores: NDArray[np.float32], names: list[str]) -> list[Element]:
        anchor, label = np.nonzero(scores >= self.config.min_score)
        corners, strength = boxes[anchor], scores[anchor, label]
        kept = suppress(corners, strength, label, iou=self.config.iou)[: self.config.limit]
        return [Element(bounded(*corners[one]), float(strength[one]), names[label[one]]) for one in kept]

    @cached_property
    def _session(self) -> tuple[Any, list[str]]:
        session = onnx_session(bundled(_FILE), threads=self.config.threads)
        return session, session.get_modelmeta().custom_metadata_map["classes"].split(",")
