"""What the last layer of a network reads, as vectors for other models: one shard of features -> one shard of these."""

from typing import cast

import pyarrow as pa

from fuseline.models.columns import Dense
from fuseline.models.config import FrozenConfig
from fuseline.models.features import HasHidden
from fuseline.models.registry import MODELS
from fuseline.models.scoring import has_input
from fuseline.tasks.engine.nodes import Context, Feature, Fit, ShardStage
from fuseline.tasks.engine.shard_features import block_of
from fuseline.tasks.stages.logits import modality_of, scored
from fuseline.tasks.stages.predict import load_classifier
from fuseline.tasks.stages.train import ModelConfig, Readable


class HiddenConfig(FrozenConfig):
    """The model whose vectors are written."""

    kind: str


def predict_hidden(tables: list[pa.Table], config: HiddenConfig, context: Context) -> pa.Table:
    """Return vectors (n, H) float32 of one shard; a document that has nothing the model reads is not present: zeros."""
    (folder,) = context.checkpoints.values()
    classifier, block = load_classifier(config.kind, folder), block_of(context.reads, tables)
    vectors = cast(HasHidden, classifier).hidden(block)  # others are refused with the configuration
    return scored(block, vectors, has_input(classifier, block), "embedding", {})


def has_hidden(kind: str) -> bool:
    """Return whether models of a kind have hidden vectors."""
    return hasattr(MODELS[kind], "hidden")  # of a class: its instances are what HasHidden describes


def stage(name: str, spec: ModelConfig, sources: Readable, fit: Fit) -> ShardStage:
    """Return the node of a model's hidden vectors."""
    reads = sources.reads(spec, "id")
    return ShardStage(
        role="hidden", short=name, flow="predict", main=False, version=1, layout="zarr", reads=reads, fits=(fit,),
        config=HiddenConfig(kind=spec.kind), transform=predict_hidden,
        feature=Feature(Dense, "embedding", modality_of(reads)),
    )  # fmt: skip
