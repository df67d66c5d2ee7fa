"""Finished runs read again for the tables of papers Z, M and P, and what is written of them."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from fuseline.flows.results.tables import measure_table, stage_table
from fuseline.flows.runs import last_summaries
from fuseline.reports.page_data import ReportData
from fuseline.reports.papers import miller, petfinder, reiter, zahavy
from fuseline.reports.papers.paper import Paper
from fuseline.reports.papers.runs import DataSet
from fuseline.stores.errors import ConfigError, DataError, mismatch
from fuseline.stores.layouts.files import check_files
from fuseline.stores.layouts.parquet import get_table, put_table
from fuseline.stores.places import open_root
from fuseline.stores.published import Published
from fuseline.stores.results import conform
from fuseline.stores.root import Root
from fuseline.stores.schemas import RESULTS
from fuseline.stores.tables import TABLES

PAPERS: dict[str, Paper] = {
    paper.letter: paper for paper in (zahavy.PAPER, miller.PAPER, petfinder.PAPER, reiter.PAPER)
}
READ = (
    "metrics", "models", "statistics", "decisions", "quadrants", "call_rates", "calibration", "comparisons",
    "masked_classes", "groups", "maps", "class_maps", "class_neighbours", "class_similarity",
    "reconstructions",
)  # fmt: skip
STATE = "latest/state.json"


def read_runs(roots: Sequence[str]) -> list[DataSet]:
    """Return the data sets of finished runs: roots whose configurations have one name are repeats with other seeds.

    Raises DataError for a root without a finished run, ConfigError when a model was fitted twice with one seed.
    """
    runs: dict[str, list[ReportData]] = {}
    for root in roots:
        run = read_run(open_root(root))
        runs.setdefault(run.title, []).append(run)
    for title, own in runs.items():
        fits = Counter((row["model"], row["seed"]) for run in own for row in run.rows("models"))
        (fit, count), *_ = fits.most_common() or [(("", 0), 0)]
        if count > 1:
            cure = "give each root once, repeats with another models.NAME.seed, and other data sets another `name`"
            raise ConfigError(mismatch(f"roots of {title}", "each model and seed once", list(fit), cure))
    return [DataSet(title, tuple(own)) for title, own in runs.items()]


def read_run(root: Root) -> ReportData:
    """Return the published tables of the last complete run; of models that a sweep trained, its scores.

    Raises DataError when nothing was published, DamagedError for damaged tables.
    """
    listed = Published.load(root).files
    if STATE not in listed:
        raise DataError(mismatch(root.uri(), "a finished run", f"no {STATE}", "do `fuseline run` first"))
    files = {name: file for name in READ if (file := f"latest/{name}.parquet") in listed}
    check_files(root, {file: listed[file] for file in (STATE, *files.values())})
    state: dict[str, Any] = orjson.loads(root.get(STATE))
    tables = {name: conform(get_table(root, file), TABLES[name].schema) for name, file in files.items()}
    tables["metrics"] = with_sweep(tables["metrics"], root)
    tables |= {"measures": measure_table(), "stages": stage_table(last_summaries(root))}
    name = state.get("name") or root.absolute().uri().rstrip("/").rpartition("/")[2]  # older runs tell no name
    return ReportData(
        title=name, run=state["run"], created="", tables=tables, multi_label=state["multi_label"],
        metric=state.get("metric"),
    )  # fmt: skip


def with_sweep(metrics: pa.Table, root: Root) -> pa.Table:
    """Return RESULTS: of the models that a sweep under the root trained, the rows of their chosen options and seeds."""
    names = [f"sweep/{name}.parquet" for name in ("metrics", "scores")]
    if not all(root.exists(name) for name in names):
        return metrics
    results, scores = (get_table(root, name) for name in names)
    chosen = {row["model"]: row["options"] for row in scores.to_pylist() if row["options"] is not None}
    best = [
        results.filter(pc.and_(pc.equal(results["model"], model), pc.equal(results["options"], options)))
        for model, options in chosen.items()
    ]
    swept = conform(pa.concat_tables([RESULTS.empty_table(), *best]), RESULTS)
    tested = set(swept.filter(pc.equal(swept["split"], "test"))["model"].to_pylist())
    own = pa.array([model not in tested for model in metrics["model"].to_pylist()], pa.bool_())
    at = RESULTS.get_field_index("options")
    plain = swept.set_column(at, RESULTS.field(at), pa.nulls(len(swept), pa.string()))
    return pa.concat_tables([metrics.filter(own), plain.filter(pc.is_in(plain["model"], pa.array(sorted(tested))))])


def write_paper(paper: Paper, data: Sequence[DataSet], folder: str) -> str:
    """Write cells.parquet, claims.parquet and report.html to a folder; return the page's path."""
    root = open_root(folder)
    put_table(root, "cells.parquet", paper.cells(data))
    put_table(root, "claims.parquet", paper.verdicts(data))
    root.put("report.html", paper.render(data).encode())
    return root.uri("report.html")
