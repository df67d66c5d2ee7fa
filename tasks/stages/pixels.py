"""Images -> pictures of one size, decoded once: what image networks train on."""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import pyarrow as pa
from pydantic import Field

from fuseline.models.columns import Column, Pixels
from fuseline.models.config import FrozenConfig, runtime_option
from fuseline.models.frames import Frame, resized
from fuseline.stores.schemas import column, embedding
from fuseline.tasks.engine.image_pass import ImageTransform, Outcome
from fuseline.tasks.engine.images import DECODER, WHITE, ImageLimits, Rgb
from fuseline.tasks.engine.nodes import Feature, Read, ShardStage
from fuseline.tasks.stages.train import Readable

COMMENT = "red, green and blue of every pixel, row by row"


class PixelsConfig(FrozenConfig):
    """One picture per document."""

    side: int = Field(
        224,
        ge=1,
        le=2048,
        description="Pixels of height and of width; while a shard is made, its pictures are in memory twice: 2 GB for "
        "4,096 of 300 pixels, which a lower shard_size cuts",
    )
    frame: Frame = Field("crop", description="crop: the centre square of the image; stretch: the whole image")
    limits: ImageLimits = Field(ImageLimits(), description="What one image may cost")
    background: tuple[int, int, int] = Field(
        WHITE, description="What shows through transparent pixels: red, green and blue, 0..255 each"
    )
    decode_threads: int = runtime_option(2, ge=1, description="Threads that decode images")


def pixels_schema(side: int) -> pa.Schema:
    """Return the schema of one picture per document: (n, side x side x 3) uint8, zeros where present is False.

    The field of the pixels says their shape, as JSON.
    """
    what = column("pixels", pa.list_(pa.uint8(), side * side * 3), COMMENT, nullable=False)
    id_status_present = list(embedding(1, pa.uint8()))[:3]
    return pa.schema([*id_status_present, what.with_metadata({**what.metadata, b"shape": f"[{side}, {side}, 3]"})])


class PixelScaler:
    """The part of a pass over images that keeps their pixels: upright, without alpha, scaled bicubically."""

    batch_size = 16

    def __init__(self, config: PixelsConfig) -> None:
        self.config = config
        self.min_side: int | None = config.side
        self.limits, self.background = config.limits, config.background
        self.decode_threads = config.decode_threads

    def given(self, row: int) -> None:
        """Return None: every image is looked at."""

    def prepare(self, pixels: Rgb, row: int) -> Rgb:
        """Return the picture (side, side, 3) uint8 of an image."""
        return resized(pixels, self.config.side, self.config.frame)

    def compute(self, items: Sequence[Rgb]) -> list[Outcome[Rgb]]:
        """Return the pictures as they are."""
        return [Outcome("ok", item) for item in items]

    def table(self, ids: pa.Array, outcomes: Sequence[Outcome[Rgb]]) -> pa.Table:
        """Return the stage's output in the schema `pixels_schema(side)`."""
        side = self.config.side
        values = np.zeros((len(outcomes), side, side, 3), np.uint8)
        for row, outcome in enumerate(outcomes):
            if outcome.value is not None:
                values[row] = outcome.value
        status = [outcome.status for outcome in outcomes]
        flat = pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), side * side * 3)
        columns = [ids, pa.array(status, pa.string()), pa.array([one == "ok" for one in status], pa.bool_()), flat]
        return pa.Table.from_arrays(columns, schema=pixels_schema(side))


def _scaler(tables: list[pa.Table], config: PixelsConfig) -> PixelScaler:
    return PixelScaler(config)


class PixelsStage:
    """Pictures, one per document.

    Status of a row: ok, missing, no_image, bad_uri, bad_image, too_large, timeout, changed; pictures of others than ok
    are black and not present.
    """

    kind: ClassVar[str] = "pixels"
    summary: ClassVar[str] = "pictures of one size, decoded once: what image networks train on"
    Config: ClassVar[type[FrozenConfig]] = PixelsConfig
    makes: ClassVar[type[Column]] = Pixels

    @staticmethod
    def node(name: str, config: PixelsConfig, sources: Readable) -> ShardStage:
        """Return the node over the images of documents."""
        return ShardStage(
            role="embed", short=name, flow="embed", version=1, config=config, weights=DECODER, layout="zarr",
            reads=(Read(sources.documents, ("image",), ("image_digest",)),), transform=ImageTransform(_scaler),
            feature=Feature(Pixels, "pixels", "image"),
        )  # fmt: skip
