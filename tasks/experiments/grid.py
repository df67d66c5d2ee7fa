"""A grid of options per model: a trial is trained on train and scored on valid, the best again with several seeds."""

from collections.abc import Iterable
from difflib import get_close_matches
from itertools import product
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
from pydantic import Field

from fuseline.models.config import FrozenConfig, runtime_option
from fuseline.models.fasttext.pretrained import vectors_header
from fuseline.models.metrics.registry import METRICS, Compared, comparable
from fuseline.models.registry import MODELS
from fuseline.stores.errors import ConfigError, mismatch
from fuseline.tasks.options import parse_options
from fuseline.tasks.stages.train import ModelConfig, train_config

Phase = Literal["search", "final", "timing"]
Published = Literal["food101", "mmimdb", "flickrtag1", "flickrtag"]


class SweepConfig(FrozenConfig):
    """Which options are tried (the grid of Kiela 2018, K-30); an axis that a model does not have is left out for it."""

    models: tuple[str, ...] = Field((), description="Names of models; none means all")
    lr: tuple[float, ...] = Field((0.1, 0.25, 0.5, 1.0, 2.0), description="Learning rates")
    epochs: tuple[int, ...] = Field((5, 10, 20), description="Passes over the training rows")
    dim: tuple[int, ...] = Field((20, 100), description="Dimensions of word vectors")
    alpha: tuple[float, ...] = Field(
        (0.01, 0.02, 0.05, 0.1, 0.2, 0.5), description="Weights of the bag of visual tokens"
    )
    gate: tuple[Literal["text", "image"], ...] = Field(
        ("text", "image"), description="Modalities that pass through the sigmoid"
    )
    image_length: tuple[float, ...] = Field((), description="Not in the paper; none keeps each model's own")
    grids: dict[str, dict[str, tuple[Any, ...]]] = Field(
        {}, description="Axes of single models, any of their options, over the common ones: {gmu: {lr: [0.001, 0.01]}}"
    )
    seeds: int = Field(5, ge=1, description="Trainings of the best trial of a model")
    metric: Compared = Field("accuracy", description="What the best trial is best in, on valid")
    timings: bool = Field(True, description="Fit the best trial of a model three times more, alone, for the time table")
    published: Published | None = Field(None, description="Which published results stand beside ours; by the reader")
    budget_minutes: float | None = Field(None, ge=0, description="No new training starts after so long")


class TrialConfig(FrozenConfig):
    """What decides one training: kind, options (defaults included), seed, and what it is for.

    Phase grid: scored on valid; final: scored on test too, also with a modality hidden; alone: timed and looked into.
    """

    kind: str
    options: dict[str, Any]
    seed: int
    phase: Phase
    runtime_options: dict[str, Any] = runtime_option({})


def axes_of(name: str, model: ModelConfig, grid: SweepConfig) -> dict[str, tuple[Any, ...]]:
    """Return the axes of a model: the common ones that its kind has, under its own; each value once.

    Raises ConfigError when the kind has no such option.
    """
    fields, own = MODELS[model.kind].Config.model_fields, grid.grids.get(name, {})
    for axis in own:
        if axis not in fields:
            close = get_close_matches(axis, fields, cutoff=0.5)
            cure = f"did you mean {close[0]!r}?" if close else f"choose an option of {model.kind}"
            raise ConfigError(mismatch(f"sweep.grids.{name}", sorted(fields), axis, cure))
    axes = {axis: getattr(grid, axis) for axis in AXES if axis in fields} | own
    return {axis: _once(values) for axis, values in axes.items() if values}


def grid_points(name: str, model: ModelConfig, grid: SweepConfig) -> list[dict[str, Any]]:
    """Return every combination of the values of a model's axes, the last axis fastest.

    Raises ConfigError when a model that starts from word vectors is to have another dim than these.
    """
    axes = axes_of(name, model, grid)
    for vectors in axes.get(VECTORS, (model.options.get(VECTORS),)):
        if vectors is not None and "dim" in axes:
            _same_dim(name, Path(vectors), axes["dim"])
    return [dict(zip(axes, values, strict=True)) for values in product(*axes.values())]


def trial_config(model: ModelConfig, point: dict[str, Any], *, seed: int, phase: Phase) -> TrialConfig:
    """Return the training of one point of the grid; other options are the model's own.

    Trials run side by side, so that each has one thread and gives the same bits for a seed. Raises ConfigError for a
    value that the model refuses.
    """
    accepted = MODELS[model.kind].Config
    alone = {name: value for name, value in ALONE.items() if name in accepted.model_fields}
    options = {**model.options, **point, **alone}
    parse_options(accepted, options, field="sweep.")
    spec = train_config(ModelConfig(kind=model.kind, options=options, seed=seed))
    return TrialConfig(
        kind=spec.kind, options=spec.options, seed=seed, phase=phase, runtime_options=spec.runtime_options
    )


def best(rows: Iterable[dict[str, Any]], metric: str) -> dict[str, Any] | None:
    """Return the row that is best in a metric; of equal ones fewer epochs, then the smaller dim, then the first."""
    done = [row for row in rows if row["status"] == "ok" and row[metric] is not None]
    sign = 1 if METRICS[metric].lower_is_better else -1
    return min(done, key=lambda row: (sign * row[metric], row["epochs"] or 0, row["dim"] or 0), default=None)


def metric_names() -> list[str]:
    """Return the metrics of a sweep: ours that models can be compared by, then those of plugins."""
    return [*METRIC_NAMES, *(name for name in comparable() if name not in METRIC_NAMES)]


def grid_schema(metric: str) -> pa.Schema:
    """Return GRID, with a column for the metric of the choice where it is none of ours."""
    return GRID if metric in METRIC_NAMES else GRID.append(pa.field(metric, pa.float64()))


AXES = ("lr", "epochs", "dim", "alpha", "gate", "image_length")
VECTORS = "pretrained_vectors"
ALONE = {"deterministic": True, "threads": 1}
SPLITS = ("valid", "test", "test without image", "test without text")
METRIC_NAMES = ("accuracy", "p_at_1", "top_5", "f1_micro", "f1_macro", "f1_weighted", "f1_samples", "log_loss")

GRID = pa.schema(
    [
        ("model", pa.string()),
        ("lr", pa.float64()),  # an axis is null for a model that does not have it
        ("epochs", pa.int64()),
        ("dim", pa.int64()),
        ("alpha", pa.float64()),
        ("gate", pa.string()),
        ("image_length", pa.float64()),
        ("options", pa.string()),  # JSON of the point of the grid, axes of this model alone included
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
        ("split", pa.string()),  # valid, test, test without image, test without text
        ("metric", pa.string()),
        ("mean", pa.float64()),  # over the seeds; null until one is there
        ("std", pa.float64()),
        ("n", pa.int64()),  # seeds
        ("ddof", pa.int64()),
        ("options", pa.string()),  # JSON of the chosen point of the grid; null until a trial is there
        ("complete", pa.bool_()),  # every trial and every seed is there
    ]
)

DIRECTIONS = pa.schema(
    [
        ("model", pa.string()),
        ("direction", pa.string()),  # the gate
        ("metric", pa.string()),
        ("value", pa.float64()),  # of the best trial on valid; null until one is there
        ("options", pa.string()),
        ("chosen", pa.bool_()),
    ]
)


def _same_dim(name: str, vectors: Path, dims: tuple[Any, ...]) -> None:
    length = vectors_header(vectors).dim
    if any(dim != length for dim in dims):
        cure = f"set sweep.grids.{name}.dim to [{length}], the numbers per word of {vectors.name}"
        raise ConfigError(mismatch(f"sweep.dim for {name}", [length], list(dims), cure))


def _once(values: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return each value once; values may be lists."""
    return tuple({repr(value): value for value in values}.values())
