"""The trainings of a configuration's grids, and which of them are there."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import orjson

from fuseline.flows.config import Config
from fuseline.flows.graph import build
from fuseline.flows.plan_options import plan_options
from fuseline.stores.errors import ConfigError, mismatch
from fuseline.tasks.engine.nodes import Fit, Node, Summary, ordered
from fuseline.tasks.engine.planner import PlanOptions, Seen, fit_is_due, plan_all, seen_by, training_rows
from fuseline.tasks.experiments.grid import AXES, METRIC_NAMES, CellConfig, Scope, best, cell_config, grid_points
from fuseline.tasks.experiments.trial import fit_cell, outcome
from fuseline.tasks.stages import train
from fuseline.tasks.stages.train import start_digest

FOLDER = "sweep"
VERSIONS: dict[Scope, int] = {"grid": 3, "final": 5, "alone": 4}  # of what cells write


@dataclass(frozen=True)
class Cell:
    """One training: a point of a model's grid, and the node that makes it."""

    model: str
    point: dict[str, Any]
    seed: int
    node: Fit


class Grid:
    """Every training of a sweep. It takes the features as they are when it is asked first: make them before.

    What is known of a cell that is there is kept, since nobody changes it while the root is held.
    """

    def __init__(self, config: Config) -> None:
        self.config, self.root = config, Path(config.root)
        self.options = PlanOptions(config.source.image_root(), refit=config.refit)
        self.names = swept(config)
        models = model_nodes(config)
        self._models = {name: models[name] for name in self.names}
        self._cells: dict[str, list[Cell]] = {}
        self._seen: dict[str, Seen] = {}
        self._rows: dict[str, dict[str, Any]] = {}

    def cells(self, name: str) -> list[Cell]:
        """Return the grid of one model."""
        if name not in self._cells:
            model = self.config.models[name]
            points = grid_points(name, model, self.config.sweep)
            self._cells[name] = self._made(name, [(point, model.seed) for point in points], "grid")
        return self._cells[name]

    def finals(self, name: str) -> list[Cell]:
        """Return the trainings of the best cell so far, one per seed; none until a cell has ended well."""
        chosen, first = self.chosen(name), self.config.models[name].seed
        if chosen is None:
            return []
        return self._made(name, [(chosen, first + i) for i in range(self.config.sweep.seeds)], "final")

    def timings(self, name: str) -> list[Cell]:
        """Return the training that is measured, of the best cell so far; none if there is none, or none is wanted."""
        chosen = self.chosen(name) if self.config.sweep.timings else None
        return [] if chosen is None else self._made(name, [(chosen, self.config.models[name].seed)], "alone")

    def chosen(self, name: str) -> dict[str, Any] | None:
        """Return the best point of a model's grid so far."""
        top = best(self.rows(self.cells(name)), self.config.sweep.metric)
        return None if top is None else point_of(top)

    def all(self) -> list[Cell]:
        """Return every training of the grids and of the best cells so far."""
        return [cell for name in self.names for cell in (*self.cells(name), *self.finals(name), *self.timings(name))]

    def todo(self, cells: Iterable[Cell]) -> list[Cell]:
        """Return the cells that are missing, damaged or stale."""
        return [cell for cell in cells if cell.node.key not in self._rows and self._is_due(cell)]

    def _is_due(self, cell: Cell) -> bool:
        fitted = cell.node.fitted(self.root)
        record = fitted.record()
        # A cell that was never trained, or is damaged, needs no look at the features.
        if record is None or not fitted.intact(record):
            return True
        return fit_is_due(cell.node, self.root, self.options, self.seen(cell.model))

    def seen(self, name: str) -> Seen:
        """Return what a training of a model sees now."""
        if name not in self._seen:
            self._seen[name] = seen_by(self._models[name], self.root)
        return self._seen[name]

    def rows(self, cells: list[Cell]) -> list[dict[str, Any]]:
        """Return one GRID row per cell, with the metrics of every split under `splits` and what else it found."""
        absent = {cell.node.key for cell in self.todo(cells)}
        for cell in cells:
            if cell.node.key not in absent and cell.node.key not in self._rows:
                self._rows[cell.node.key] = self._row(cell, outcome(cell.node, self.root))
        return [self._rows.get(cell.node.key) or self._row(cell, None) for cell in cells]

    def training(self) -> int:
        """Return how many documents the train split has today."""
        return max(training_rows(node, self.root) for node in self._models.values())

    def _made(self, name: str, points: list[tuple[dict[str, Any], int]], scope: Scope) -> list[Cell]:
        spec, model = self.config.models[name], self._models[name]

        def node(config: CellConfig) -> Fit:
            fits, reads = model.fits, model.reads
            return Fit(
                role=FOLDER,
                short=name,
                flow=FOLDER,
                version=VERSIONS[scope],
                config=config,
                weights=start_digest(config.kind, {**config.options, **config.knobs}),
                reads=reads,
                fits=fits,
                fit=fit_cell,
            )

        return [
            Cell(name, point, seed, node(cell_config(spec, point, seed=seed, scope=scope))) for point, seed in points
        ]

    def _row(self, cell: Cell, found: dict[str, Any] | None) -> dict[str, Any]:
        point = {axis: cell.point.get(axis) for axis in AXES}
        row: dict[str, Any] = {"model": cell.model, **point, "seed": cell.seed, "key": cell.node.key}
        row["options"] = orjson.dumps(cell.point).decode()
        values = found["metrics"].get("valid", {}) if found else {}
        row |= {name: values.get(name) for name in (*METRIC_NAMES, "n")}
        told = {name: found[name] if found else None for name in ("reason", "seconds", "documents")}
        more = {"splits": found["metrics"], "facts": found["facts"]} if found else {"splits": {}, "facts": {}}
        return {**row, **told, "status": found["status"] if found else "missing", **more}


def point_of(row: dict[str, Any]) -> dict[str, Any]:
    """Return the point of the grid that a row is of."""
    point: dict[str, Any] = orjson.loads(row["options"])
    return point


def swept(config: Config) -> list[str]:
    """Return the names of the models that are swept; raises ConfigError when there is none."""
    if not config.models:
        raise ConfigError(mismatch("models", "at least one model to sweep", {}, "add one; see conf/demo.yaml"))
    return sorted(set(config.sweep.models or config.models))


def sweep_nodes(config: Config) -> list[Fit]:
    """Return every training of the grids and of the best cells so far; none without models."""
    return [cell.node for cell in Grid(config).all()] if config.models else []


def model_nodes(config: Config) -> dict[str, Fit]:
    """Return the nodes that fit the models of a configuration, by the model's name."""
    return {node.short: node for node in build(config) if isinstance(node, Fit) and node.role == train.ROLE}


def feature_nodes(config: Config) -> list[Node]:
    """Return what the cells wait for: all that their models read, and what watches the codebooks among it."""
    models = model_nodes(config)
    read = ordered(upstream for name in swept(config) for upstream in models[name].upstream)
    names = {node.name for node in read}
    watching = (node for node in build(config) if isinstance(node, Summary) and node.compares is not None)
    return ordered([*read, *(node for node in watching if node.compares is not None and node.compares.name in names)])


def features_todo(config: Config) -> bool:
    """Return whether any dataset that the cells read must be made first."""
    nodes = feature_nodes(config)
    options = replace(plan_options(config, nodes), look=False)  # whether it changed is enough: its ingest reads it
    plans = plan_all(nodes, Path(config.root), options)
    return any(plan.todo or (plan.scan and plan.scan.stale_state) for plan in plans)


def sweep_todo(config: Config) -> bool:
    """Return whether a sweep has anything to make; raises ConfigError when a model refuses a value of the grid."""
    grid = Grid(config)
    every = [cell for name in grid.names for cell in grid.cells(name)]
    return features_todo(config) or bool(grid.todo(every)) or bool(grid.todo(grid.all()))
