"""Put the results of a complete run where people look: latest/, metrics/, the catalog and the report."""

import logging
from collections import Counter
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
from fuseline.flows.results.outcome import findings_of, notes, quarantine_table
from fuseline.flows.runtime import shares_of
from fuseline.reports.page import render
from fuseline.reports.page_data import PRESENCE, PUBLISHED, STAGES, ReportData
from fuseline.stores.atomic import atomic_file, atomic_folder, write_bytes
from fuseline.stores.catalog import CATALOG
from fuseline.stores.digests import combine
from fuseline.stores.layouts.parquet import write_table
from fuseline.stores.published import Published, publishing
from fuseline.stores.results import conform
from fuseline.stores.schemas import DRIFT, MODELS, PREDICTIONS, RESULTS, STATISTICS, TOKENS, WORDS, commented
from fuseline.stores.tables import TABLES
from fuseline.tasks.engine.nodes import Fit, Node, ShardStage, Summary, whole
from fuseline.tasks.engine.planner import Plan
from fuseline.tasks.evaluation import contact_sheet, evaluate, gallery, statistics, token_dictionary
from fuseline.tasks.evaluation.contact_sheet import colours, draw_sheet
from fuseline.tasks.readers import published
from fuseline.tasks.stages import codebook_drift, train

WHOLE = 0.95  # share of the published documents from which on a set is compared with its release
SPLITS = ("train", "valid", "test")

logger = logging.getLogger("fuseline")

PACKAGES = ("prefect", "pyarrow", "polars", "torch", "sentence-transformers", "faiss-cpu", "lightgbm", "zarr", "numba")


# What a classifier's record may say of its costs.
FACTS = ("seconds", "parameters", "bytes", "bytes_per_document", "multiply_adds_per_document")


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
    metrics, quarantine = _metrics(nodes, root, run), quarantine_table(nodes, root)
    told_of, nodes = notes(nodes, root), whole(nodes)
    data = _report_data(config, nodes, run=run, created=created, summaries=summaries)
    words = _typed(WORDS, _tables(nodes, root, token_dictionary.ROLE, "words"))
    told = {"metrics": metrics, "quarantine": quarantine, "notes": (*data["cautions"], *told_of)}
    page = render(ReportData(**{name: value for name, value in data.items() if name != "cautions"}, **told))
    folder = root / "reports" / run
    write_bytes(folder / "index.html", page.encode())
    with atomic_file(root / "metrics" / f"{run}.parquet") as partial:
        write_table(partial, metrics)
    with atomic_folder(root / LATEST) as latest:
        (latest / "report.html").write_text(page, encoding="utf-8")
        small = {name: data[name] for name in ("statistics", "models", "drift", "tokens")}
        small |= {"metrics": metrics, "quarantine": quarantine, "words": words, "findings": findings_of(nodes, root)}
        for name, table in small.items():
            write_table(latest / f"{name}.parquet", commented(table, TABLES[name].schema))
        if data["contact_sheet"] is not None:
            (latest / SHEET).write_bytes(draw_sheet(data["contact_sheet"], sorted(config.detect)))
        for name, columns in {"predictions": PREDICTIONS.names, "documents": DOCUMENT_COLUMNS}.items():
            schema = pa.schema([TABLES[name].schema.field(column) for column in columns])
            _write_stream(latest / f"{name}.parquet", schema, _shards(nodes, root, name, tuple(columns)))
        state = {"run": run, "multi_label": data["multi_label"], "cautions": data["cautions"]}
        (latest / "state.json").write_bytes(orjson.dumps(state))
    write_catalog(nodes, root, run)
    return folder / "index.html"


def _metrics(nodes: list[Node], root: Path, run: str) -> pa.Table:
    joined = _typed(RESULTS, _tables(nodes, root, evaluate.ROLE, "metrics"))
    at = RESULTS.get_field_index("run")
    return joined.set_column(at, RESULTS.field("run"), pa.repeat(run, joined.num_rows)).combine_chunks()


def published_counts(config: Config, statistics: pa.Table) -> pa.Table:
    """Return the counts that the release is known by beside those found.

    Empty when it has none, when nobody wants them, and when far fewer documents were read, as from a part of the set.
    """
    known = published(config.source.reader, config.source.parsed())
    found: Counter[str] = Counter()
    labels = set()
    for row in statistics.to_pylist():
        if row["field"] == "documents" and row["measure"] == "documents":
            found["documents"] += row["value"]
            found[row["split"]] += row["value"]
        if row["field"].startswith("label:"):
            labels.add(row["field"])
    found["labels"] = len(labels)
    documents = known.get("documents") or sum(known.get(split, 0) for split in SPLITS)
    whole = found["documents"] >= WHOLE * documents
    if config.report.published == "never" or (config.report.published == "whole" and not whole):
        return PUBLISHED.empty_table()
    rows = [{"measure": name, "published": count, "found": found[name]} for name, count in sorted(known.items())]
    return pa.Table.from_pylist(rows, schema=PUBLISHED)


def presence(nodes: list[Node], root: Path) -> pa.Table:
    """Return PRESENCE rows: what cleaning, detectors and encoders found in the documents."""
    rows = []
    for node in nodes:
        if isinstance(node, ShardStage) and node.flow in ("clean", "detect", "embed"):
            counts: Counter[str] = Counter()
            for record in node.dataset(root).records().values():
                counts.update(record.tallies.get("status", {}))
            present, missing = counts["ok"], counts["missing"]
            failed = counts.total() - present - missing
            rows.append({"stage": node.label, "present": present, "missing": missing, "failed": failed})
    return pa.Table.from_pylist(rows, schema=PRESENCE)


def _report_data(
    config: Config, nodes: list[Node], *, run: str, created: str, summaries: list[dict[str, Any]]
) -> dict[str, Any]:
    root = Path(config.root)
    counts = next(iter(_tables(nodes, root, statistics.ROLE, statistics.ROLE)), STATISTICS.empty_table())
    scores = {name: _tables(nodes, root, evaluate.ROLE, name) for name in ("classes", "confusion", "importance")}
    # Runs of older versions know no shares.
    rows = [{**row, "shares": list(shares_of(row.get("timings", {})).items())} for row in summaries]
    stages = pa.Table.from_pylist([{name: row[name] for name in STAGES.names} for row in rows], schema=STAGES)
    return {
        "title": config.name,
        "run": run,
        "created": created,
        "statistics": counts,
        "presence": presence(nodes, root),
        "published": published_counts(config, counts),
        **{name: _joined(tables) for name, tables in scores.items()},
        "gallery": _joined(_tables(nodes, root, gallery.ROLE, gallery.ROLE)),
        "contact_sheet": _joined(_tables(nodes, root, contact_sheet.ROLE, contact_sheet.ROLE)),
        "detectors": {name: f"rgb{colour}" for name, colour in colours(config.detect).items()},
        "models": model_table(config, nodes, root),
        "drift": _typed(DRIFT, _tables(nodes, root, codebook_drift.ROLE, codebook_drift.ROLE)),
        "tokens": _typed(TOKENS, _tables(nodes, root, token_dictionary.ROLE, "tokens")),
        "stages": stages,
        "lineage": {node.label: node.key for node in nodes},
        "versions": {name: version(name) for name in PACKAGES},
        "config_yaml": config.to_yaml(),
        "multi_label": _multi_label(nodes, root),
        "cautions": cautions(counts, scored=config.evaluation.splits),
    }


def model_table(config: Config, nodes: list[Node], root: Path) -> pa.Table:
    """Return one MODELS row per trained model: what it says of its size, and what its fit took."""
    rows = []
    for node in nodes:
        if isinstance(node, Fit) and node.role == train.ROLE and (record := node.fitted(root).record()):
            name = node.short
            fixed = {"model": name, "kind": config.models[name].kind, "seed": config.models[name].seed}
            facts = {fact: record.facts.get(fact) for fact in FACTS}
            rows.append({**fixed, **facts, "documents": record.n_rows, "key": f"{node.key}/{record.name}"})
    return pa.Table.from_pylist(rows, schema=MODELS)


def _multi_label(nodes: list[Node], root: Path) -> bool:
    """Return whether documents may carry several labels, as the first fitted model says."""
    for node in nodes:
        if isinstance(node, Fit) and node.role == train.ROLE and (record := node.fitted(root).record()):
            return bool(record.facts[train.MULTI_LABEL])
    return False


def _tables(nodes: list[Node], root: Path, role: str, name: str) -> list[pa.Table]:
    """Return the tables of one name of all summaries of a role, in the order of the nodes."""
    found = (node.table(root, name) for node in nodes if isinstance(node, Summary) and node.role == role)
    return [table for table in found if table is not None]


def _shards(nodes: list[Node], root: Path, role: str, columns: tuple[str, ...]) -> Iterator[pa.Table]:
    """Yield columns of all shards of the datasets of a role."""
    for dataset in (node.dataset(root) for node in nodes if node.role == role):
        yield from (dataset.read(record, columns) for _, record in sorted(dataset.records().items()))


def _typed(schema: pa.Schema, tables: list[pa.Table]) -> pa.Table:
    """Return the columns of a schema of some tables, one after the other."""
    return pa.concat_tables([schema.empty_table(), *(conform(table, schema) for table in tables)])


def _joined(tables: list[pa.Table]) -> pa.Table | None:
    return pa.concat_tables(tables, promote_options="default").combine_chunks() if tables else None


def _write_stream(path: Path, schema: pa.Schema, tables: Iterator[pa.Table]) -> None:
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for table in tables:
            writer.write_table(table.cast(schema))


SHEET = "contact_sheet.png"
DOCUMENT_COLUMNS = ["id", "source_file", "source_row", "status", "split", "fold", "labels", "title"]
