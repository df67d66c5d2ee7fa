"""A grid of options per model: each cell is trained on train and scored on valid, the best again with several seeds."""

from collections.abc import Iterable
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any, Literal

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from models.config import FrozenConfig, knob
from models.errors import TrainingError
from models.fasttext.corpus import grouped
from models.features import Classifier, Features
from models.metrics import Tally, scores, tally
from models.references.base import labelled
from models.registry import MODELS
from stores.errors import mismatch
from tasks.fit import FitResult, ShardFeatures
from tasks.nodes import Context, Fit
from tasks.options import parse_options
from tasks.scoring import score
from tasks.train import ModelConfig, train_config

Scope = Literal["grid", "final"]
Metric = Literal["accuracy", "p_at_1", "top_5", "f1_micro", "f1_macro", "f1_weighted", "f1_samples"]


class SweepConfig(FrozenConfig):
    """Which options are tried (the grid of Kiela 2018, K-30); an axis that a model does not have is left out for it."""

    models: tuple[str, ...] = Field((), description="Names of models; none means all")
    lr: tuple[float, ...] = (0.1, 0.25, 0.5, 1.0, 2.0)
    epochs: tuple[int, ...] = (5, 10, 20)
    dim: tuple[int, ...] = (20, 100)
    alpha: tuple[float, ...] = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
    gate: tuple[Literal["text", "image"], ...] = ("text", "image")
    image_length: tuple[float, ...] = Field((), description="Not in the paper; none keeps each model's own")
    seeds: int = Field(5, ge=1, description="Trainings of the best cell of a model")
    metric: Metric = Field("accuracy", description="What the best cell is best in, on valid")
    budget_minutes: float | None = Field(None, ge=0, description="No new training starts after so long")


class CellConfig(FrozenConfig):
    """What decides one training: kind, options (defaults included), seed, and whether test is scored (scope final)."""

    kind: str
    options: dict[str, Any]
    seed: int
    scope: Scope
    knobs: dict[str, Any] = knob({})


def axes_of(kind: str, grid: SweepConfig) -> dict[str, tuple[Any, ...]]:
    """Return the axes that a kind of model has and the grid gives values for, each value once."""
    fields = MODELS[kind].config.model_fields
    values = {axis: tuple(dict.fromkeys(getattr(grid, axis))) for axis in AXES if axis in fields}
    return {axis: found for axis, found in values.items() if found}


def grid_points(kind: str, grid: SweepConfig) -> list[dict[str, Any]]:
    """Return every combination of the values of a kind's axes, the last axis fastest."""
    axes = axes_of(kind, grid)
    return [dict(zip(axes, values, strict=True)) for values in product(*axes.values())]


def cell_config(model: ModelConfig, point: dict[str, Any], *, seed: int, scope: Scope) -> CellConfig:
    """Return the training of one point of the grid; other options are the model's own.

    Cells run side by side, so that each has one thread and gives the same bits for a seed. Raises ConfigError for a
    value that the model refuses.
    """
    accepted = MODELS[model.kind].config
    alone = {name: value for name, value in ALONE.items() if name in accepted.model_fields}
    options = {**model.options, **point, **alone}
    parse_options(accepted, options, field="sweep.")
    spec = train_config(ModelConfig(kind=model.kind, options=options, seed=seed))
    return CellConfig(kind=spec.kind, options=spec.options, seed=seed, scope=scope, knobs=spec.knobs)


def fit_cell(train: Features, valid: Features, config: CellConfig, context: Context) -> FitResult:
    """Train one cell and score it; a training that diverges is a result, told in the checkpoint.

    Test is read in scope final only. Raises ValueError when valid is empty.
    """
    if not valid.n_rows:
        raise ValueError(mismatch("valid", "documents to choose by", 0, "set `split.valid`"))
    entry = MODELS[config.kind]
    classifier = entry.classifier(entry.config(**config.options, **config.knobs))
    metrics: dict[str, dict[str, float]] = {}
    reason = ""
    try:
        classifier.fit(train, valid, seed=config.seed)
        for split, features in _splits(train, valid, config.scope).items():
            found = scores(count(classifier, features), multi_label=classifier.multi_label)
            metrics[split] = {**{name: value for name, (value, _) in found.items()}, "n": found["accuracy"][1]}
    except TrainingError as error:
        metrics, reason = {}, str(error)
    status = "diverged" if reason else "ok"
    told = {"options": config.options, "seed": config.seed, "scope": config.scope, "status": status, "reason": reason}
    data = orjson.dumps({**told, "metrics": metrics}, option=orjson.OPT_SORT_KEYS | orjson.OPT_INDENT_2)
    return lambda folder: _write(folder, data), train.n_rows, {"status": status}


def count(classifier: Classifier, features: Features) -> Tally:
    """Count how a classifier does on the labelled documents of a split.

    Raises:
        TrainingError: a logit is no finite number.
        ValueError: no document of the split has a label.
    """
    total = Tally()
    for block in grouped(labelled(features)):
        for part in score(classifier, block):
            names, seen = pa.array(classifier.labels, pa.string()), pa.array(part.seen)
            best = pc.if_else(seen, names.take(pa.array(part.best)), None)
            predicted = pc.if_else(seen, part.predicted, NO_LABELS)
            rank, loss = pc.if_else(seen, part.rank, None), pc.if_else(seen, part.loss, None)
            total += tally(part.block.labels, predicted, best=best, rank=rank, loss=loss)
    if not total.n:
        raise ValueError(mismatch("a split to score", "labelled documents", 0, "check `split` and the labels"))
    return total


def outcome(node: Fit, root: Path) -> dict[str, Any] | None:
    """Return what a cell found, with seconds and training documents; None when it has not been trained."""
    fitted = node.fitted(root)
    record = fitted.record()
    if record is None:
        return None
    found: dict[str, Any] = orjson.loads((fitted.path(record) / CELL).read_bytes())
    return {**found, "seconds": record.facts["seconds"], "documents": record.n_rows}


def best(rows: Iterable[dict[str, Any]], metric: str) -> dict[str, Any] | None:
    """Return the row that is best in a metric; of equal ones fewer epochs, then the smaller dim, then the first."""
    done = [row for row in rows if row["status"] == "ok" and row[metric] is not None]
    return min(done, key=lambda row: (-row[metric], row["epochs"] or 0, row["dim"] or 0), default=None)


def spread(values: list[float]) -> tuple[float | None, float | None]:
    """Return mean and standard deviation with n - 1 below (ddof 1); None where there are too few values."""
    mean = float(np.mean(values)) if values else None
    return mean, float(np.std(values, ddof=DDOF)) if len(values) > DDOF else None


AXES = ("lr", "epochs", "dim", "alpha", "gate", "image_length")
ALONE = {"deterministic": True, "threads": 1}
METRIC_NAMES = ("accuracy", "p_at_1", "top_5", "f1_micro", "f1_macro", "f1_weighted", "f1_samples", "log_loss")
CELL = "cell.json"
DDOF = 1
NO_LABELS = pa.scalar([], pa.list_(pa.string()))

GRID = pa.schema(
    [
        ("model", pa.string()),
        ("lr", pa.float64()),  # an axis is null for a model that does not have it
        ("epochs", pa.int64()),
        ("dim", pa.int64()),
        ("alpha", pa.float64()),
        ("gate", pa.string()),
        ("image_length", pa.float64()),
        ("seed", pa.int64()),
        ("status", pa.string()),  # ok, diverged, missing
        ("reason", pa.string()),  # why it diverged
        *((name, pa.float64()) for name in METRIC_NAMES),  # on valid
        ("n", pa.int64()),  # documents of valid that were scored
        ("documents", pa.int64()),  # training documents
        ("seconds", pa.float64()),  # training and scoring, one thread
        ("key", pa.string()),
    ]
)

RESULTS = pa.schema(
    [
        ("model", pa.string()),
        ("direction", pa.string()),  # the gate that was chosen on valid; null without a gate
        ("split", pa.string()),
        ("metric", pa.string()),
        ("mean", pa.float64()),  # over the seeds; null until one is there
        ("std", pa.float64()),
        ("n", pa.int64()),  # seeds
        ("ddof", pa.int64()),
        ("options", pa.string()),  # JSON of the chosen point of the grid; null until a cell is there
        ("complete", pa.bool_()),  # every cell and every seed is there
    ]
)

DIRECTIONS = pa.schema(
    [
        ("model", pa.string()),
        ("direction", pa.string()),  # the gate
        ("metric", pa.string()),
        ("value", pa.float64()),  # of the best cell on valid; null until one is there
        ("options", pa.string()),
        ("chosen", pa.bool_()),
    ]
)


def _splits(train: Features, valid: Features, scope: Scope) -> dict[str, Features]:
    if scope == "grid":
        return {"valid": valid}
    if not isinstance(train, ShardFeatures):
        raise TypeError(mismatch("train", ShardFeatures.__name__, type(train).__name__, "only it knows the test split"))
    test = replace(train, split="test")
    return {"valid": valid, **({"test": test} if test.n_rows else {})}


def _write(folder: Path, data: bytes) -> None:
    (folder / CELL).write_bytes(data)
