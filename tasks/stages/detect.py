"""Images -> text lines, faces or objects: the detect stages."""

import logging
from collections.abc import Sequence
from typing import ClassVar

import pyarrow as pa
from pydantic import Field

from fuseline.models.columns import Text
from fuseline.models.config import FrozenConfig, runtime_option
from fuseline.models.detectors import detector_config, get_detector
from fuseline.models.detectors.base import Detector, Element, strongest
from fuseline.plain import JsonObject
from fuseline.stores.schemas import DETECTIONS
from fuseline.tasks.engine.image_pass import ImageTransform, Outcome, run_pass
from fuseline.tasks.engine.images import DECODER, WHITE, ImageLimits, Rgb
from fuseline.tasks.engine.nodes import Feature, Ingest, Read, ShardStage
from fuseline.tasks.options import ChosenConfig, Options

logger = logging.getLogger(__name__)


Prepared = tuple[int, int, Rgb]  # width and height of an image, and what its detector reads
Detected = tuple[int, int, list[Element]]  # width and height of an image, and its elements


class DetectConfig(ChosenConfig):
    """One detector over the documents' images."""

    chosen_by: ClassVar[str] = "detector"

    detector: str = Field(description="Name of a detector; `fuseline list detectors` shows them")
    options: Options = Field(
        default_factory=FrozenConfig,
        description="Options of the detector; `fuseline describe detector NAME` shows them",
    )
    limit: int = Field(500, ge=1, description="Elements kept per image, those of the highest scores")
    text_score: float = Field(0.5, ge=0, le=1, description="Score from which a line goes into the joined text")
    limits: ImageLimits = Field(ImageLimits(), description="What one image may cost")
    background: tuple[int, int, int] = Field(
        WHITE, description="What shows through transparent pixels: red, green and blue, 0..255 each"
    )
    decode_threads: int = runtime_option(2, ge=1, description="Threads that decode images ahead of the network")

    @classmethod
    def options_type(cls, name: str) -> type[FrozenConfig]:
        """Return the type of a detector's options."""
        return detector_config(name)


def detect(documents: pa.Table, config: DetectConfig, *, source: str) -> pa.Table:
    """Return the elements detected in each document's image, in the documents' order and the DETECTIONS schema.

    Status: ok (also without any element), missing, no_image, bad_uri, bad_image, too_large, timeout, changed,
    detect_failed. Raises MissingWeights.
    """
    return run_pass(documents, [ImageDetector(config)], source=source).tables[0]


def detector_digest(config: DetectConfig) -> str:
    """Return what a dataset key must hold beside the config: weights, processing and image decoder."""
    return f"{_detector(config).digest} {DECODER}"


class ImageDetector:
    """A detector's part of a pass over images."""

    batch_size = 1

    def __init__(self, config: DetectConfig) -> None:
        self.config, self.detector = config, _detector(config)
        self.limits, self.background, self.decode_threads = config.limits, config.background, config.decode_threads
        self.min_side: int | None = self.detector.min_side

    def given(self, row: int) -> None:
        """Return None: every image is looked at."""

    def prepare(self, pixels: Rgb, row: int) -> Prepared:
        """Return width and height of the image, and what the detector needs."""
        return pixels.shape[1], pixels.shape[0], self.detector.prepare(pixels)

    def compute(self, items: Sequence[Prepared]) -> list[Outcome[Detected]]:
        """Return (width, height, elements) per image."""
        return [self._detected(*item) for item in items]

    def _detected(self, width: int, height: int, prepared: Rgb) -> Outcome[Detected]:
        try:
            elements = self.detector.detect(prepared)
        except (ArithmeticError, LookupError, ValueError, RuntimeError, _cv_error()) as error:
            # Libraries that meet an odd picture; the row says so, and the run goes on.
            logger.warning("%s failed on an image: %s", self.config.detector, error)
            return Outcome("detect_failed", None)
        return Outcome("ok", (width, height, strongest(elements, self.config.limit)))

    def table(self, ids: pa.Array, outcomes: Sequence[Outcome[Detected]]) -> pa.Table:
        """Return the stage's output in the DETECTIONS schema."""
        rows = [_row(outcome, self.config.text_score) for outcome in outcomes]
        arrays = [pa.array([row[field.name] for row in rows], field.type) for field in list(DETECTIONS)[1:]]
        return pa.Table.from_arrays([ids, *arrays], schema=DETECTIONS)


def _cv_error() -> type[Exception]:
    """Return OpenCV's exception class, which derives from Exception alone; RuntimeError where there is no OpenCV."""
    import sys

    return sys.modules["cv2"].error if "cv2" in sys.modules else RuntimeError


def _row(outcome: Outcome[Detected], text_score: float) -> JsonObject:
    width, height, elements = outcome.value or (None, None, [])
    words = [element.text for element in elements if element.text and element.score >= text_score]
    return {
        "status": outcome.status, "present": bool(elements), "width": width, "height": height,
        "elements": [_struct(element) for element in elements], "text": " ".join(words),
    }  # fmt: skip


def _struct(element: Element) -> JsonObject:
    flat = [value for point in element.points for value in point]
    return {**element._asdict(), "points": flat}


def _detector(config: DetectConfig) -> Detector:
    return get_detector(config.detector, config.options)


def _image_detector(tables: list[pa.Table], config: DetectConfig) -> ImageDetector:
    return ImageDetector(config)


detect_elements = ImageTransform(_image_detector)


def stage(name: str, spec: DetectConfig, documents: Ingest) -> ShardStage:
    """Return the node of what one detector finds in the documents' images."""
    return ShardStage(
        role="detect", short=name, flow="detect", version=1, config=spec, weights=detector_digest(spec),
        reads=(Read(documents, ("image",), ("image_digest",)),), transform=detect_elements,
        feature=Feature(Text, "text", "image"),
    )  # fmt: skip
