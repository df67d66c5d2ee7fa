"""Detected faces, objects or lines -> one embedding per element: the crop stages."""

from collections.abc import Sequence
from typing import ClassVar, TypedDict

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field

from fuseline.models.columns import Ragged
from fuseline.models.config import runtime_option
from fuseline.models.detectors.faces import face_chip
from fuseline.models.encoders import get_encoder
from fuseline.models.encoders.base import Encoder, Modality
from fuseline.stores.schemas import crop_embeddings
from fuseline.tasks.engine.image_pass import ImageTransform, Outcome, run_pass
from fuseline.tasks.engine.images import DECODER, WHITE, ImageLimits, Rgb
from fuseline.tasks.engine.nodes import Feature, Ingest, Read, ShardStage
from fuseline.tasks.stages.embed import Dtype, EncoderChoice

Crops = tuple[int, list[Rgb]]  # row, and the prepared pixels of each of its chosen elements
Embedded = tuple[int, NDArray[np.float32]]  # row, and the embeddings (n, dim) of its chosen elements


class DetectedElement(TypedDict):
    """One row of the `elements` of DETECTIONS, as far as it is read here."""

    box: list[float]  # left, top, right, bottom, fractions of the image's sides
    score: float
    points: list[float]


class CropEmbedConfig(EncoderChoice):
    """An image or face encoder over detected elements."""

    modalities: ClassVar[tuple[Modality, ...]] = ("face", "image")

    dtype: Dtype = Field("float16", description="Number format of the stored vectors")
    min_score: float = Field(
        0.65, ge=0, le=1, description="Score from which a detected element is embedded; paper R takes objects from 0.65"
    )
    limit: int = Field(
        10, ge=1, description="Elements embedded per document, those of the highest scores (10 in paper R)"
    )
    margin: float = Field(
        0.1, ge=0, le=2, description="Share of the box that is added around it; aligned faces ignore it"
    )
    limits: ImageLimits = Field(ImageLimits(), description="What one image may cost")
    background: tuple[int, int, int] = Field(
        WHITE, description="What shows through transparent pixels: red, green and blue, 0..255 each"
    )
    batch_size: int = runtime_option(4, ge=1, description="Documents per step of the network")
    decode_threads: int = runtime_option(2, ge=1, description="Threads that decode images ahead of the network")


def embed_crops(documents: pa.Table, detections: pa.Table, config: CropEmbedConfig, *, source: str) -> pa.Table:
    """Return one embedding per detected element, in the documents' order; see `crop_embeddings`.

    Args:
        documents: columns `id` and `image`.
        detections: the same documents in the DETECTIONS schema.
        config: encoder and choice of elements.
        source: folder or URL below which image references lie.

    Only images with a chosen element are read. Raises MissingWeights.
    """
    return run_pass(documents, [CropEmbedder(config, detections)], source=source).tables[0]


def crop_digest(config: CropEmbedConfig) -> str:
    """Return what a dataset key must hold beside the config: weights, framing and image decoder."""
    return f"{get_encoder(config.encoder, config.options).digest} crops-1 {DECODER}"


def chosen(elements: list[DetectedElement], *, min_score: float, limit: int) -> list[int]:
    """Return the places of the elements to use: highest score first, equal ones in their order."""
    strong = [place for place, element in enumerate(elements) if element["score"] >= min_score]
    return sorted(strong, key=lambda place: -elements[place]["score"])[:limit]


class CropEmbedder:
    """An element encoder's part of a pass over images."""

    def __init__(self, config: CropEmbedConfig, detections: pa.Table) -> None:
        self.config = config
        self.encoder: Encoder[Rgb] = get_encoder(config.encoder, config.options)
        self.limits, self.background = config.limits, config.background
        self.batch_size, self.decode_threads = config.batch_size, config.decode_threads
        self.min_side: int | None = None  # a crop may be a small part of the image
        self._status, self._elements = detections["status"].to_pylist(), detections["elements"].to_pylist()
        self._chosen = [chosen(elements, min_score=config.min_score, limit=config.limit) for elements in self._elements]

    def given(self, row: int) -> Outcome[Embedded] | None:
        """Return why a row has no embedding, when it has no chosen element; its image is not read."""
        if self._chosen[row]:
            return None
        status = self._status[row]
        return Outcome("missing" if status == "ok" else status, None)

    def prepare(self, pixels: Rgb, row: int) -> Crops:
        """Return the row and its prepared crops."""
        elements = [self._elements[row][place] for place in self._chosen[row]]
        return row, [self.encoder.prepare(self._crop(pixels, element)) for element in elements]

    def compute(self, items: Sequence[Crops]) -> list[Outcome[Embedded]]:
        """Return (row, embeddings (n, dim)) per document."""
        crops = [crop for _, of_row in items for crop in of_row]
        step = max(1, self.batch_size)
        vectors = np.concatenate([self.encoder.encode(crops[at : at + step]) for at in range(0, len(crops), step)])
        ends = np.cumsum([len(of_row) for _, of_row in items])
        parts = np.split(vectors, ends[:-1])
        return [Outcome("ok", (row, part)) for (row, _), part in zip(items, parts, strict=True)]

    def table(self, ids: pa.Array, outcomes: Sequence[Outcome[Embedded]]) -> pa.Table:
        """Return the stage's output; see `crop_embeddings`."""
        schema = crop_embeddings(self.encoder.dim, pa.from_numpy_dtype(self.config.dtype))
        rows = [self._row(outcome) for outcome in outcomes]
        status, element, vectors = ([row[which] for row in rows] for which in range(3))
        columns = [ids, status, [bool(places) for places in element], element, vectors]
        return pa.Table.from_arrays(
            [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)], schema=schema
        )

    def _row(self, outcome: Outcome[Embedded]) -> tuple[str, list[int], list[NDArray[np.floating]]]:
        if outcome.value is None:
            return outcome.status, [], []
        row, vectors = outcome.value
        largest = float(np.finfo(self.config.dtype).max)
        if not np.isfinite(vectors).all():
            return "not_finite", [], []
        if (np.abs(vectors) > largest).any():
            return "overflow", [], []
        return "ok", self._chosen[row], list(vectors.astype(self.config.dtype))

    def _crop(self, pixels: Rgb, element: DetectedElement) -> Rgb:
        height, width = pixels.shape[:2]
        if getattr(self.encoder, "aligned", False) and len(element["points"]) == 10:
            points = np.array(element["points"], np.float64).reshape(5, 2) * (width, height)
            return face_chip(pixels, points)
        left, top, right, bottom = (
            value * side for value, side in zip(element["box"], (width, height) * 2, strict=True)
        )
        wide, high = (right - left) * (1 + self.config.margin), (bottom - top) * (1 + self.config.margin)
        if hasattr(self.encoder, "aligned"):
            wide = high = max(wide, high)
        return _cut(pixels, (left + right) / 2, (top + bottom) / 2, wide, high)


def _cut(pixels: Rgb, x: float, y: float, wide: float, high: float) -> Rgb:
    """Return a box around a centre, cut to the image, at least one pixel."""
    height, width = pixels.shape[:2]
    left, right = int(max(0, np.floor(x - wide / 2))), int(min(width, np.ceil(x + wide / 2)))
    top, bottom = int(max(0, np.floor(y - high / 2))), int(min(height, np.ceil(y + high / 2)))
    left, top = min(left, width - 1), min(top, height - 1)
    return np.ascontiguousarray(pixels[top : max(bottom, top + 1), left : max(right, left + 1)])


def _crop_embedder(tables: list[pa.Table], config: CropEmbedConfig) -> CropEmbedder:
    return CropEmbedder(config, tables[1])


embed_elements = ImageTransform(_crop_embedder)


def stage(name: str, spec: CropEmbedConfig, documents: Ingest, detections: ShardStage) -> ShardStage:
    """Return the node of the embeddings of what a detector found."""
    return ShardStage(
        role="crops", short=name, flow="detect", main=False, version=1, config=spec, weights=crop_digest(spec),
        reads=(
            Read(documents, ("image",), ("image_digest",)),
            Read(detections, ("elements", "status", "present", "width", "height")),
        ),
        transform=embed_elements, feature=Feature(Ragged, "embeddings", "image"),
    )  # fmt: skip
