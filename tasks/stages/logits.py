"""Logits of a classifier, as input of other models: one shard of features -> one shard of logits."""

import numpy as np
import orjson
import pyarrow as pa
from numpy.typing import NDArray

from fuseline.models.columns import Logits
from fuseline.models.config import FrozenConfig
from fuseline.models.features import Block
from fuseline.models.scoring import has_input, logit_parts
from fuseline.tasks.engine.nodes import Context, Feature, Fit, Read, ShardStage
from fuseline.tasks.engine.shard_features import block_of
from fuseline.tasks.stages.predict import load_classifier
from fuseline.tasks.stages.train import ModelConfig, Readable


class LogitsConfig(FrozenConfig):
    """The model whose logits are written."""

    kind: str


def predict_logits(tables: list[pa.Table], config: LogitsConfig, context: Context) -> pa.Table:
    """Return logits (n, C) float32 of one shard; a document that has nothing the model reads is not present: zeros.

    The column names its classes, and what makes probabilities of it.
    """
    (folder,) = context.checkpoints.values()
    classifier = load_classifier(config.kind, folder)
    block, width = block_of(context.reads, tables), len(classifier.labels)
    parts = [logits for _, logits in logit_parts(classifier, block)]
    scores, present = np.concatenate([np.zeros((0, width), np.float32), *parts]), has_input(classifier, block)
    metadata = {"labels": orjson.dumps(classifier.labels).decode(), "link": classifier.link}
    return scored(block, scores, present, "logits", metadata)


def scored(
    block: Block, values: NDArray[np.float32], present: NDArray[np.bool_], field: str, metadata: dict[str, str]
) -> pa.Table:
    """Return what a model makes of documents as a table: numbers (n, width) in `field`, zeros where not present."""
    values = np.where(present[:, None], values, np.float32(0))
    columns = {
        "id": block.ids.cast(pa.string()),
        "status": pa.array(np.where(present, "ok", "no_input").tolist(), pa.string()),
        "present": pa.array(present),
        field: pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1), pa.float32()), values.shape[1]),
    }
    fields = [pa.field(name, column.type, nullable=False) for name, column in columns.items()]
    fields[-1] = fields[-1].with_metadata(metadata)
    return pa.Table.from_arrays(list(columns.values()), schema=pa.schema(fields))


ROLE = "logits"


def stage(name: str, spec: ModelConfig, sources: Readable, fit: Fit) -> ShardStage:
    """Return the node of a model's logits."""
    reads = sources.reads(spec, "id")
    modality = modality_of(reads)
    return ShardStage(
        role=ROLE, short=name, flow="predict", main=False, version=1, layout="zarr", reads=reads, fits=(fit,),
        config=LogitsConfig(kind=spec.kind), transform=predict_logits, feature=Feature(Logits, "logits", modality),
    )  # fmt: skip


def modality_of(reads: tuple[Read, ...]) -> str:
    """Return the modality that all columns of documents are made from; "" when there are several."""
    modalities = {read.node.feature.modality for read in reads if read.node.feature is not None}
    return modalities.pop() if len(modalities) == 1 else ""
