"""The tables of a sweep: what analysts read, and what the command line prints."""

from dataclasses import asdict, dataclass
from typing import Any

import pyarrow as pa
from rich.table import Table

from fuseline.flows.config import Config
from fuseline.flows.experiments.trials import FOLDER, Grid
from fuseline.flows.results.catalog import rewrite_catalog
from fuseline.flows.results.tables import measure_table
from fuseline.reports.measures import Measures
from fuseline.reports.papers.kiela_data import GateScore, chosen_means
from fuseline.reports.standings import spread_text
from fuseline.stores.catalog import CATALOG
from fuseline.stores.layouts.parquet import put_table
from fuseline.stores.published import publishing
from fuseline.stores.root import Root
from fuseline.stores.schemas import RESULTS
from fuseline.tasks.experiments.grid import point_text

FORMER = ("grid", "results", "directions")  # tables that sweeps of older versions wrote in place of `metrics`, `trials`


@dataclass(frozen=True)
class Sweep:
    """What the trials have come to so far."""

    results: pa.Table  # RESULTS
    trials: pa.Table  # TRIALS
    gates: tuple[GateScore, ...]
    chosen: dict[str, str | None]  # model -> the options that are best on valid, as in RESULTS; None: none yet
    metric: str
    ran: int
    missing_trials: int
    missing_seeds: int
    missing_times: int
    training: int  # documents of the train split today

    @property
    def complete(self) -> bool:
        """Whether every trial, every seed and every time is there."""
        return not self.missing_trials and not self.missing_seeds and not self.missing_times

    @property
    def there(self) -> int:
        """How many trainings were there before."""
        present = [status for status in self.trials["status"].to_pylist() if status != "missing"]
        return len(present) - self.ran

    def means(self) -> list[dict[str, Any]]:
        """Return the SUMMARY rows of the chosen options of every model: scores over the seeds."""
        rows: list[dict[str, Any]] = chosen_means(self.results, self.chosen).to_pylist()
        return rows

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        counts = {"ran": self.ran, "there": self.there}
        missing = {name: getattr(self, name) for name in ("missing_trials", "missing_seeds", "missing_times")}
        scores = {"metric": self.metric, "chosen": self.chosen, "results": self.means()}
        return {"complete": self.complete, **counts, **missing, **scores, "gates": [asdict(one) for one in self.gates]}

    def line(self) -> str:
        """Say in one sentence what was done and what is missing."""
        done = f"{self.ran:,} trainings run, {self.there:,} were there"
        seen = sorted({*self.trials["documents"].drop_null().to_pylist(), self.training})
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
    """Write metrics and trials under `<root>/sweep/`, each whole or not at all, and return them."""
    missing_trials = missing_seeds = missing_times = 0
    for name in grid.names:
        finals, timings = grid.finals(name), grid.timings(name)
        searching = len(grid.todo(grid.trials(name)))
        # Without a good trial there is nothing to train with several seeds, unless one may still come.
        seeds = len(grid.todo([*finals, *grid.varied(name)])) if finals else grid.config.sweep.seeds if searching else 0
        missing_trials += searching
        missing_seeds += seeds
        missing_times += len(grid.todo(timings)) if timings else int(grid.config.sweep.timings and bool(seeds))
    chosen = {name: grid.chosen(name) for name in grid.names}
    sweep = Sweep(
        results=pa.concat_tables([RESULTS.empty_table(), *(grid.results(name) for name in grid.names)]),
        trials=grid.table(grid.all()),
        gates=tuple(gate for name in grid.names for gate in _gates(grid, name)),
        chosen={name: None if point is None else point_text(point) for name, point in chosen.items()},
        metric=grid.config.sweep.metric,
        ran=ran,
        missing_trials=missing_trials,
        missing_seeds=missing_seeds,
        missing_times=missing_times,
        training=grid.training(),
    )
    write_sweep_table(grid.root, "metrics", sweep.results)
    write_sweep_table(grid.root, "trials", sweep.trials)
    _drop_former(grid.root)
    return sweep


def list_in_catalog(config: Config, root: Root) -> None:
    """Write the catalog again, if there is one, with the tables of the sweep in it."""
    if root.exists(CATALOG):
        with publishing(root, CATALOG):
            rewrite_catalog(config, root)


def sweep_table(sweep: Sweep) -> Table:
    """Show the chosen options of every model with its scores, mean +- standard deviation over the seeds."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name, justify in (("model", "left"), ("options", "left"), ("valid", "right"), ("test", "right")):
        table.add_column(name, justify=justify, overflow="fold")  # type: ignore[arg-type]
    table.add_column("seeds", justify="right")
    table.add_column(f"{sweep.metric}, gate by valid", overflow="fold")
    metric = Measures(measure_table(), multi_label=False)[sweep.metric]
    means = {
        (row["model"], row["split"]): row
        for row in sweep.means()
        if row["metric"] == sweep.metric and row["condition"] is None
    }
    for name, options in sweep.chosen.items():
        rows = [means.get((name, split)) for split in ("valid", "test")]
        scores = ("-" if row is None else spread_text(metric, row).replace("±", "+-") for row in rows)
        gates = (
            f"{one.gate} {'-' if one.value is None else metric.text(one.value)}"
            for one in sweep.gates
            if one.model == name
        )
        seeds = max((row["values"] for row in rows if row is not None), default=0)
        table.add_row(name, options or "none yet", *scores, str(seeds), ", ".join(gates))
    return table


def write_sweep_table(root: Root, name: str, table: pa.Table) -> None:
    """Write a table of a sweep, whole or not at all."""
    file = f"{FOLDER}/{name}.parquet"
    with publishing(root, file):
        put_table(root, file, table)


def _gates(grid: Grid, name: str) -> list[GateScore]:
    chosen = grid.chosen(name)
    return [
        GateScore(name, gate, None, None, False)
        if top is None
        else GateScore(name, gate, top.value, point_text(top.point), chosen == top.point)
        for gate, top in grid.best_by_gate(name).items()
    ]


def _drop_former(root: Root) -> None:
    files = [file for name in FORMER if root.exists(file := f"{FOLDER}/{name}.parquet")]
    if files:
        with publishing(root, *files):
            for file in files:
                root.delete(file)
