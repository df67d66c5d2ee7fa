"""The trainings of a configuration's grids, and which of them are there."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import cast

import pyarrow as pa

from fuseline.flows.config import Config
from fuseline.flows.graph import build
from fuseline.flows.plan_options import plan_options
from fuseline.stores.errors import ConfigError, mismatch
from fuseline.stores.places import open_root
from fuseline.stores.schemas import RESULTS, TRIALS
from fuseline.tasks.engine.nodes import Fit, Node, Summary, ordered, whole
from fuseline.tasks.engine.planner import InputsSnapshot, PlanOptions, fit_is_due, plan_all, snapshot_of, training_rows
from fuseline.tasks.experiments.grid import (
    Candidate,
    Phase,
    Point,
    TrialConfig,
    axes_of,
    best,
    grid_points,
    point_text,
    trial_config,
    varied_points,
)
from fuseline.tasks.experiments.trial import Outcome, fit_trial, outcome
from fuseline.tasks.stages import train
from fuseline.tasks.stages.train import start_digest

FOLDER = "sweep"
TOKEN_PAGE = f"{FOLDER}/tokens.html"
STUDY = f"{FOLDER}/study.json"  # what a sweep's tables do not say
VERSIONS: dict[Phase, int] = {"search": 5, "final": 7, "varied": 1, "timing": 5}  # of what trials write


@dataclass(frozen=True)
class Trial:
    """One training: a point of a model's grid, and the node that makes it."""

    model: str
    point: Point
    seed: int
    phase: Phase
    node: Fit

    @property
    def options(self) -> str:
        """The point as the column `options` of RESULTS and TRIALS holds it."""
        return point_text(self.point)


class Grid:
    """Every training of a sweep. It takes the features as they are when it is asked first: make them before.

    What is known of a trial that is there is kept, since nobody changes it while the root is held.
    """

    def __init__(self, config: Config) -> None:
        self.config, self.root = config, open_root(config.root)
        self.options = PlanOptions(config.source.image_root(), refit=config.refit)
        self.names = swept(config)
        models = model_nodes(config)
        self._models = {name: models[name] for name in self.names}
        self._trials: dict[str, list[Trial]] = {}
        self._snapshots: dict[str, InputsSnapshot] = {}
        self._outcomes: dict[str, Outcome] = {}

    def trials(self, name: str) -> list[Trial]:
        """Return the grid of one model."""
        if name not in self._trials:
            model = self.config.models[name]
            points = grid_points(name, model, self.config.sweep)
            self._trials[name] = self._of(name, [(point, model.seed) for point in points], "search")
        return self._trials[name]

    def finals(self, name: str) -> list[Trial]:
        """Return the trainings of the best trial so far, one per seed; none until a trial has ended well."""
        chosen, first = self.chosen(name), self.config.models[name].seed
        if chosen is None:
            return []
        return self._of(name, [(chosen, first + i) for i in range(self.config.sweep.seeds)], "final")

    def varied(self, name: str) -> list[Trial]:
        """Return the trainings of the best trial so far with one option changed, one per seed."""
        chosen, model = self.chosen(name), self.config.models[name]
        points = [] if chosen is None else varied_points(model, chosen, self.config.sweep)
        seeds = range(model.seed, model.seed + self.config.sweep.seeds)
        return self._of(name, [(point, seed) for point in points for seed in seeds], "varied")

    def timings(self, name: str) -> list[Trial]:
        """Return the training that is measured, of the best trial so far; none if there is none, or none is wanted."""
        chosen = self.chosen(name) if self.config.sweep.timings else None
        return [] if chosen is None else self._of(name, [(chosen, self.config.models[name].seed)], "timing")

    def chosen(self, name: str) -> Point | None:
        """Return the best point of a model's grid so far."""
        top = best(self._candidates(name), self.config.sweep.metric)
        return None if top is None else top.point

    def best_by_gate(self, name: str) -> dict[str, Candidate | None]:
        """Return the best candidate of every gate that a model's grid has (K-38); None until one is there."""
        candidates, metric = self._candidates(name), self.config.sweep.metric
        gates = axes_of(name, self.config.models[name], self.config.sweep).get("gate", ())
        return {gate: best((one for one in candidates if one.point["gate"] == gate), metric) for gate in gates}

    def _candidates(self, name: str) -> list[Candidate]:
        trials, metric = self.trials(name), self.config.sweep.metric
        outcomes = self.outcomes(trials)
        return [
            Candidate(trial.point, None if one is None else one.valid(metric))
            for trial, one in zip(trials, outcomes, strict=True)
        ]

    def all(self) -> list[Trial]:
        """Return every training of the grids and of the best trials so far."""
        phases = (self.trials, self.finals, self.varied, self.timings)
        return [trial for name in self.names for phase in phases for trial in phase(name)]

    def todo(self, trials: Iterable[Trial]) -> list[Trial]:
        """Return the trials that are missing, damaged or stale."""
        return [trial for trial in trials if trial.node.key not in self._outcomes and self._is_due(trial)]

    def _is_due(self, trial: Trial) -> bool:
        fitted = trial.node.fitted(self.root)
        record = fitted.record()
        # A trial that was never trained, or is damaged, needs no look at the features.
        if record is None or not fitted.intact(record):
            return True
        return fit_is_due(trial.node, self.root, self.options, self.snapshot(trial.model))

    def snapshot(self, name: str) -> InputsSnapshot:
        """Return what a training of a model sees now."""
        if name not in self._snapshots:
            self._snapshots[name] = snapshot_of(self._models[name], self.root)
        return self._snapshots[name]

    def outcomes(self, trials: list[Trial]) -> list[Outcome | None]:
        """Return what came of trials; None for one that is missing, damaged or stale."""
        absent = {trial.node.key for trial in self.todo(trials)}
        for trial in trials:
            if trial.node.key not in absent | self._outcomes.keys() and (one := outcome(trial.node, self.root)):
                self._outcomes[trial.node.key] = one
        return [self._outcomes.get(trial.node.key) for trial in trials]

    def results(self, name: str) -> pa.Table:
        """Return the RESULTS of a model, each seed of a point once: the chosen one is searched, and trained again."""
        finals = [*self.finals(name), *self.varied(name)]
        tables = zip(map(_place, finals), self._results(finals), strict=True)
        final = {place: table for place, table in tables if len(table)}
        search = [trial for trial in self.trials(name) if _place(trial) not in final]
        return pa.concat_tables([RESULTS.empty_table(), *self._results(search), *final.values()])

    def _results(self, trials: list[Trial]) -> list[pa.Table]:
        outcomes = zip(trials, self.outcomes(trials), strict=True)
        return [RESULTS.empty_table() if one is None else _named(one.results, trial) for trial, one in outcomes]

    def table(self, trials: Iterable[Trial]) -> pa.Table:
        """Return the TRIALS rows of some trials."""
        rows = []
        for trial, one in zip(trials := list(trials), self.outcomes(trials), strict=True):
            row = {"model": trial.model, "options": trial.options, "seed": trial.seed, "phase": trial.phase}
            ended = {"status": "missing"} if one is None else {
                "status": one.record.status, "reason": one.record.reason, "documents": one.documents,
                "seconds": one.seconds,
            }  # fmt: skip
            rows.append({**row, **ended, "key": trial.node.key})
        return pa.Table.from_pylist(rows, schema=TRIALS)

    def training(self) -> int:
        """Return how many documents the train split has today."""
        return max(training_rows(node, self.root) for node in self._models.values())

    def _of(self, name: str, points: list[tuple[Point, int]], phase: Phase) -> list[Trial]:
        spec, model = self.config.models[name], self._models[name]
        starts = cast(train.TrainConfig, model.config).starts

        def node(config: TrialConfig) -> Fit:
            fits, reads = model.fits, model.reads
            return Fit(
                role=FOLDER,
                short=name,
                flow=FOLDER,
                version=VERSIONS[phase],
                config=config,
                weights=start_digest(config.kind, {**config.options, **config.runtime_options}),
                reads=reads,
                fits=fits,
                fit=fit_trial,
                rows=model.rows,
                unseen=model.unseen,
            )

        return [
            Trial(name, point, seed, phase, node(config.model_copy(update={"starts": starts})))
            for point, seed in points
            for config in [trial_config(spec, point, seed=seed, phase=phase)]
        ]


def _place(trial: Trial) -> tuple[str, int]:
    return trial.options, trial.seed


def _named(results: pa.Table, trial: Trial) -> pa.Table:
    """Return the scores of a trial with what only the sweep knows: the model's name and the options that vary."""
    for name, value in (("model", trial.model), ("options", trial.options)):
        at = RESULTS.get_field_index(name)
        results = results.set_column(at, RESULTS.field(name), pa.repeat(value, len(results)))
    return results


def swept(config: Config) -> list[str]:
    """Return the names of the models that are swept; raises ConfigError when there is none."""
    if not config.models:
        raise ConfigError(mismatch("models", "at least one model to sweep", {}, "add one; see conf/demo.yaml"))
    whole = [name for name, model in config.models.items() if model.labels is None]  # trials are scored on all labels
    return sorted(set(config.sweep.models or whole))


def sweep_nodes(config: Config) -> list[Fit]:
    """Return every training of the grids and of the best trials so far; none without models."""
    return [trial.node for trial in Grid(config).all()] if config.models else []


def model_nodes(config: Config) -> dict[str, Fit]:
    """Return the nodes that fit the models of a configuration, by the model's name."""
    return {node.short: node for node in whole(build(config)) if isinstance(node, Fit) and node.role == train.ROLE}


def feature_nodes(config: Config) -> list[Node]:
    """Return what the trials wait for: all that their models read, and what watches the codebooks among it."""
    models = model_nodes(config)
    read = ordered(upstream for name in swept(config) for upstream in models[name].upstream)
    names = {node.name for node in read}
    watching = (node for node in build(config) if isinstance(node, Summary) and node.compares is not None)
    return ordered([*read, *(node for node in watching if node.compares is not None and node.compares.name in names)])


def features_todo(config: Config) -> bool:
    """Return whether any dataset that the trials read must be made first."""
    nodes = feature_nodes(config)
    options = replace(plan_options(config, nodes), look=False)  # whether it changed is enough: its ingest reads it
    plans = plan_all(nodes, open_root(config.root), options)
    return any(plan.todo or (plan.scan and plan.scan.stale_state) for plan in plans)


def sweep_todo(config: Config) -> bool:
    """Return whether a sweep has anything to make; raises ConfigError when a model refuses a value of the grid."""
    grid = Grid(config)
    every = [trial for name in grid.names for trial in grid.trials(name)]
    return features_todo(config) or bool(grid.todo(every)) or bool(grid.todo(grid.all()))
