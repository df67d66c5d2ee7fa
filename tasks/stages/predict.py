"""One shard of features -> one shard of predictions."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from fuseline.models.config import FrozenConfig
from fuseline.models.element_shares import ElementShares, shares_by_input
from fuseline.models.features import Classifier
from fuseline.models.registry import MODELS
from fuseline.models.scoring import Scored, ragged, score
from fuseline.stores.fitted import SavedCheckpoint
from fuseline.stores.schemas import PREDICTIONS
from fuseline.tasks.engine.cache import loaded
from fuseline.tasks.engine.nodes import Context, Fit, ShardStage
from fuseline.tasks.engine.shard_features import block_of
from fuseline.tasks.stages.train import ModelConfig, Readable


class PredictConfig(FrozenConfig):
    """How predictions are written."""

    model: str
    kind: str
    top_k: int


def predict(tables: list[pa.Table], config: PredictConfig, context: Context) -> pa.Table:
    """Return one PREDICTIONS row per document; one that has nothing the model reads gets `no_input` and no label."""
    ((name, saved),) = context.checkpoints.items()
    classifier = load_classifier(config.kind, saved)
    block = block_of(context.reads, tables)
    keys = [f"{n}={key}" for n, key in sorted(context.lineage.items()) if n != "self"]
    key = f"{context.lineage[name]}/{saved.name}"
    parts = [
        _table(part, classifier, config, key, keys) for part in score(classifier, block, k=config.top_k, explain=True)
    ]
    return pa.concat_tables(parts) if parts else PREDICTIONS.empty_table()


def load_classifier(kind: str, saved: SavedCheckpoint) -> Classifier:
    """Load a classifier once per process; raises DataError."""
    classifier: Classifier = loaded(MODELS[kind].load, saved)
    return classifier


def _table(part: Scored, classifier: Classifier, config: PredictConfig, model_key: str, keys: list[str]) -> pa.Table:
    n, seen, names = len(part.block), pa.array(part.seen), pa.array(classifier.labels, pa.string())
    scores = part.top_probabilities
    told = part.told
    by_input = classifier.importance(part.block, part.best) if told is None else shares_by_input(told)
    shares = sorted(by_input.items())
    share = np.stack([values for _, values in shares], axis=1) if shares else np.zeros((n, 0), np.float32)
    modalities = np.tile(np.array([modality for modality, _ in shares], object), (n, 1))
    sizes = np.where(part.seen, pc.list_value_length(part.predicted), 0)
    columns = {
        "id": part.block.ids,
        "model": pa.array([config.model] * n, pa.string()),
        "label": pc.if_else(seen, names.take(pa.array(part.best)), None),
        "score": pc.if_else(seen, pa.array(scores[:, 0]), None),
        "top_k": _pairs(part.seen, "label", np.array(classifier.labels, object)[part.top], "score", scores),
        "predicted": ragged(sizes, pc.list_flatten(part.predicted.filter(seen))),
        "rank": pc.if_else(seen, part.rank, None),
        "loss": pc.if_else(seen, part.loss, None),
        "importance": _pairs(part.seen, "modality", modalities, "share", share),
        "element_shares": no_elements(n) if told is None else element_lists(told),
        "status": pc.if_else(seen, "ok", "no_input"),
        "model_key": pa.array([model_key] * n, pa.string()),
        "dataset_keys": pa.array([keys] * n, pa.list_(pa.string())),
    }
    return pa.Table.from_arrays([columns[name] for name in PREDICTIONS.names], schema=PREDICTIONS)


def no_elements(n: int) -> pa.ListArray:
    """Return the column `element_shares` of n documents of a model that cannot tell."""
    return pa.array([[]] * n, PREDICTIONS.field("element_shares").type)


def element_lists(told: ElementShares) -> pa.ListArray:
    """Return the column `element_shares` of some documents: elements in their order, input after input."""
    n = len(told.dead)
    rows = np.concatenate([np.repeat(np.arange(n), one.lengths) for one in told.inputs.values()])
    order = np.argsort(rows, kind="stable")
    names = np.concatenate([np.full(len(one.values), name, object) for name, one in told.inputs.items()])
    places, values = (
        np.concatenate([getattr(one, field) for one in told.inputs.values()]) for field in ("places", "values")
    )
    whole = np.concatenate([np.full(len(one.values), one.whole) for one in told.inputs.values()])
    flat = [
        pa.array(names[order], pa.string()),
        pa.array(places[order], pa.int32(), mask=whole[order]),
        pa.array(values[order], pa.float32()),
    ]
    structs = pa.StructArray.from_arrays(flat, names=["input", "element", "share"])
    return ragged(np.bincount(rows, minlength=n), structs)


def _pairs(
    seen: NDArray[np.bool_], name: str, names: NDArray[np.object_], value: str, values: NDArray[np.float32]
) -> pa.ListArray:
    """Return (n,) lists of (name, value) of names (n, k) and values (n, k); empty where a document was not seen."""
    flat = [pa.array(names[seen].ravel(), pa.string()), pa.array(values[seen].ravel(), pa.float32())]
    return ragged(seen * values.shape[1], pa.StructArray.from_arrays(flat, names=[name, value]))


ROLE = "predictions"


def stage(name: str, spec: ModelConfig, sources: Readable, fit: Fit, *, top_k: int) -> ShardStage:
    """Return the node of a model's predictions."""
    return ShardStage(
        role=ROLE, short=name, flow="predict", version=4, reads=sources.reads(spec, "labels"), fits=(fit,),
        config=PredictConfig(model=name, kind=spec.kind, top_k=top_k), transform=predict,
    )  # fmt: skip
