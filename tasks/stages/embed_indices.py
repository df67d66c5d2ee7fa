"""Words, or what a detector saw -> class indices: one fitted vocabulary, one stage that looks them up."""

from typing import Any, ClassVar, Literal, Self

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, model_validator

from fuseline.models.columns import Sequence
from fuseline.models.config import FrozenConfig
from fuseline.models.encoders.base import Modality
from fuseline.models.encoders.class_index import ClassIndex, ClassIndexConfig
from fuseline.models.features import Features
from fuseline.stores.errors import mismatch
from fuseline.stores.schemas import ragged_indices
from fuseline.tasks.engine.cache import loaded
from fuseline.tasks.engine.nodes import Context, Feature, Fit, FitResult, Read, ShardStage, TrainingRows
from fuseline.tasks.stages.crops import chosen
from fuseline.tasks.stages.embed import EncoderChoice, Sources


class IndexEmbedConfig(EncoderChoice):
    """A list of class indices per document: of its words, of the words in its image, or of what a detector saw."""

    modalities: ClassVar[tuple[Modality, ...]] = ("indices",)

    encoder: str = Field("vocabulary", description="Name of an encoder of indices; `fuseline list encoders` shows them")
    field: Literal["text", "title", "description", "ocr", "labels"] = Field(
        "text",
        description="Whose values get indices: words of a field of the cleaned document, words in its image (ocr), or "
        "labels of its objects (labels)",
    )
    detections: str | None = Field(None, description="Name of the detector in `detect`, for the fields ocr and labels")
    min_score: float = Field(
        0.65, ge=0, le=1, description="Score from which an element's label is taken; paper R takes objects from 0.65"
    )
    limit: int = Field(
        512, ge=1, description="Values per document: the first words, or the labels of the highest scores"
    )
    output: ClassVar[Literal["indices"]] = "indices"

    @model_validator(mode="after")
    def _seen_by_a_detector(self) -> Self:
        if (self.field in ("ocr", "labels")) != (self.detections is not None):
            cure = "give `detections` beside `field: ocr` or `field: labels`, and nowhere else"
            raise ValueError(mismatch("detections", "a detector beside field ocr or labels", self.detections, cure))
        return self

    @property
    def column(self) -> str:
        """The column that is read of the cleaned documents, or of the detections."""
        return {"ocr": "text", "labels": "elements"}.get(self.field, self.field)

    def fit_config(self) -> "IndexFitConfig":
        """Return what decides the fit."""
        options = ClassIndexConfig.model_validate(self.options.model_dump())
        return IndexFitConfig(options=options, field=self.field, min_score=self.min_score, limit=self.limit)


class IndexFitConfig(FrozenConfig):
    """What decides a fitted vocabulary."""

    options: ClassIndexConfig
    field: str
    min_score: float
    limit: int


def fit_vocabulary(train: TrainingRows, valid: Features, config: IndexFitConfig, context: Context) -> FitResult:
    """Fit a vocabulary on the values of the training rows; no label of a document is looked at."""
    lists = (values_of(source, config) for _, source in train.tables())
    vocabulary = ClassIndex.fit(lists, config.options)
    return vocabulary.save, train.n_rows, {"values": len(vocabulary.values)}


def embed_indices(tables: list[pa.Table], config: IndexEmbedConfig, context: Context) -> pa.Table:
    """Return one shard in the schema `ragged_indices(vocabulary)`, by the frozen vocabulary.

    A document without values is missing.
    """
    (source,), (saved,) = tables, context.checkpoints.values()
    vocabulary = loaded(ClassIndex.load, saved)
    elements = vocabulary.encode(values_of(source, config.fit_config()))
    present = pc.greater(pc.list_value_length(elements), 0)
    status = pc.if_else(present, "ok", "missing")
    ids = source["id"].combine_chunks().cast(pa.string())
    return pa.Table.from_arrays([ids, status, present, elements], schema=ragged_indices(len(vocabulary.values)))


def values_of(source: pa.Table, config: IndexFitConfig) -> pa.ListArray:
    """Return the values of each document, list<string> (n,): at most `limit`, the first or strongest."""
    if config.field == "labels":
        rows: list[Any] = source["elements"].to_pylist()
        places = (chosen(row, min_score=config.min_score, limit=config.limit) for row in rows)
        labels = [[row[place]["label"] for place in kept] for row, kept in zip(rows, places, strict=True)]
        return pa.array(labels, pa.list_(pa.string()))
    column = source["text" if config.field == "ocr" else config.field]
    words = ((text.as_py() or "").split(maxsplit=config.limit)[: config.limit] for text in column)
    return pa.array(words, pa.list_(pa.string()))


def stage(name: str, spec: IndexEmbedConfig, sources: Sources) -> ShardStage:
    """Return the node of class indices; it is fitted by a vocabulary."""
    read = sources.words(spec.column, spec.detections)
    vocabulary = Fit(
        role="encoders", short=name, flow="embed", main=False, version=1, config=spec.fit_config(), fit=fit_vocabulary,
        reads=(Read(sources.documents, ("split",)), read),
    )  # fmt: skip
    modality = "text" if spec.detections is None else "image"
    return ShardStage(
        role="embed", short=name, flow="embed", version=2, config=spec, reads=(read,), fits=(vocabulary,),
        transform=embed_indices, feature=Feature(Sequence, "indices", modality),
    )  # fmt: skip
