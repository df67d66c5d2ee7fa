"""One shard of features -> one shard of predictions."""

from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from models.config import FrozenConfig
from models.features import Block, Classifier
from models.registry import MODELS
from stores.schemas import PREDICTIONS
from tasks.fit import block_of
from tasks.nodes import Context

# Logits are made for at most this many (row, class) pairs at a time: 64 MB of float32.
CELLS = 1 << 24


class PredictConfig(FrozenConfig):
    """How predictions are written. `features` names the upstream datasets in the order of the stage's tables."""

    model: str
    kind: str
    top_k: int
    features: tuple[str, ...]


class Scored(NamedTuple):
    """Some rows, scored; every field has one entry per row."""

    top: NDArray[np.int64]  # (n, k) classes, best first
    scores: NDArray[np.float32]  # (n, k) their probabilities
    predicted: list[list[str]]
    rank: list[int | None]
    loss: list[float | None]
    shares: dict[str, NDArray[np.float32]]  # modality -> (n,)


def predict(tables: list[pa.Table], config: PredictConfig, context: Context) -> pa.Table:
    """Return one PREDICTIONS row per document; one that has nothing the model reads gets `no_input` and no label."""
    ((name, folder),) = context.checkpoints.items()
    classifier = load_classifier(config.kind, folder)
    block = block_of(dict(zip(config.features, tables, strict=True)))
    size = max(1, CELLS // max(1, len(classifier.labels)))
    parts = [_score(classifier, block.at(slice(at, at + size)), config.top_k) for at in range(0, len(block), size)]
    readable = has_input(classifier, block)
    keys = [f"{n}={key}" for n, key in sorted(context.lineage.items()) if n != "self"]
    labels = classifier.labels
    rows: list[dict[str, Any]] = []
    for part in parts:
        for i in range(len(part.top)):
            seen = bool(readable[len(rows)])
            rows.append(_row(part, i, labels) if seen else _NOTHING)
    fixed = {"model": config.model, "model_key": f"{context.lineage[name]}/{folder.name}", "dataset_keys": keys}
    ids = tables[0]["id"].to_pylist()
    found = [{"id": i, **row, **fixed} for i, row in zip(ids, rows, strict=True)]
    return pa.Table.from_pylist(found, schema=PREDICTIONS)


@lru_cache(maxsize=8)
def load_classifier(kind: str, folder: Path) -> Classifier:
    """Load a checkpoint once per process."""
    classifier: Classifier = MODELS[kind].classifier.load(folder)
    return classifier


def has_input(classifier: Classifier, block: Block) -> NDArray[np.bool_]:
    """Tell which documents hold anything that the classifier reads, (n,) bool."""
    found = np.zeros(len(block), bool)
    if classifier.uses_text:
        found |= np.array([bool(text) for text in block.text.to_pylist()], bool)
    for mask in block.present.values():
        found |= mask
    return found


def _score(classifier: Classifier, block: Block, top_k: int) -> Scored:
    probabilities = classifier.probabilities(classifier.predict_logits(block))
    k = min(top_k, probabilities.shape[1])
    top = np.argsort(-probabilities, axis=1, kind="stable")[:, :k]
    scores = np.take_along_axis(probabilities, top, axis=1)
    rank, loss = _own(classifier.labels, block, probabilities)
    predicted = _sets(classifier, probabilities, top[:, 0])
    return Scored(top, scores, predicted, rank, loss, classifier.importance(block, top[:, 0]))


def _sets(classifier: Classifier, probabilities: NDArray[np.float32], best: NDArray[np.int64]) -> list[list[str]]:
    if not classifier.multi_label:
        return [[classifier.labels[c]] for c in best]
    return [[classifier.labels[c] for c in np.flatnonzero(row >= classifier.threshold)] for row in probabilities]


def _own(
    labels: list[str], block: Block, probabilities: NDArray[np.float32]
) -> tuple[list[int | None], list[float | None]]:
    """Return rank of the best own label and mean -log probability of the own labels; None where none is known."""
    index = {label: c for c, label in enumerate(labels)}
    rank: list[int | None] = []
    loss: list[float | None] = []
    for row, own in zip(probabilities, block.labels.to_pylist(), strict=True):
        known = [index[label] for label in own if label in index]
        rank.append(int((row > row[known].max()).sum()) if known else None)
        loss.append(float(-np.log(np.maximum(row[known], TINY)).mean()) if known else None)
    return rank, loss


def _row(part: Scored, i: int, labels: list[str]) -> dict[str, Any]:
    names = [labels[c] for c in part.top[i]]
    scores = part.scores[i].tolist()
    return {
        "label": names[0],
        "score": scores[0],
        "top_k": [{"label": label, "score": score} for label, score in zip(names, scores, strict=True)],
        "predicted": part.predicted[i],
        "rank": part.rank[i],
        "loss": part.loss[i],
        "importance": [{"modality": m, "share": float(share[i])} for m, share in sorted(part.shares.items())],
        "status": "ok",
    }


# Smallest probability that enters a logarithm: float32 cannot tell smaller ones from 0.
TINY = float(np.finfo(np.float32).tiny)
_NOTHING: dict[str, Any] = {
    "label": None,
    "score": None,
    "top_k": [],
    "predicted": [],
    "rank": None,
    "loss": None,
    "importance": [],
    "status": "no_input",
}
