"""The tables of a sweep: what analysts read, and what the command line says."""

from dataclasses import dataclass
from typing import Any

import orjson
import pyarrow as pa
from rich.table import Table

from fuseline.flows.experiments.trials import FOLDER, Grid
from fuseline.flows.results.tables import measure_table
from fuseline.reports.measures import Measure, Measures
from fuseline.stores.layouts.parquet import put_table
from fuseline.stores.published import publishing
from fuseline.stores.results import DDOF, spread
from fuseline.tasks.experiments.grid import DIRECTIONS, RESULTS, SPLITS, axes_of, best, grid_schema, metric_names


@dataclass(frozen=True)
class Sweep:
    """What has been found so far."""

    grid: pa.Table  # GRID
    results: pa.Table  # RESULTS
    directions: pa.Table  # DIRECTIONS
    metric: str
    ran: int
    there: int
    missing_trials: int
    missing_seeds: int
    missing_times: int
    training: int  # documents of the train split today

    @property
    def complete(self) -> bool:
        """Whether every trial, every seed and every time is there."""
        return not self.missing_trials and not self.missing_seeds and not self.missing_times

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        counts = {"ran": self.ran, "there": self.there}
        missing = {name: getattr(self, name) for name in ("missing_trials", "missing_seeds", "missing_times")}
        tables = {"results": self.results.to_pylist(), "directions": self.directions.to_pylist()}
        return {"complete": self.complete, **counts, **missing, "metric": self.metric, **tables}

    def line(self) -> str:
        """Say in one sentence what was done and what is missing."""
        done = f"{self.ran:,} trainings run, {self.there:,} were there"
        seen = sorted(set(self.grid["documents"].drop_null().to_pylist()) | {self.training})
        if len(seen) > 1:
            again = "--set refit=on_change trains them again"
            done += (
                f"; trials saw {seen[0]:,} to {seen[-1]:,} training documents, now there are {self.training:,}: {again}"
            )
        if self.complete:
            return f"{done}; the grid is complete"
        what = f"{self.missing_trials:,} trials and at least {self.missing_seeds:,} seeds"
        missing = f"{what} and {self.missing_times:,} times are missing"
        return f"{done}; {missing}: the same command goes on (sweep.budget_minutes says for how long)"


def publish_sweep(grid: Grid, *, ran: int = 0) -> Sweep:
    """Write grid, results and directions under `<root>/sweep/`, each whole or not at all, and return them."""
    rows: list[dict[str, Any]] = []
    results: list[dict[str, Any]] = []
    directions: list[dict[str, Any]] = []
    missing_seeds = missing_times = there = 0
    for name in grid.names:
        found, finals = grid.rows(grid.trials(name)), grid.rows(grid.finals(name))
        trials_missing = _missing(found)
        # Without a good trial there is nothing to train with several seeds, unless one may still come.
        lacking = _missing(finals) if finals else grid.config.sweep.seeds if trials_missing else 0
        results += _results(grid, name, found, finals, complete=not trials_missing and not lacking)
        directions += _directions(grid, name, found)
        rows += found
        missing_seeds += lacking
        timings = grid.rows(grid.timings(name))
        missing_times += _missing(timings) if timings else int(grid.config.sweep.timings and bool(lacking))
        there += sum(row["status"] != "missing" for row in (*found, *finals, *timings))
    return Sweep(
        grid=_written(grid, "grid", rows, grid_schema(grid.config.sweep.metric)),
        results=_written(grid, "results", results, RESULTS),
        directions=_written(grid, "directions", directions, DIRECTIONS),
        metric=grid.config.sweep.metric,
        ran=ran,
        there=there - ran,
        missing_trials=_missing(rows),
        missing_seeds=missing_seeds,
        missing_times=missing_times,
        training=grid.training(),
    )


def sweep_table(found: Sweep) -> Table:
    """Show the chosen options of every model with its scores, mean +- standard deviation over the seeds."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name, justify in (("model", "left"), ("options", "left"), ("valid", "right"), ("test", "right")):
        table.add_column(name, justify=justify, overflow="fold")  # type: ignore[arg-type]
    table.add_column("seeds", justify="right")
    table.add_column(f"{found.metric}, gate by valid", overflow="fold")
    metric = Measures(measure_table(), multi_label=False)[found.metric]
    rows = [row for row in found.results.to_pylist() if row["metric"] == found.metric]
    for name in dict.fromkeys(row["model"] for row in rows):
        by_split = {row["split"]: row for row in rows if row["model"] == name}
        gates = [row for row in found.directions.to_pylist() if row["model"] == name]
        said = ", ".join(f"{row['direction']} {_text(metric, row['value'])}" for row in gates)
        options, n = by_split["valid"]["options"] or "none yet", str(by_split["valid"]["n"])
        table.add_row(name, options, *(_mean_text(metric, by_split.get(split)) for split in ("valid", "test")), n, said)
    return table


def _results(
    grid: Grid, name: str, rows: list[dict[str, Any]], finals: list[dict[str, Any]], *, complete: bool
) -> list[dict[str, Any]]:
    point = grid.chosen(name)
    fixed = {"model": name, "direction": (point or {}).get("gate"), "ddof": DDOF, "complete": complete}
    fixed |= {"options": _json(point) if point is not None else None}
    good = [row["splits"] for row in finals if row["status"] == "ok"]
    made = []
    for split in SPLITS:
        for metric in metric_names():
            values = [splits[split][metric] for splits in good if metric in splits.get(split, {})]
            mean, std = spread(values)
            if values or (split == "valid" and metric == grid.config.sweep.metric):
                made.append({**fixed, "split": split, "metric": metric, "mean": mean, "std": std, "n": len(values)})
    return made


def _directions(grid: Grid, name: str, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the best trial of either gate (K-38)."""
    metric, chosen = grid.config.sweep.metric, best(rows, grid.config.sweep.metric)
    made = []
    for gate in axes_of(name, grid.config.models[name], grid.config.sweep).get("gate", ()):
        top = best([row for row in rows if row["gate"] == gate], metric)
        found = {"value": top[metric] if top else None, "options": top["options"] if top else None}
        is_chosen = chosen is not None and chosen["gate"] == gate
        made.append({"model": name, "direction": gate, "metric": metric, **found, "chosen": is_chosen})
    return made


def _json(point: dict[str, Any]) -> str:
    return orjson.dumps(point).decode()


def _written(grid: Grid, name: str, rows: list[dict[str, Any]], schema: pa.Schema) -> pa.Table:
    return write_sweep_table(grid, name, pa.Table.from_pylist(rows, schema=schema))


def write_sweep_table(grid: Grid, name: str, table: pa.Table) -> pa.Table:
    """Write a table of a sweep, whole or not at all, and return it."""
    file = f"{FOLDER}/{name}.parquet"
    with publishing(grid.root, file):
        put_table(grid.root, file, table)
    return table


def _missing(rows: list[dict[str, Any]]) -> int:
    return sum(row["status"] == "missing" for row in rows)


def _text(metric: Measure, value: float | None) -> str:
    return "-" if value is None else metric.text(value)


def _mean_text(metric: Measure, row: dict[str, Any] | None) -> str:
    if row is None or row["mean"] is None:
        return "-"
    return _text(metric, row["mean"]) + (f" +- {_text(metric, row['std'])}" if row["std"] is not None else "")
