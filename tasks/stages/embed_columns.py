"""Tabular columns -> embeddings or class indices: one fitted encoder, one stage that encodes shards with it."""

from typing import ClassVar, Literal, Never, Self, cast

import numpy as np
import pyarrow as pa
from pydantic import Field, model_validator

from fuseline.models.columns import Dense, Sequence
from fuseline.models.config import FrozenConfig, added
from fuseline.models.encoders import column_encoder
from fuseline.models.encoders.base import IndexEncoder, Modality
from fuseline.models.encoders.tabular import CATEGORY, NUMERIC
from fuseline.models.features import Features
from fuseline.stores.errors import mismatch
from fuseline.stores.schemas import embedding, indices
from fuseline.tasks.engine.cache import loaded
from fuseline.tasks.engine.nodes import Context, Feature, Fit, FitResult, Read, ShardStage, TrainingRows
from fuseline.tasks.stages.embed import Dtype, EncoderChoice, Sources
from fuseline.tasks.stages.row_vectors import row_vectors


class TabularEmbedConfig(EncoderChoice):
    """One vector, or one row of class indices, per document's table columns."""

    modalities: ClassVar[tuple[Modality, ...]] = ("tabular",)

    encoder: str = Field("tabular", description="Name of a tabular encoder; `fuseline list encoders` shows them")
    output: Literal["vectors", "indices"] = Field("vectors", description="vectors, or integers for index embeddings")
    dtype: Dtype = Field("float32", description="Number format of the stored vectors")
    seed: int = Field(0, description="Seed of the draw of values that quantiles are taken from")

    def fit_config(self) -> "TabularFitConfig":
        """Return what decides the fit: how it is written does not."""
        return TabularFitConfig(encoder=self.encoder, options=self.options, seed=self.seed)

    @model_validator(mode="after")
    def _can_give_indices(self) -> Self:
        if self.output == "indices" and not hasattr(column_encoder(self.encoder), "indices"):
            cure = f"{self.encoder} has no class indices"
            raise ValueError(mismatch("output", "vectors", self.output, cure))
        return self

    def reads(self) -> tuple[str, ...]:
        """Return the document columns to read, patterns included."""
        columns: tuple[str, ...] | None = getattr(self.options, "columns", None)
        return (f"{NUMERIC}*", f"{CATEGORY}*") if columns is None else columns


class TabularFitConfig(FrozenConfig):
    """What decides a fitted encoder of columns."""

    encoder: str = added("tabular")
    options: FrozenConfig
    seed: int


def fit_tabular(train: TrainingRows, valid: Features, config: TabularFitConfig, context: Context) -> FitResult:
    """Fit scales, bins and vocabularies on the training rows' columns; no label is looked at.

    Raises ValueError when a configured column is in no training row, or none holds a value.
    """
    tables = (documents for documents, *_ in train.tables())
    encoder = column_encoder(config.encoder).fit(tables, cast(Never, config.options), seed=config.seed)
    if not encoder.dim:
        cure = "name the source's columns in source.options.tabular, or leave this embedding out"
        raise ValueError(f"columns: expected num_* or cat_* with a value in the training rows, got none; {cure}")
    return encoder.save, train.n_rows, {"dimensions": encoder.names(), "dim": encoder.dim}


def embed_tabular(tables: list[pa.Table], config: TabularEmbedConfig, context: Context) -> pa.Table:
    """Return one shard in the schema `embedding(dim, dtype)` or `indices(columns, vocabulary)`, by the frozen encoder.

    A document without a known value is missing and holds zeros; a present one holds NaN where a value is missing or
    unknown, or the index 0.
    """
    (documents,), (saved,) = tables, context.checkpoints.values()
    encoder = loaded(column_encoder(config.encoder).load, saved)
    if config.output == "indices":
        places, vocabulary = cast(IndexEncoder, encoder).indices(documents), cast(IndexEncoder, encoder).vocabulary
        return row_vectors(
            documents["id"].combine_chunks(), places, np.any(places > 0, axis=1), indices(places.shape[1], vocabulary)
        )
    vectors, present = encoder.encode(documents, missing=np.nan)
    vectors[~present] = 0.0
    schema = embedding(encoder.dim, pa.from_numpy_dtype(config.dtype))
    return row_vectors(documents["id"].combine_chunks(), vectors.astype(config.dtype), present, schema)


def stage(name: str, spec: TabularEmbedConfig, sources: Sources) -> ShardStage:
    """Return the node of encoded columns; it is fitted by an encoder of them."""
    columns, indices = spec.reads(), spec.output == "indices"
    encoder = Fit(
        role="encoders", short=name, flow="embed", main=False, version=1, config=spec.fit_config(), fit=fit_tabular,
        reads=(Read(sources.documents, ("split", *columns)),),
    )  # fmt: skip
    return ShardStage(
        role="embed", short=name, flow="embed", version=2 if indices else 1, config=spec,
        layout="parquet" if indices else "zarr",
        reads=(Read(sources.documents, columns),), fits=(encoder,), transform=embed_tabular,
        feature=Feature(Sequence, "indices", "tabular") if indices else Feature(Dense, "embedding", "tabular"),
    )  # fmt: skip
