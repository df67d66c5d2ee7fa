"""Images and texts -> embeddings: the embed stages."""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field, SerializeAsAny, WithJsonSchema, model_validator

from models.config import FrozenConfig, knob
from models.encoders import encoder_options, get_encoder
from models.encoders.base import Encoder, Modality
from stores.schemas import embedding
from tasks.images import DECODER, WHITE, ImageError, ImageLimits, decode, open_image

logger = logging.getLogger(__name__)

Dtype = Literal["float16", "float32"]
Options = Annotated[SerializeAsAny[FrozenConfig], WithJsonSchema({"type": "object", "default": {}})]
_TINY = 1e-12  # a norm below this is a zero vector


class _EmbedConfig(FrozenConfig):
    """What the image and the text stage share."""

    encoder: str
    options: Options = Field(default_factory=FrozenConfig)  # of the encoder: `fuseline list encoders`
    dtype: Dtype = "float16"
    normalise: Literal["none", "l2"] = "none"  # l2: unit length, zero vectors stay zero

    @model_validator(mode="before")
    @classmethod
    def _options_of_the_encoder(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        name = values.get("encoder", cls.model_fields["encoder"].default)
        return {**values, "options": encoder_options(name, values.get("options") or {}, modality=cls.modality())}

    @classmethod
    def modality(cls) -> Modality:
        """Return the kind of encoder that this stage takes."""
        raise NotImplementedError


class ImageEmbedConfig(_EmbedConfig):
    """One embedding per document's image."""

    encoder: str = "efficientnet_lite2"
    limits: ImageLimits = ImageLimits()
    background: tuple[int, int, int] = WHITE  # what shows through transparent pixels, RGB
    batch_size: int = knob(4, ge=1)
    decode_threads: int = knob(2, ge=1)

    @classmethod
    def modality(cls) -> Modality:
        """Return "image"."""
        return "image"


class TextEmbedConfig(_EmbedConfig):
    """One embedding per document's text."""

    encoder: str = "minilm"
    field: Literal["text", "title", "description"] = "text"  # of the cleaned document
    batch_size: int = knob(32, ge=1)

    @classmethod
    def modality(cls) -> Modality:
        """Return "text"."""
        return "text"


class Prepared(NamedTuple):
    """One item on its way to an encoder: `item` is None unless the status is ok."""

    row: int
    status: str
    item: Any


def embed_images(documents: pa.Table, config: ImageEmbedConfig, *, source: str) -> pa.Table:
    """Return the embeddings (n, dim) of documents' images, in the documents' order.

    `source` is the folder or URL below which image references lie. While a batch is encoded, the next ones are read,
    decoded and scaled by `decode_threads` threads. Status: ok, missing, no_image, bad_uri, bad_image, too_large,
    timeout, not_finite, overflow. Raises MissingWeights.
    """
    encoder = _encoder(config)

    def prepare(row: int) -> Prepared:
        try:
            data = open_image(images[row].as_py(), source, limits=config.limits)
            pixels = decode(data, limits=config.limits, min_side=encoder.min_side, background=config.background)
        except ImageError as refused:
            return Prepared(row, refused.slug, None)
        return Prepared(row, "ok", encoder.prepare(pixels))

    if "image" not in documents.column_names:
        return _table(documents, _Vectors(documents.num_rows, encoder.dim), config)
    images = documents["image"]
    with ThreadPoolExecutor(config.decode_threads, thread_name_prefix="decode") as pool:
        prepared = _ahead(pool, prepare, range(documents.num_rows), depth=2 * config.batch_size + config.decode_threads)
        return _table(documents, _encoded(prepared, documents.num_rows, encoder, config.batch_size), config)


def embed_text(cleaned: pa.Table, config: TextEmbedConfig) -> pa.Table:
    """Return the embeddings (n, dim) of one cleaned field, in the documents' order; an empty text is `missing`.

    Texts are encoded from the longest to the shortest, so that a batch holds little padding. Raises MissingWeights.
    """
    encoder = _encoder(config)
    texts = cleaned[config.field].to_pylist()
    filled = [row for row, text in enumerate(texts) if text and not text.isspace()]
    order = sorted(filled, key=lambda row: -len(texts[row]))
    prepared = (Prepared(row, "ok", encoder.prepare(texts[row])) for row in order)
    return _table(cleaned, _encoded(prepared, len(texts), encoder, config.batch_size), config)


def embedding_dim(config: ImageEmbedConfig | TextEmbedConfig) -> int:
    """Return the length of the embeddings, without loading weights."""
    return _encoder(config).dim


def weights_digest(config: ImageEmbedConfig | TextEmbedConfig) -> str:
    """Return what a dataset key must hold beside the config: weights, pre-processing, runtime and image decoder.

    Reads the weight file once per process and imports no torch. Raises MissingWeights.
    """
    digest = _encoder(config).digest
    return f"{digest} {DECODER}" if isinstance(config, ImageEmbedConfig) else digest


def _encoder(config: _EmbedConfig) -> Encoder:
    return get_encoder(config.encoder, config.options)


class _Vectors:
    """Embeddings and statuses being filled in: rows never reached are missing."""

    def __init__(self, n_rows: int, dim: int) -> None:
        self.values = np.zeros((n_rows, dim), np.float32)
        self.status = np.full(n_rows, "missing", dtype=object)


def _encoded(prepared: Iterable[Prepared], n_rows: int, encoder: Encoder, batch_size: int) -> _Vectors:
    vectors = _Vectors(n_rows, encoder.dim)
    for batch in _batches(_usable(prepared, vectors.status), batch_size):
        rows = [one.row for one in batch]
        vectors.values[rows] = encoder.encode([one.item for one in batch])
        vectors.status[rows] = "ok"
    return vectors


def _usable(prepared: Iterable[Prepared], status: NDArray[Any]) -> Iterator[Prepared]:
    """Yield the items that can be encoded; the others leave their status."""
    for one in prepared:
        if one.status == "ok":
            yield one
        else:
            status[one.row] = one.status


def _batches(items: Iterator[Prepared], size: int) -> Iterator[list[Prepared]]:
    while batch := list(islice(items, size)):
        yield batch


def _ahead(
    pool: ThreadPoolExecutor, function: Callable[[int], Prepared], rows: Sequence[int], *, depth: int
) -> Iterator[Prepared]:
    """Yield function(row) in order, at most `depth` rows ahead of the reader: memory stays flat."""
    waiting: list[Future[Prepared]] = []
    try:
        for row in rows:
            waiting.append(pool.submit(function, row))
            if len(waiting) > depth:
                yield waiting.pop(0).result()
        while waiting:
            yield waiting.pop(0).result()
    finally:
        for future in waiting:
            future.cancel()


def _table(rows: pa.Table, vectors: _Vectors, config: _EmbedConfig) -> pa.Table:
    """Return the stage's output; a vector that its dtype can't hold is marked and zeroed."""
    values, status = vectors.values, vectors.status
    _refuse(vectors, ~np.isfinite(values).all(axis=1), "not_finite")
    if config.normalise == "l2":
        norms = np.linalg.norm(values, axis=1, keepdims=True)
        values /= np.where(norms < _TINY, 1.0, norms)
    largest = float(np.finfo(config.dtype).max)
    _refuse(vectors, (np.abs(values) > largest).any(axis=1), "overflow")
    schema = embedding(values.shape[1], pa.from_numpy_dtype(config.dtype))
    flat = pa.array(values.astype(config.dtype).reshape(-1))
    columns = [
        rows["id"].combine_chunks().cast(pa.string()),
        pa.array(status.tolist(), pa.string()),
        pa.array(status == "ok", pa.bool_()),
        pa.FixedSizeListArray.from_arrays(flat, values.shape[1]),
    ]
    return pa.Table.from_arrays(columns, schema=schema)


def _refuse(vectors: _Vectors, bad: Any, slug: str) -> None:
    """Mark the rows of a mask (n,) and zero their vectors."""
    if bad.any():
        logger.warning("%d embeddings are %s: their rows are marked", int(bad.sum()), slug)
        vectors.values[bad] = 0.0
        vectors.status[bad] = slug
