"""The tables that a run publishes, as the list in fuseline.stores.tables names them."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import orjson
import pyarrow as pa

from fuseline.flows.config import Config
from fuseline.flows.results.outcome import findings_of, quarantine_table
from fuseline.flows.results.searches import search_table
from fuseline.flows.runtime import shares_of
from fuseline.models.metrics.registry import METRICS
from fuseline.models.network import STAND_INS
from fuseline.stores.places import open_root
from fuseline.stores.report_schemas import MEASURES, PRESENCE, RELEASE, STAGES
from fuseline.stores.results import conform
from fuseline.stores.root import Root
from fuseline.stores.schemas import MODELS, RESULTS
from fuseline.stores.tables import TABLES
from fuseline.tasks.engine.nodes import Fit, Node, ShardStage, Summary, whole
from fuseline.tasks.readers import published
from fuseline.tasks.stages import train

WHOLE = 0.95  # share of the published documents from which on a set is compared with its release
SPLITS = ("train", "valid", "test")
# What a classifier's record may say of its costs.
FACTS = ("seconds", "parameters", "bytes", "bytes_per_document", "multiply_adds_per_document", STAND_INS)

Tables = dict[str, pa.Table]


class Source(NamedTuple):
    """What tables are made from."""

    config: Config
    nodes: list[Node]
    root: Root
    summaries: list[dict[str, object]]  # what each stage did
    tables: Mapping[str, pa.Table]  # of the nodes


def published_tables(config: Config, nodes: list[Node], *, run: str, summaries: list[dict[str, Any]]) -> Tables:
    """Return every table of the forms `table` and `report`, by name: what nodes wrote, and what is made of records."""
    root, tables = open_root(config.root), Tables()
    listed = {name: definition for name, definition in TABLES.items() if definition.form in ("table", "report")}
    for name, definition in listed.items():
        if definition.roles:
            own = nodes if name == "metrics" else whole(nodes)  # folds are rows of the results table alone
            written = (table for role in definition.roles for table in node_tables(own, root, role, name))
            tables[name] = pa.concat_tables(
                [definition.schema.empty_table(), *(conform(table, definition.schema) for table in written)]
            )
    at = RESULTS.get_field_index("run")
    metrics = tables["metrics"]
    tables["metrics"] = metrics.set_column(at, RESULTS.field("run"), pa.repeat(run, metrics.num_rows))
    source = Source(config, whole(nodes), root, summaries, tables)
    others = {name: MAKERS[name](source) for name, definition in listed.items() if not definition.roles}
    return {name: table.combine_chunks() for name, table in (tables | others).items()}


def node_tables(nodes: list[Node], root: Root, role: str, name: str) -> Iterator[pa.Table]:
    """Yield the tables of one name of all summaries of a role, in the order of the nodes."""
    for node in nodes:
        if isinstance(node, Summary) and node.role == role and (table := node.table(root, name)) is not None:
            yield table


def measure_table() -> pa.Table:
    """Return MEASURES: the description of every metric in the registry."""
    rows = [
        {
            "title": metric.title or name.replace("_", " "),
            "metric": name,
            **{field: getattr(metric, field) for field in ("summary", "unit", "lower_is_better", "headline", "shown")},
        }
        for name, metric in METRICS.items()
    ]
    return pa.Table.from_pylist(rows, schema=MEASURES)


def stage_table(summaries: list[dict[str, Any]]) -> pa.Table:
    """Return STAGES; runs of older versions know no shares."""
    rows = [{**row, "shares": list(shares_of(row.get("timings", {})).items())} for row in summaries]
    return pa.Table.from_pylist([{name: row[name] for name in STAGES.names} for row in rows], schema=STAGES)


def release_table(config: Config, statistics: pa.Table) -> pa.Table:
    """Return RELEASE rows: the counts that the release is known by beside those found.

    Empty when it has none, when nobody wants them, and when far fewer documents were read, as from a part of the set.
    """
    known = published(config.source.reader, config.source.parsed())
    counts: Counter[str] = Counter()
    labels = set()
    for row in statistics.to_pylist():
        if row["field"] == "documents" and row["measure"] == "documents":
            counts["documents"] += row["value"]
            counts[row["split"]] += row["value"]
        if row["field"].startswith("label:"):
            labels.add(row["field"])
    counts["labels"] = len(labels)
    documents = known.get("documents") or sum(known.get(split, 0) for split in SPLITS)
    is_whole = counts["documents"] >= WHOLE * documents
    if config.report.published == "never" or (config.report.published == "whole" and not is_whole):
        return RELEASE.empty_table()
    rows = [{"measure": name, "published": count, "found": counts[name]} for name, count in sorted(known.items())]
    return pa.Table.from_pylist(rows, schema=RELEASE)


def presence_table(nodes: list[Node], root: Root) -> pa.Table:
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


def model_table(config: Config, nodes: list[Node], root: Root) -> pa.Table:
    """Return one MODELS row per trained model: its size and the cost of its fit."""
    rows = []
    for node in nodes:
        if isinstance(node, Fit) and node.role == train.ROLE and (record := node.fitted(root).record()):
            name = node.short
            spec = config.models[name]
            fixed = {
                "model": name,
                "kind": spec.kind,
                "seed": spec.seed,
                "options": orjson.dumps(spec.options).decode(),
            }
            facts = {fact: record.facts.get(fact) for fact in FACTS}
            rows.append({**fixed, **facts, "documents": record.n_rows, "key": f"{node.key}/{record.name}"})
    return pa.Table.from_pylist(rows, schema=MODELS)


# Tables that no node writes: how each is made.
MAKERS: dict[str, Callable[[Source], pa.Table]] = {
    "models": lambda source: model_table(source.config, source.nodes, source.root),
    "searches": lambda source: search_table(source.nodes, source.root),
    "quarantine": lambda source: quarantine_table(source.nodes, source.root),
    "findings": lambda source: findings_of(source.nodes, source.root),
    "presence": lambda source: presence_table(source.nodes, source.root),
    "release": lambda source: release_table(source.config, source.tables["statistics"]),
    "stages": lambda source: stage_table(source.summaries),
    "measures": lambda _: measure_table(),
}
