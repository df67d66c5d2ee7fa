"""A number of every document that is to be estimated: a column of the source, as one feature of width 1."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from fuseline.models.columns import Dense
from fuseline.models.config import FrozenConfig
from fuseline.models.regression import Transform
from fuseline.stores.schemas import embedding
from fuseline.tasks.engine.nodes import Context, Feature, Ingest, Read, ShardStage

ROLE = "targets"


class TargetConfig(FrozenConfig):
    """Which column."""

    column: str = Field(pattern=r"^num_.+", description="Column of numbers of the documents: num_ and its name")
    transform: Transform = Field("none", description="What is learnt of it; a logarithm wants numbers from 0 on")


def take_targets(tables: list[pa.Table], config: TargetConfig, context: Context) -> pa.Table:
    """Return one shard of numbers in the schema `embedding(1, float64)`.

    A document without a finite number is missing; one whose number has no logarithm is `negative` where that is learnt.
    """
    (documents,) = tables
    n = len(documents)
    given = documents[config.column] if config.column in documents.column_names else pa.nulls(n, pa.float64())
    values = np.asarray(pc.fill_null(given.cast(pa.float64()), np.nan), np.float64)
    finite = np.isfinite(values)
    fits = finite & ((values >= 0) | (config.transform != "log"))
    status = np.where(fits, "ok", np.where(finite, "negative", "missing"))
    columns = [
        documents["id"].combine_chunks().cast(pa.string()),
        pa.array(status.tolist(), pa.string()),
        pa.array(fits),
        pa.FixedSizeListArray.from_arrays(pa.array(np.where(fits, values, 0.0)), 1),
    ]
    return pa.Table.from_arrays(columns, schema=embedding(1, pa.float64()))


def stage(name: str, config: TargetConfig, documents: Ingest) -> ShardStage:
    """Return the node of the numbers."""
    return ShardStage(
        role=ROLE, short=name, flow="train", main=False, version=1, config=config, layout="parquet",
        reads=(Read(documents, (config.column,)),), transform=take_targets, feature=Feature(Dense, "embedding", ""),
    )  # fmt: skip
