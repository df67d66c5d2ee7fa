"""Publish the results of a complete run: latest/, metrics/, the catalog and the report."""

from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from fuseline.flows.config import Config
from fuseline.flows.graph import build
from fuseline.flows.results.catalog import LATEST, REPORT, write_catalog
from fuseline.flows.results.cautions import cautions
from fuseline.flows.results.outcome import notes
from fuseline.flows.results.tables import Tables, published_tables
from fuseline.reports.page import render
from fuseline.reports.page_data import ReportData
from fuseline.stores.catalog import CATALOG
from fuseline.stores.digests import combine
from fuseline.stores.layouts.parquet import put_table
from fuseline.stores.places import open_root
from fuseline.stores.published import Published, publishing
from fuseline.stores.root import Root
from fuseline.stores.schemas import commented
from fuseline.stores.tables import TABLES, PublishedTable
from fuseline.tasks.engine.nodes import Fit, Node, whole
from fuseline.tasks.engine.planner import Plan
from fuseline.tasks.evaluation import contact_sheet
from fuseline.tasks.evaluation.contact_sheet import colours, draw_sheet
from fuseline.tasks.stages import train

PACKAGES = ("prefect", "pyarrow", "polars", "torch", "sentence-transformers", "faiss-cpu", "lightgbm", "zarr", "numba")
SHEET = "contact_sheet.png"


def report_inputs(config: Config, nodes: list[Node], root: Root) -> str:
    """Return a digest of everything that is published."""
    parts = [config.digest, root.absolute().uri()]  # the catalog names files by their place
    for node in nodes:
        if isinstance(node, Fit):
            record = node.fitted(root).record()
            parts.append(f"{node.name}={record.digest if record else ''}")
        else:
            records = node.dataset(root).records()
            parts += [f"{node.name}/{index}={records[index].digest()}" for index in sorted(records)]
    return combine(parts)


def plan_report(config: Config, nodes: list[Node], root: Root, plans: list[Plan]) -> dict[str, Any]:
    """Return the row that `fuseline plan` prints for the report."""
    row: dict[str, object] = {"stage": "report", "fresh": 0, "stale": 0, "missing": 0, "why": ""}
    published = Published.load(root)
    if any(plan.todo for plan in plans):
        before = next(plan.node.label for plan in plans if plan.todo)
        return {**row, ("stale" if published.inputs else "missing"): 1, "why": f"{before} changes"}
    if published.inputs == report_inputs(config, nodes, root) and published.whole(root):
        return {**row, "fresh": 1}
    return {**row, ("stale" if published.inputs else "missing"): 1, "why": "the published results are not of this run"}


def result_paths(root: Root) -> dict[str, str]:
    """Return where the results lie, by what they are."""
    return {"report": root.uri(REPORT), "predictions": root.uri(f"{LATEST}/predictions.parquet"),
            "catalog": root.uri(CATALOG)}  # fmt: skip


def publish_results(config: Config, summaries: list[dict[str, Any]], run: str) -> str:
    """Publish unless what is published is of today's datasets; return the path of the report."""
    root, nodes = open_root(config.root), build(config)
    if plan_report(config, nodes, root, [])["fresh"]:
        return root.uri(REPORT)
    created = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
    places = (LATEST, CATALOG, f"metrics/{run}.parquet", f"reports/{run}")
    with publishing(root, *places, inputs=report_inputs(config, nodes, root), run=run):
        return publish(config, nodes, run=run, created=created, summaries=summaries)


def publish(config: Config, nodes: list[Node], *, run: str, created: str, summaries: list[dict[str, Any]]) -> str:
    """Write all published files, and return the report's path.

    Args:
        config: the effective configuration.
        nodes: every node of the pipeline, all fresh.
        run: the run's name.
        created: when it was, as it shall be printed.
        summaries: what each stage did, as fuseline.flows.runtime.StageSummary.to_dict gives it.
    """
    root = open_root(config.root)
    tables = published_tables(config, nodes, run=run, summaries=summaries)
    remarks, nodes = notes(nodes, root), whole(nodes)
    warnings = cautions(tables["statistics"], scored=config.evaluation.splits, leaks=tables["leaks"])
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
    history = f"reports/{run}/index.html"
    root.put(history, page.encode())
    put_table(root, f"metrics/{run}.parquet", tables["metrics"])
    with root.writing_folder(LATEST) as folder:
        latest = open_root(folder)
        latest.put("report.html", page.encode())
        _put_latest(latest, tables, nodes, root)
        if any(node.role == contact_sheet.ROLE for node in nodes):
            latest.put(SHEET, draw_sheet(tables["contact_sheet"], sorted(config.detect)))
        state = {
            "name": config.name,
            "run": run,
            "multi_label": multi_label,
            "metric": config.report.metric,
            "cautions": warnings,
        }
        latest.put("state.json", orjson.dumps(state))
    write_catalog(nodes, root, run)
    return root.uri(history)


def _put_latest(latest: Root, tables: Tables, nodes: list[Node], root: Root) -> None:
    for name, definition in TABLES.items():
        if definition.form == "table":
            put_table(latest, f"{name}.parquet", commented(tables[name], definition.schema))
        if definition.columns:
            schema = pa.schema([definition.schema.field(column) for column in definition.columns])
            _put_stream(latest, f"{name}.parquet", schema, _shards(nodes, root, definition))


def _multi_label(nodes: list[Node], root: Root) -> bool:
    """Return whether documents may carry several labels, as the first fitted model says."""
    for node in nodes:
        if isinstance(node, Fit) and node.role == train.ROLE and (record := node.fitted(root).record()):
            return bool(record.facts[train.MULTI_LABEL])
    return False


def _shards(nodes: list[Node], root: Root, table: PublishedTable) -> Iterator[pa.Table]:
    """Yield the columns of a table from all shards of its datasets."""
    for dataset in (node.dataset(root) for node in nodes if node.role in table.roles):
        yield from (dataset.read(record, table.columns) for _, record in sorted(dataset.records().items()))


def _put_stream(root: Root, name: str, schema: pa.Schema, tables: Iterator[pa.Table]) -> None:
    with root.writing(name) as path, pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for table in tables:
            writer.write_table(table.cast(schema))
