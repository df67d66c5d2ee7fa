"""Inputs of a document -> how alike every two of them are, in a space that training rows span (P-17)."""

from typing import ClassVar

import numpy as np
import pyarrow as pa

from fuseline.models.columns import Dense
from fuseline.models.config import FrozenConfig
from fuseline.models.encoders.shared_space import SharedSpace, SharedSpaceConfig, pair_names
from fuseline.models.features import Features, vectors_name
from fuseline.stores.schemas import embedding
from fuseline.tasks.engine.cache import loaded
from fuseline.tasks.engine.nodes import Context, Feature, Fit, FitResult, Read, ShardStage, fits_of
from fuseline.tasks.engine.shard_features import block_of
from fuseline.tasks.stages.learned import read_feature
from fuseline.tasks.stages.row_vectors import row_vectors
from fuseline.tasks.stages.train import Readable


def fit_space(train: Features, valid: Features, config: SharedSpaceConfig, context: Context) -> FitResult:
    """Fit the projections of every two inputs on the training rows; no label is looked at."""
    space = SharedSpace(config).fit(train)
    return space.save, train.n_rows, {"pairs": list(pair_names(config)), "correlations": space.correlations}


def compare(tables: list[pa.Table], config: SharedSpaceConfig, context: Context) -> pa.Table:
    """Return one shard of similarities in the schema `embedding(pairs, float32)`, -1..1.

    A document without any pair is missing and holds zeros; a present one holds NaN for a pair that it lacks.
    """
    (saved,) = context.checkpoints.values()
    block = block_of(context.reads, tables)
    values = loaded(SharedSpace.load, saved).similarities(block)
    present = ~np.isnan(values).all(axis=1)
    values[~present] = 0.0
    return row_vectors(block.ids, values, present, embedding(values.shape[1], pa.float32()))


class Similarity:
    """One number per two inputs.

    Status of a row: ok, missing.
    """

    kind: ClassVar[str] = "similarity"
    summary: ClassVar[str] = "how alike every two inputs of a document are, in a space that both are projected to"
    Config: ClassVar[type[FrozenConfig]] = SharedSpaceConfig

    @staticmethod
    def reads(config: SharedSpaceConfig) -> tuple[str, ...]:
        """Return the embeddings and stages that it reads."""
        return config.inputs

    @staticmethod
    def node(name: str, config: SharedSpaceConfig, sources: Readable) -> ShardStage:
        """Return the node of the similarities; it is fitted by projections, and these by what fits the inputs."""
        nodes = {node.column: node for node in sources.others}
        reads = tuple(read_feature(nodes[vectors_name(one)]) for one in config.inputs)
        space = Fit(
            role="encoders", short=name, flow="embed", main=False, version=1, config=config, fit=fit_space,
            reads=(Read(sources.documents, ("split",)), *reads), fits=fits_of(read.node for read in reads),
        )  # fmt: skip
        return ShardStage(
            role="embed", short=name, flow="embed", version=1, config=config, layout="zarr", fits=(space,),
            reads=(Read(sources.documents, ("id",)), *reads), transform=compare, feature=Feature(Dense, "embedding"),
        )  # fmt: skip
