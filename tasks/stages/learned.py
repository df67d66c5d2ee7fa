"""Several inputs -> a code of each document, by an autoencoder that is fitted without labels (paper P)."""

from typing import ClassVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field

from fuseline.models.columns import Column, Dense, Pixels
from fuseline.models.config import FrozenConfig
from fuseline.models.encoders.autoencoder import Autoencoder, AutoencoderConfig
from fuseline.models.features import Features, vectors_name
from fuseline.stores.schemas import embedding
from fuseline.tasks.engine.cache import loaded
from fuseline.tasks.engine.nodes import Context, Feature, Fit, FitResult, Read, ShardStage, fits_of
from fuseline.tasks.engine.shard_features import block_of
from fuseline.tasks.stages.logits import modality_of
from fuseline.tasks.stages.row_vectors import row_vectors
from fuseline.tasks.stages.train import Readable


class LearnedConfig(AutoencoderConfig):
    """An autoencoder, and the seed of its first weights and the order of documents."""

    seed: int = Field(0, description="Seed of all random draws")

    def options(self) -> AutoencoderConfig:
        """Return the options of the autoencoder."""
        return AutoencoderConfig(**{name: getattr(self, name) for name in AutoencoderConfig.model_fields})


def fit_codes(train: Features, valid: Features, config: LearnedConfig, context: Context) -> FitResult:
    """Fit an autoencoder on the training rows; no label is looked at.

    The facts hold, by input, the mean squared error on valid rows, and its share of what the training mean has.
    """
    encoder = Autoencoder(config.options()).fit(train, seed=config.seed, scratch=context.scratch)
    facts = {**encoder.facts, "numbers": encoder.width}
    if valid.n_rows:
        facts["valid_error"] = errors_of(encoder, valid)
    return encoder.save, train.n_rows, facts


def errors_of(encoder: Autoencoder, features: Features) -> dict[str, dict[str, float]]:
    """Return, by input, the `documents` that have it, their mean squared error, and its share of the mean's error."""
    sums: dict[str, NDArray[np.float64]] = {}
    for block in features.blocks():
        for name, total in encoder.error_sums(block).items():
            sums[name] = sums.get(name, np.zeros(3)) + total
    return {
        name: {"documents": n, "mse": error / max(n, 1), "share": error / spread if spread else 0.0}
        for name, (n, error, spread) in ((name, total.tolist()) for name, total in sums.items())
    }


def encode(tables: list[pa.Table], config: LearnedConfig, context: Context) -> pa.Table:
    """Return one shard of codes in the schema `embedding(width, float32)`, with the frozen autoencoder.

    A document that has none of the inputs is missing and holds zeros.
    """
    (saved,) = context.checkpoints.values()
    encoder, block = loaded(Autoencoder.load, saved), block_of(context.reads, tables)
    present = encoder.present(block)
    codes = np.where(present[:, None], encoder.codes(block), np.float32(0))
    return row_vectors(block.ids, codes, present, embedding(encoder.width, pa.float32()))


class LearnedCodes:
    """Codes of documents, learnt from other vectors and pictures.

    Status of a row: ok, missing.
    """

    kind: ClassVar[str] = "learned"
    summary: ClassVar[str] = "codes of one input or several, learnt without labels by an autoencoder (paper P)"
    Config: ClassVar[type[FrozenConfig]] = LearnedConfig
    takes: ClassVar[tuple[type[Column], ...]] = (Dense, Pixels)

    @staticmethod
    def reads(config: LearnedConfig) -> tuple[str, ...]:
        """Return the embeddings and stages that it reads."""
        return config.inputs

    @staticmethod
    def node(name: str, config: LearnedConfig, sources: Readable) -> ShardStage:
        """Return the node of the codes; it is fitted by an autoencoder, and that by what fits the inputs."""
        nodes = {node.column: node for node in sources.others}
        reads = tuple(read_feature(nodes[vectors_name(one)]) for one in config.inputs)
        autoencoder = Fit(
            role="encoders", short=name, flow="embed", main=False, version=1, config=config, fit=fit_codes,
            reads=(Read(sources.documents, ("split",)), *reads), fits=fits_of(read.node for read in reads),
        )  # fmt: skip
        documents = Read(sources.documents, ("id",))
        return ShardStage(
            role="embed", short=name, flow="embed", version=1, config=config, layout="zarr", fits=(autoencoder,),
            reads=(documents, *reads), transform=encode, feature=Feature(Dense, "embedding", modality_of(reads)),
        )  # fmt: skip


def read_feature(node: ShardStage) -> Read:
    """Return the read of what a stage makes for models."""
    return Read(node, () if node.feature is None else node.feature.columns)
