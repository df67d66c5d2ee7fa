"""The grids of a configuration: which trainings they are, which are there, and the tables analysts read."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
from rich.table import Table

from flows.config import Config
from flows.graph import build
from flows.runtime import prepare_prefect
from stores.atomic import atomic_file
from stores.errors import ConfigError, mismatch
from stores.parquet import write_table
from tasks.nodes import Fit
from tasks.planner import PlanOptions, plan_all, plan_node, training_rows
from tasks.sweep import (
    AXES,
    DDOF,
    DIRECTIONS,
    GRID,
    METRIC_NAMES,
    RESULTS,
    CellConfig,
    Scope,
    axes_of,
    best,
    cell_config,
    fit_cell,
    grid_points,
    outcome,
    spread,
)

AFTER = ("train", "predict", "evaluate")  # flows that no cell waits for
FOLDER = "sweep"


@dataclass(frozen=True)
class Cell:
    """One training: a point of a model's grid, and the node that makes it."""

    model: str
    point: dict[str, Any]
    seed: int
    node: Fit


@dataclass(frozen=True)
class Sweep:
    """What has been found so far."""

    grid: pa.Table  # GRID
    results: pa.Table  # RESULTS
    directions: pa.Table  # DIRECTIONS
    metric: str
    ran: int
    there: int
    missing_cells: int
    missing_seeds: int
    training: int  # documents of the train split today

    @property
    def complete(self) -> bool:
        """Whether every cell and every seed is there."""
        return not self.missing_cells and not self.missing_seeds

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        counts = {"ran": self.ran, "there": self.there}
        missing = {"missing_cells": self.missing_cells, "missing_seeds": self.missing_seeds}
        tables = {"results": self.results.to_pylist(), "directions": self.directions.to_pylist()}
        return {"complete": self.complete, **counts, **missing, "metric": self.metric, **tables}

    def line(self) -> str:
        """Say in one sentence what was done and what is missing."""
        done = f"{self.ran:,} trainings run, {self.there:,} were there"
        seen = sorted(set(self.grid["documents"].drop_null().to_pylist()) | {self.training})
        if len(seen) > 1:
            again = "--set refit=on_change trains them again"
            done += (
                f"; cells saw {seen[0]:,} to {seen[-1]:,} training documents, now there are {self.training:,}: {again}"
            )
        if self.complete:
            return f"{done}; the grid is complete"
        missing = f"{self.missing_cells:,} cells and at least {self.missing_seeds:,} seeds are missing"
        return f"{done}; {missing}: the same command goes on (sweep.budget_minutes says for how long)"


def sweep_grid(config: Config, *, verbose: bool = False) -> Sweep:
    """Train what is missing of every grid, write the tables and return them; the caller holds the root.

    Raises:
        ConfigError: there is no model, or a model refuses a value of the grid.
        DataError: a cell cannot be trained (no documents, no labels).
    """
    names, root, ran = swept(config), Path(config.root), 0
    cells = [cell for name in names for cell in cells_of(config, name)]
    if features_todo(config) or todo(cells, config) or seeds_todo(config):
        prepare_prefect(root, verbose=verbose)
        # Prefect reads its settings when it is first imported.
        from flows.sweep import sweep

        ran = sweep(config)
    return publish_sweep(config, ran=ran)


def swept(config: Config) -> list[str]:
    """Return the names of the models that are swept; raises ConfigError when there is none."""
    if not config.models:
        raise ConfigError(mismatch("models", "at least one model to sweep", {}, "add one; see conf/demo.yaml"))
    return sorted(set(config.sweep.models or config.models))


def sweep_nodes(config: Config) -> list[Fit]:
    """Return every training of the grids and of the best cells so far."""
    names = swept(config) if config.models else []
    return [cell.node for name in names for cell in (*cells_of(config, name), *seeds_of(config, name))]


def features_todo(config: Config) -> bool:
    """Tell whether any dataset that the cells read must be made first."""
    nodes = [node for node in build(config) if node.flow not in AFTER]
    plans = plan_all(nodes, Path(config.root), _options(config))
    return any(plan.todo or (plan.scan and plan.scan.stale_state) for plan in plans)


def cells_of(config: Config, name: str) -> list[Cell]:
    """Return the grid of one model."""
    model = config.models[name]
    points = grid_points(model.kind, config.sweep)
    return _cells(config, name, [(point, model.seed) for point in points], "grid")


def seeds_of(config: Config, name: str) -> list[Cell]:
    """Return the trainings of the best cell so far, one per seed; none until a cell has ended well."""
    chosen = best(_rows(cells_of(config, name), config), config.sweep.metric)
    if chosen is None:
        return []
    first = config.models[name].seed
    points = [(_point(config, chosen), first + i) for i in range(config.sweep.seeds)]
    return _cells(config, name, points, "final")


def todo(cells: Iterable[Cell], config: Config) -> list[Cell]:
    """Return the cells that the planner finds missing or stale."""
    root, options = Path(config.root), _options(config)
    # A cell that was never trained needs no explanation, for which the planner would read every other one.
    return [
        cell for cell in cells if cell.node.fitted(root).record() is None or plan_node(cell.node, root, options).todo
    ]


def seeds_todo(config: Config) -> bool:
    """Tell whether a training of a best cell is missing."""
    return any(todo(seeds_of(config, name), config) for name in swept(config))


def publish_sweep(config: Config, *, ran: int = 0) -> Sweep:
    """Write grid, results and directions under `<root>/sweep/`, each whole or not at all, and return them."""
    rows: list[dict[str, Any]] = []
    results: list[dict[str, Any]] = []
    directions: list[dict[str, Any]] = []
    missing_seeds = there = 0
    for name in swept(config):
        found, finals = _rows(cells_of(config, name), config), _rows(seeds_of(config, name), config)
        cells_missing = _missing(found)
        # Without a good cell there is nothing to train with several seeds, unless one may still come.
        lacking = _missing(finals) if finals else config.sweep.seeds if cells_missing else 0
        results += _results(config, name, found, finals, complete=not cells_missing and not lacking)
        directions += _directions(config, name, found)
        rows += found
        missing_seeds += lacking
        there += len(found) + len(finals) - cells_missing - _missing(finals)
    return Sweep(
        grid=_written(config, "grid", rows, GRID),
        results=_written(config, "results", results, RESULTS),
        directions=_written(config, "directions", directions, DIRECTIONS),
        metric=config.sweep.metric,
        ran=ran,
        there=there - ran,
        missing_cells=_missing(rows),
        missing_seeds=missing_seeds,
        training=max(training_rows(cells_of(config, name)[0].node, Path(config.root)) for name in swept(config)),
    )


def sweep_table(found: Sweep) -> Table:
    """Show the chosen options of every model with its scores, mean +- standard deviation over the seeds, in %."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name, justify in (("model", "left"), ("options", "left"), ("valid", "right"), ("test", "right")):
        table.add_column(name, justify=justify, overflow="fold")  # type: ignore[arg-type]
    table.add_column("seeds", justify="right")
    table.add_column(f"{found.metric}, gate by valid", overflow="fold")
    rows = [row for row in found.results.to_pylist() if row["metric"] == found.metric]
    for name in dict.fromkeys(row["model"] for row in rows):
        by_split = {row["split"]: row for row in rows if row["model"] == name}
        gates = [row for row in found.directions.to_pylist() if row["model"] == name]
        said = ", ".join(f"{row['direction']} {_percent(row['value'])}" for row in gates)
        options, n = by_split["valid"]["options"] or "none yet", str(by_split["valid"]["n"])
        table.add_row(name, options, *(_told(by_split.get(split)) for split in ("valid", "test")), n, said)
    return table


def _cells(config: Config, name: str, points: list[tuple[dict[str, Any], int]], scope: Scope) -> list[Cell]:
    model = next(node for node in build(config) if isinstance(node, Fit) and node.name == f"models/{name}")

    def node(spec: CellConfig) -> Fit:
        fits, reads = model.fits, model.reads
        return Fit(name=f"{FOLDER}/{name}", flow=FOLDER, version=1, config=spec, reads=reads, fits=fits, fit=fit_cell)

    spec = config.models[name]
    return [Cell(name, point, seed, node(cell_config(spec, point, seed=seed, scope=scope))) for point, seed in points]


def _rows(cells: list[Cell], config: Config) -> list[dict[str, Any]]:
    """Return one GRID row per cell, with the metrics of every split under `splits`."""
    absent = {cell.node.key for cell in todo(cells, config)}
    rows = []
    for cell in cells:
        found = None if cell.node.key in absent else outcome(cell.node, Path(config.root))
        point = {axis: cell.point.get(axis) for axis in AXES}
        row: dict[str, Any] = {"model": cell.model, **point, "seed": cell.seed, "key": cell.node.key}
        values = found["metrics"].get("valid", {}) if found else {}
        row |= {name: values.get(name) for name in (*METRIC_NAMES, "n")}
        told = {name: found[name] if found else None for name in ("reason", "seconds", "documents")}
        rows.append({**row, **told, "status": found["status"] if found else "missing", "splits": _splits(found)})
    return rows


def _splits(found: dict[str, Any] | None) -> dict[str, dict[str, float]]:
    return found["metrics"] if found else {}


def _results(
    config: Config, name: str, rows: list[dict[str, Any]], finals: list[dict[str, Any]], *, complete: bool
) -> list[dict[str, Any]]:
    chosen = best(rows, config.sweep.metric)
    point = _point(config, chosen) if chosen else None
    fixed = {"model": name, "direction": (point or {}).get("gate"), "ddof": DDOF, "complete": complete}
    fixed |= {"options": _json(point) if point is not None else None}
    good = [row["splits"] for row in finals if row["status"] == "ok"]
    made = []
    for split in ("valid", "test"):
        for metric in METRIC_NAMES:
            values = [splits[split][metric] for splits in good if metric in splits.get(split, {})]
            mean, std = spread(values)
            if values or (split == "valid" and metric == config.sweep.metric):
                made.append({**fixed, "split": split, "metric": metric, "mean": mean, "std": std, "n": len(values)})
    return made


def _directions(config: Config, name: str, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the best cell of either gate (K-38)."""
    metric, chosen = config.sweep.metric, best(rows, config.sweep.metric)
    made = []
    for gate in axes_of(config.models[name].kind, config.sweep).get("gate", ()):
        top = best([row for row in rows if row["gate"] == gate], metric)
        found = {"value": top[metric] if top else None, "options": _json(_point(config, top)) if top else None}
        is_chosen = chosen is not None and chosen["gate"] == gate
        made.append({"model": name, "direction": gate, "metric": metric, **found, "chosen": is_chosen})
    return made


def _point(config: Config, row: dict[str, Any]) -> dict[str, Any]:
    return {axis: row[axis] for axis in axes_of(config.models[row["model"]].kind, config.sweep)}


def _json(point: dict[str, Any]) -> str:
    return orjson.dumps(point).decode()


def _written(config: Config, name: str, rows: list[dict[str, Any]], schema: pa.Schema) -> pa.Table:
    table = pa.Table.from_pylist(rows, schema=schema)
    with atomic_file(Path(config.root) / FOLDER / f"{name}.parquet") as partial:
        write_table(partial, table)
    return table


def _missing(rows: list[dict[str, Any]]) -> int:
    return sum(row["status"] == "missing" for row in rows)


def _options(config: Config) -> PlanOptions:
    return PlanOptions(config.source.image_root(), refit=config.refit)


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}"


def _told(row: dict[str, Any] | None) -> str:
    if row is None or row["mean"] is None:
        return "-"
    return _percent(row["mean"]) + (f" +- {_percent(row['std'])}" if row["std"] is not None else "")
