"""Images and texts -> embeddings: the embed stages."""

import logging
from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal, NamedTuple, Never, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic import Field, model_validator

from fuseline.models.columns import Dense
from fuseline.models.config import FrozenConfig, runtime_option
from fuseline.models.encoders import encoder_config, get_encoder
from fuseline.models.encoders.base import Encoder, Item, Modality
from fuseline.models.progress import note
from fuseline.stores.errors import MismatchError, mismatch
from fuseline.stores.schemas import embedding
from fuseline.tasks.engine.image_pass import ImageTransform, Outcome, run_pass
from fuseline.tasks.engine.images import DECODER, WHITE, ImageLimits, Rgb
from fuseline.tasks.engine.nodes import Context, Feature, Ingest, Read, ShardStage, Transform
from fuseline.tasks.options import ChosenConfig, Options

logger = logging.getLogger(__name__)

Vector = NDArray[np.float32]  # (dim,)
Dtype = Literal["float16", "float32"]
_TINY = 1e-12  # a norm below this is a zero vector


class EncoderChoice(ChosenConfig):
    """An encoder by name, and its options as its own type."""

    chosen_by: ClassVar[str] = "encoder"
    modalities: ClassVar[tuple[Modality, ...]]

    encoder: str = Field(description="Name of an encoder; `fuseline list encoders` shows them")
    options: Options = Field(
        default_factory=FrozenConfig, description="Options of the encoder; `fuseline describe encoder NAME` shows them"
    )

    @classmethod
    def options_type(cls, name: str) -> type[FrozenConfig]:
        """Return the type of an encoder's options."""
        return encoder_config(name, *cls.modalities)


class _EmbedConfig(EncoderChoice):
    """What the image and the text stage share."""

    dtype: Dtype = Field("float16", description="Number format of the stored vectors")
    normalise: Literal["none", "l2"] = Field(
        "none", description="l2 scales every vector to length 1; zero vectors stay zero"
    )


class ImageEmbedConfig(_EmbedConfig):
    """One embedding per document's image."""

    modalities: ClassVar[tuple[Modality, ...]] = ("image",)

    encoder: str = Field(
        "efficientnet_lite2", description="Name of an image encoder; `fuseline list encoders` shows them"
    )
    limits: ImageLimits = Field(ImageLimits(), description="What one image may cost")
    background: tuple[int, int, int] = Field(
        WHITE, description="What shows through transparent pixels: red, green and blue, 0..255 each"
    )
    batch_size: int = runtime_option(4, ge=1, description="Images per step of the network")
    decode_threads: int = runtime_option(2, ge=1, description="Threads that decode images ahead of the network")


class TextEmbedConfig(_EmbedConfig):
    """One embedding per document's text."""

    modalities: ClassVar[tuple[Modality, ...]] = ("text",)

    encoder: str = Field("minilm", description="Name of a text encoder; `fuseline list encoders` shows them")
    field: Literal["text", "title", "description", "ocr"] = Field(
        "text", description="What is embedded: a field of the cleaned document, or what was read in its image (ocr)"
    )
    detections: str | None = Field(
        None, description="Name of the detector in `detect` whose words are embedded; for the field ocr alone"
    )
    batch_size: int = runtime_option(32, ge=1, description="Texts per step of the network")

    @model_validator(mode="after")
    def _words_come_from_a_detector(self) -> Self:
        if (self.field == "ocr") != (self.detections is not None):
            cure = "give both `field: ocr` and `detections`, or neither"
            raise ValueError(mismatch("detections", "a detector beside field ocr", self.detections, cure))
        return self

    @property
    def column(self) -> str:
        """The column that is read of the cleaned documents, or of the detections."""
        return "text" if self.field == "ocr" else self.field


def embed_images(documents: pa.Table, config: ImageEmbedConfig, *, source: str) -> pa.Table:
    """Return the embeddings (n, dim) of documents' images, in the documents' order.

    `source` is the folder or URL below which image references lie. While a batch is encoded, the next ones are read,
    decoded and scaled by `decode_threads` threads. Status: ok, missing, no_image, bad_uri, bad_image, too_large,
    timeout, changed, not_finite, overflow. Raises MissingWeights.
    """
    return run_pass(documents, [ImageEmbedder(config)], source=source).tables[0]


class ImageEmbedder:
    """An encoder's part of a pass over images."""

    def __init__(self, config: ImageEmbedConfig) -> None:
        self.config = config
        self.encoder: Encoder[Rgb] = get_encoder(config.encoder, config.options)
        self.limits, self.background = config.limits, config.background
        self.batch_size, self.decode_threads = config.batch_size, config.decode_threads
        self.min_side = self.encoder.min_side

    def given(self, row: int) -> None:
        """Return None: every image is looked at."""

    def prepare(self, pixels: Rgb, row: int) -> Rgb:
        """Return the pixels as the network wants them."""
        return self.encoder.prepare(pixels)

    def compute(self, items: Sequence[Rgb]) -> list[Outcome[Vector]]:
        """Return one vector (dim,) float32 per item."""
        return [Outcome("ok", vector) for vector in _vectors(self.encoder, items)]

    def table(self, ids: pa.Array, outcomes: Sequence[Outcome[Vector]]) -> pa.Table:
        """Return the stage's output in the schema `embedding(dim, dtype)`."""
        return _table(ids, outcomes, self.encoder.dim, self.config)


def embed_text(cleaned: pa.Table, config: TextEmbedConfig) -> pa.Table:
    """Return the embeddings (n, dim) of one text column, in the documents' order; an empty text is `missing`.

    Texts are encoded from the longest to the shortest, so that a batch holds little padding. Only the part that the
    network may read is ever taken out of the table, one text at a time. Raises MissingWeights.
    """
    encoder: Encoder[str] = get_encoder(config.encoder, config.options)
    texts = cleaned[config.column]
    outcomes: list[Outcome[Vector]] = [Outcome("missing", None)] * len(texts)
    lengths = np.asarray(pc.fill_null(pc.utf8_length(texts), 0))
    # A text of white space alone counts as none; null stays null.
    filled = np.asarray(pc.fill_null(pc.invert(pc.utf8_is_space(texts)), False)) & (lengths > 0)
    order = np.argsort(-lengths, kind="stable")
    order = order[filled[order]]
    for start in range(0, len(order), config.batch_size):
        note(start, len(order))
        rows = order[start : start + config.batch_size].tolist()
        vectors = _vectors(encoder, [encoder.prepare(texts[row].as_py()) for row in rows])
        for row, vector in zip(rows, vectors, strict=True):
            outcomes[row] = Outcome("ok", vector)
    return _table(cleaned["id"].combine_chunks().cast(pa.string()), outcomes, encoder.dim, config)


def weights_digest(config: ImageEmbedConfig | TextEmbedConfig) -> str:
    """Return what a dataset key must hold beside the config: weights, pre-processing, runtime and image decoder.

    Reads the weight file once per process and imports no torch. Raises MissingWeights.
    """
    encoder: Encoder[Never] = get_encoder(config.encoder, config.options)
    digest = encoder.digest
    return f"{digest} {DECODER}" if isinstance(config, ImageEmbedConfig) else digest


def _vectors(encoder: Encoder[Item], items: Sequence[Item]) -> NDArray[np.float32]:
    """Return the vectors (n, dim) of n items; raises MismatchError when the network gives another shape."""
    vectors, expected = encoder.encode(items), (len(items), encoder.dim)
    if vectors.shape != expected:
        cure = "its weights belong to another network: give the right file"
        raise MismatchError(mismatch(f"embeddings of {type(encoder).__name__}", expected, vectors.shape, cure))
    return vectors


def _table(ids: pa.Array, outcomes: Sequence[Outcome[Vector]], dim: int, config: _EmbedConfig) -> pa.Table:
    """Return the stage's output; a vector that its dtype can't hold is marked and zeroed."""
    values = np.zeros((len(outcomes), dim), np.float32)
    status = np.array([outcome.status for outcome in outcomes], dtype=object)
    for row, outcome in enumerate(outcomes):
        if outcome.value is not None:
            values[row] = outcome.value
    _refuse(values, status, np.asarray(~np.isfinite(values).all(axis=1)), "not_finite")
    if config.normalise == "l2":
        norms = np.linalg.norm(values.astype(np.float64), axis=1, keepdims=True)
        values = (values / np.where(norms < _TINY, 1.0, norms)).astype(np.float32)
    too_large = np.abs(values) > float(np.finfo(config.dtype).max)
    _refuse(values, status, np.asarray(too_large.any(axis=1)), "overflow")
    flat = pa.array(values.astype(config.dtype).reshape(-1))
    columns = [
        ids,
        pa.array(status.tolist(), pa.string()),
        pa.array(status == "ok", pa.bool_()),
        pa.FixedSizeListArray.from_arrays(flat, dim),
    ]
    return pa.Table.from_arrays(columns, schema=embedding(dim, pa.from_numpy_dtype(config.dtype)))


def _refuse(values: NDArray[np.float32], status: NDArray[np.object_], bad: NDArray[np.bool_], slug: str) -> None:
    """Mark the rows of a mask (n,) and zero their vectors."""
    if bad.any():
        logger.warning("%d embeddings are %s: their rows are marked", int(bad.sum()), slug)
        values[bad] = 0.0
        status[bad] = slug


class Sources(NamedTuple):
    """What an embedding may be made from."""

    documents: Ingest
    clean: ShardStage
    detect: Mapping[str, ShardStage]

    def words(self, column: str, detections: str | None) -> Read:
        """Return a column of the cleaned documents, or of what a detector found."""
        return Read(self.clean if detections is None else self.detect[detections], (column,))


def embed_texts(tables: list[pa.Table], config: TextEmbedConfig, context: Context) -> pa.Table:
    """Embed one cleaned field of one shard."""
    return embed_text(tables[0], config)


def _image_embedder(tables: list[pa.Table], config: ImageEmbedConfig) -> ImageEmbedder:
    return ImageEmbedder(config)


embed_documents = ImageTransform(_image_embedder)


def image_stage(name: str, spec: ImageEmbedConfig, sources: Sources) -> ShardStage:
    """Return the node of the embeddings of images."""
    return _stage(name, spec, Read(sources.documents, ("image",), ("image_digest",)), embed_documents, "image")


def text_stage(name: str, spec: TextEmbedConfig, sources: Sources) -> ShardStage:
    """Return the node of the embeddings of texts; words that were read in an image are of the image."""
    modality = "image" if spec.field == "ocr" else "text"
    return _stage(name, spec, sources.words(spec.column, spec.detections), embed_texts, modality)


def _stage(
    name: str,
    spec: ImageEmbedConfig | TextEmbedConfig,
    read: Read,
    transform: Transform | ImageTransform,
    modality: str,
) -> ShardStage:
    return ShardStage(
        role="embed", short=name, flow="embed", version=1, config=spec, weights=weights_digest(spec), layout="zarr",
        reads=(read,), transform=transform, feature=Feature(Dense, "embedding", modality),
    )  # fmt: skip
