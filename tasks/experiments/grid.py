"""A grid of options per model: a trial is trained on train and scored on valid, the best again with several seeds."""

from collections.abc import Iterable
from difflib import get_close_matches
from itertools import product
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import orjson
from pydantic import Field

from fuseline.models.automatic import AutomaticConfig
from fuseline.models.config import FrozenConfig, runtime_option
from fuseline.models.fasttext.classifier import FastTextClassifier
from fuseline.models.fasttext.pretrained import vectors_header
from fuseline.models.features import reads_text
from fuseline.models.metrics.registry import METRICS, Compared
from fuseline.models.registry import MODELS
from fuseline.stores.errors import ConfigError, mismatch
from fuseline.tasks.options import parse_options
from fuseline.tasks.stages.train import ModelConfig, train_config

Phase = Literal["search", "final", "varied", "timing"]
Point = dict[str, Any]  # of a grid: the value of every axis
Published = Literal["food101", "mmimdb", "flickrtag1", "flickrtag"]


class VariedConfig(FrozenConfig):
    """Options of the fastText family that the paper says leave accuracy unchanged (K-41)."""

    threads: tuple[Annotated[int, Field(ge=1)], ...] = Field((), description="Threads of training, in place of one")
    min_count: tuple[Annotated[int, Field(ge=1)], ...] = Field(
        (), description="Training occurrences of a word, in place of the model's; for models that read text"
    )


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
    varied: VariedConfig = Field(
        VariedConfig(),
        description="What the best trial of a model is trained with again, one option at a time, with every seed: "
        "{threads: [4], min_count: [5]}; no part of the grid, nothing is chosen by it",
    )
    seeds: int = Field(5, ge=1, description="Trainings of the best trial of a model")
    metric: Compared = Field("accuracy", description="What the best trial is best in, on valid")
    timings: bool = Field(True, description="Fit the best trial of a model three times more, alone, for the time table")
    published: Published | None = Field(None, description="Which published results stand beside ours; by the reader")
    budget_minutes: float | None = Field(None, ge=0, description="No new training starts after so long")


class TrialConfig(FrozenConfig):
    """What decides one training: kind, options (defaults included), seed, and what it is for.

    Phases: search, scored on valid; final, scored on test too, also with a modality masked; varied, a chosen point with
    one option changed, scored on test; timing, measured alone.
    """

    kind: str
    options: dict[str, Any]
    seed: int
    phase: Phase
    runtime_options: dict[str, Any] = runtime_option({})
    starts: dict[str, str] = runtime_option({})  # as of a model that is trained in a run


class Candidate(NamedTuple):
    """A point of a grid and what its trial reached on valid; None while it is missing, or has diverged."""

    point: Point
    value: float | None


def axes_of(name: str, model: ModelConfig, grid: SweepConfig) -> dict[str, tuple[Any, ...]]:
    """Return the axes of a model: the common ones that its kind has, under its own; each value once.

    Raises ConfigError when the kind has no such option, or trials may not differ in it.
    """
    fields, own = MODELS[model.kind].Config.model_fields, grid.grids.get(name, {})
    for axis in own:
        if axis not in fields:
            close = get_close_matches(axis, fields, cutoff=0.5)
            cure = f"did you mean {close[0]!r}?" if close else f"choose an option of {model.kind}"
            raise ConfigError(mismatch(f"sweep.grids.{name}", sorted(fields), axis, cure))
        if axis == START:
            cure = "add a model with another `start`, and sweep it too"
            raise ConfigError(mismatch(f"sweep.grids.{name}", "an option that trials may differ in", axis, cure))
        if axis in ALONE:
            cure = "trials train on one thread; `sweep.varied.threads` trains the best of them on several"
            raise ConfigError(mismatch(f"sweep.grids.{name}", "an option that trials may differ in", axis, cure))
    axes = {axis: getattr(grid, axis) for axis in AXES if axis in fields} | own
    return {axis: _once(values) for axis, values in axes.items() if values}


def grid_points(name: str, model: ModelConfig, grid: SweepConfig) -> list[Point]:
    """Return every combination of the values of a model's axes, the last axis fastest.

    Raises ConfigError when a model that starts from word vectors is to have another dim than these.
    """
    axes = axes_of(name, model, grid)
    for vectors in axes.get(VECTORS, (model.options.get(VECTORS),)):
        if vectors is not None and "dim" in axes:
            _same_dim(name, Path(vectors), axes["dim"])
    return [dict(zip(axes, values, strict=True)) for values in product(*axes.values())]


def varied_points(model: ModelConfig, chosen: Point, grid: SweepConfig) -> list[Point]:
    """Return the chosen point of a model with one option changed, once for every other value in `sweep.varied`."""
    kind = MODELS[model.kind]
    if not issubclass(kind, FastTextClassifier):
        return []
    options = {**kind.Config().model_dump(), **model.options, **chosen, **ALONE}
    names = ("threads", "min_count") if reads_text(model.inputs()) else ("threads",)
    values = ((name, value) for name in names for value in _once(getattr(grid.varied, name)))
    return [{**chosen, name: value} for name, value in values if value != options[name]]


def trial_options(model: ModelConfig, point: Point) -> dict[str, Any]:
    """Return the options of one point of the grid; others are the model's own.

    Options that a fit would choose by itself stand where that choice starts, unless the model says "auto": two trials
    differ by their points alone. Raises ConfigError for a value that the model refuses.
    """
    options = {**model.options, **point}
    parsed = parse_options(MODELS[model.kind].Config, options, field="sweep.")
    if isinstance(parsed, AutomaticConfig):
        options |= {name: getattr(parsed, name) for name in parsed.automatic if name not in options}
    return options


def trial_config(model: ModelConfig, point: Point, *, seed: int, phase: Phase) -> TrialConfig:
    """Return the training of one point of the grid; raises ConfigError for a value that the model refuses.

    Trials run side by side, so that each has one thread and gives the same bits for a seed, unless the point names
    threads. What a point names decides the trial, an option that changes no dataset's key too.
    """
    accepted = MODELS[model.kind].Config.model_fields
    alone = {name: value for name, value in ALONE.items() if name in accepted}
    if THREADS in point:
        alone = {"deterministic": False, THREADS: point[THREADS]}
    options = trial_options(model, point) | alone
    spec = train_config(ModelConfig(kind=model.kind, options=options, seed=seed))
    named = {name: value for name, value in spec.runtime_options.items() if name in point}
    rest = {name: value for name, value in spec.runtime_options.items() if name not in point}
    return TrialConfig(kind=spec.kind, options={**spec.options, **named}, seed=seed, phase=phase, runtime_options=rest)


def best(candidates: Iterable[Candidate], metric: str) -> Candidate | None:
    """Return the candidate of the best value; of equal ones fewer epochs, then the smaller dim, then the first."""
    scored = [(one.value, one) for one in candidates if one.value is not None]
    sign = 1 if METRICS[metric].lower_is_better else -1

    def order(pair: tuple[float, Candidate]) -> tuple[float, float, float]:
        return sign * pair[0], pair[1].point.get("epochs") or 0, pair[1].point.get("dim") or 0

    return min(scored, key=order, default=(None, None))[1]


def point_text(point: Point) -> str:
    """Return a point as the column `options` of RESULTS and TRIALS holds it: JSON, axes by name."""
    return orjson.dumps(point, option=orjson.OPT_SORT_KEYS).decode()


AXES = ("lr", "epochs", "dim", "alpha", "gate", "image_length")
VECTORS, START = "pretrained_vectors", "start"
THREADS = "threads"
ALONE = {"deterministic": True, THREADS: 1}


def _same_dim(name: str, vectors: Path, dims: tuple[Any, ...]) -> None:
    length = vectors_header(vectors).dim
    if any(dim != length for dim in dims):
        cure = f"set sweep.grids.{name}.dim to [{length}], the numbers per word of {vectors.name}"
        raise ConfigError(mismatch(f"sweep.dim for {name}", [length], list(dims), cure))


def _once(values: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return each value once; values may be lists."""
    return tuple({repr(value): value for value in values}.values())
