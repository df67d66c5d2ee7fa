"""Put the results of a complete run where people look: latest/, metrics/, the catalog and the report."""

from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from fuseline.flows.config import Config
from fuseline.flows.graph import build
from fuseline.flows.results.catalog import LATEST, write_catalog
from fuseline.flows.results.cautions import cautions
from fuseline.flows.results.outcome import notes
from fuseline.flows.results.tables import Tables, published_tables
from fuseline.reports.page import render
from fuseline.reports.page_data import ReportData
from fuseline.stores.atomic import atomic_file, atomic_folder, write_bytes
from fuseline.stores.catalog import CATALOG
from fuseline.stores.digests import combine
from fuseline.stores.layouts.parquet import write_table
from fuseline.stores.published import Published, publishing
from fuseline.stores.schemas import commented
from fuseline.stores.tables import TABLES, PublishedTable
from fuseline.tasks.engine.nodes import Fit, Node, whole
from fuseline.tasks.engine.planner import Plan
from fuseline.tasks.evaluation import contact_sheet
from fuseline.tasks.evaluation.contact_sheet import colours, draw_sheet
from fuseline.tasks.stages import train

PACKAGES = ("prefect", "pyarrow", "polars", "torch", "sentence-transformers", "faiss-cpu", "lightgbm", "zarr", "numba")
SHEET = "contact_sheet.png"


def report_inputs(config: Config, nodes: list[Node], root: Path) -> str:
    """Return a digest of everything that is published."""
    parts = [config.digest, str(root.absolute())]  # the catalog names files by their place
    for node in nodes:
        if isinstance(node, Fit):
            record = node.fitted(root).record()
            parts.append(f"{node.name}={record.digest if record else ''}")
        else:
            records = node.dataset(root).records()
            parts += [f"{node.name}/{index}={records[index].digest()}" for index in sorted(records)]
    return combine(parts)


def plan_report(config: Config, nodes: list[Node], root: Path, plans: list[Plan]) -> dict[str, Any]:
    """Return the row that `fuseline plan` prints for the report."""
    row: dict[str, Any] = {"stage": "report", "fresh": 0, "stale": 0, "missing": 0, "why": ""}
    published = Published.load(root)
    if any(plan.todo for plan in plans):
        before = next(plan.node.label for plan in plans if plan.todo)
        return {**row, ("stale" if published.inputs else "missing"): 1, "why": f"{before} changes"}
    if published.inputs == report_inputs(config, nodes, root) and published.whole(root):
        return {**row, "fresh": 1}
    return {**row, ("stale" if published.inputs else "missing"): 1, "why": "the published results are not of this run"}


def result_paths(root: Path) -> dict[str, Path]:
    """Return where the results lie, by what they are."""
    return {"report": root / LATEST / "report.html", "predictions": root / LATEST / "predictions.parquet",
            "catalog": root / CATALOG}  # fmt: skip


def publish_results(config: Config, summaries: list[dict[str, Any]], run: str) -> str:
    """Publish unless what is published is of today's datasets; return the path of the report."""
    root, nodes = Path(config.root), build(config)
    if plan_report(config, nodes, root, [])["fresh"]:
        return str(root / LATEST / "report.html")
    created = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
    places = (root / LATEST, root / CATALOG, root / "metrics" / f"{run}.parquet", root / "reports" / run)
    with publishing(root, *places, inputs=report_inputs(config, nodes, root), run=run):
        return str(publish(config, nodes, run=run, created=created, summaries=summaries))


def publish(config: Config, nodes: list[Node], *, run: str, created: str, summaries: list[dict[str, Any]]) -> Path:
    """Write everything that analysts read, and return the report's path.

    Args:
        config: the effective configuration.
        nodes: every node of the pipeline, all fresh.
        run: the run's name.
        created: when it was, as it shall be printed.
        summaries: what each stage did, as fuseline.flows.runtime.StageSummary.to_dict gives it.
    """
    root = Path(config.root)
    tables = published_tables(config, nodes, run=run, summaries=summaries)
    remarks, nodes = notes(nodes, root), whole(nodes)
    warnings = cautions(tables["statistics"], scored=config.evaluation.splits)
    multi_label = _multi_label(nodes, root)
    page = render(
        ReportData(
            title=config.name,
            run=run,
            created=created,
            tables=tables,
            detectors={name: f"rgb{colour}" for name, colour in colours(config.detect).items()},
            lineage={node.label: node.key for node in nodes},
            versions={name: version(name) for name in PACKAGES},
            config_yaml=config.to_yaml(),
            multi_label=multi_label,
            metric=config.report.metric,
            notes=(*warnings, *remarks),
        )
    )
    folder = root / "reports" / run
    write_bytes(folder / "index.html", page.encode())
    with atomic_file(root / "metrics" / f"{run}.parquet") as partial:
        write_table(partial, tables["metrics"])
    with atomic_folder(root / LATEST) as latest:
        (latest / "report.html").write_text(page, encoding="utf-8")
        _write_latest(latest, tables, nodes, root)
        if any(node.role == contact_sheet.ROLE for node in nodes):
            (latest / SHEET).write_bytes(draw_sheet(tables["contact_sheet"], sorted(config.detect)))
        state = {"run": run, "multi_label": multi_label, "metric": config.report.metric, "cautions": warnings}
        (latest / "state.json").write_bytes(orjson.dumps(state))
    write_catalog(nodes, root, run)
    return folder / "index.html"


def _write_latest(latest: Path, tables: Tables, nodes: list[Node], root: Path) -> None:
    for name, one in TABLES.items():
        path = latest / f"{name}.parquet"
        if one.form == "table":
            write_table(path, commented(tables[name], one.schema))
        if one.columns:
            schema = pa.schema([one.schema.field(column) for column in one.columns])
            _write_stream(path, schema, _shards(nodes, root, one))


def _multi_label(nodes: list[Node], root: Path) -> bool:
    """Return whether documents may carry several labels, as the first fitted model says."""
    for node in nodes:
        if isinstance(node, Fit) and node.role == train.ROLE and (record := node.fitted(root).record()):
            return bool(record.facts[train.MULTI_LABEL])
    return False


def _shards(nodes: list[Node], root: Path, table: PublishedTable) -> Iterator[pa.Table]:
    """Yield the columns of a table from all shards of its datasets."""
    for dataset in (node.dataset(root) for node in nodes if node.role in table.roles):
        yield from (dataset.read(record, table.columns) for _, record in sorted(dataset.records().items()))


def _write_stream(path: Path, schema: pa.Schema, tables: Iterator[pa.Table]) -> None:
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for table in tables:
            writer.write_table(table.cast(schema))
