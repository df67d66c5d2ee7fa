"""What every detector is: pixels in, elements (boxes with scores) out."""

from typing import ClassVar, Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from fuseline.models.config import FrozenConfig

Rgb = NDArray[np.uint8]
Finds = Literal["ocr", "face", "object"]


class Element(NamedTuple):
    """One text line, face or object; coordinates are fractions 0..1 of the upright image's width and height."""

    box: tuple[float, float, float, float]  # left, top, right, bottom
    score: float  # as the network gave it
    label: str  # "text", "face" or the object's class
    text: str | None = None  # content of a text line
    points: tuple[tuple[float, float], ...] = ()  # faces: eyes, nose, mouth corners; text: four corners of the line


class Detector(Protocol):
    """Finds elements in one image; building one is cheap, weights are loaded by the first `detect`."""

    kind: ClassVar[str]  # its name in the registry
    summary: ClassVar[str]  # one line for `fuseline list`
    origin: ClassVar[str]  # of its weights: package or file, size, licence
    finds: ClassVar[Finds]
    Config: ClassVar[type[FrozenConfig]]
    min_side: int  # pixels: a scaled decode of the shorter side below this would cost finds

    def __init__(self, config: FrozenConfig) -> None: ...

    @property
    def digest(self) -> str:
        """Weights, pre-processing and post-processing in one short string; raises MissingWeights."""

    def prepare(self, pixels: Rgb) -> Rgb:
        """Return pixels (h, w, 3) uint8 scaled as `detect` reads them; safe in any thread."""

    def detect(self, prepared: Rgb) -> list[Element]:
        """Return every element at or above the detector's floor: text in reading order, others by falling score."""


def ranked(elements: list[Element]) -> list[Element]:
    """Return elements by falling score; equal scores by their boxes, so that the order never depends on the run."""
    return sorted(elements, key=lambda element: (-element.score, element.box, element.label))


def strongest(elements: list[Element], limit: int) -> list[Element]:
    """Return at most `limit` elements, those of the highest scores, in their given order (paper R takes ten)."""
    kept = set(map(id, ranked(elements)[:limit]))
    return [element for element in elements if id(element) in kept]


def suppress(
    boxes: NDArray[np.float32], scores: NDArray[np.float32], classes: NDArray[np.int64], *, iou: float
) -> list[int]:
    """Return the indices that greedy non-maximum suppression keeps, class by class, highest score first.

    boxes (n, 4) float32 left, top, right, bottom; scores (n,) float32; classes (n,) int64.
    """
    order, kept = np.argsort(-scores, kind="stable"), []
    area = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    while len(order):
        best, order = int(order[0]), order[1:]
        kept.append(best)
        low, high = np.maximum(boxes[best, :2], boxes[order, :2]), np.minimum(boxes[best, 2:], boxes[order, 2:])
        shared = np.prod(np.clip(high - low, 0, None), axis=1)
        union = area[best] + area[order] - shared
        order = order[(classes[order] != classes[best]) | (shared <= iou * union)]
    return kept


def bounded(left: float, top: float, right: float, bottom: float) -> tuple[float, float, float, float]:
    """Return a box cut to the image."""
    cut = [min(max(float(value), 0.0), 1.0) for value in (left, top, right, bottom)]
    return cut[0], cut[1], cut[2], cut[3]


def fit_within(pixels: Rgb, longest: int) -> Rgb:
    """Return pixels (h, w, 3) uint8 scaled down, never up, so that no side is longer than `longest`."""
    from PIL import Image

    height, width = pixels.shape[:2]
    scale = longest / max(height, width)
    if scale >= 1:
        return pixels
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BILINEAR))
