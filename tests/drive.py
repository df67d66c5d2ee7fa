"""A small DAG of cheap, pure stages over a JSON lines file, and a way to run it without Prefect."""

import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from fuseline.models.columns import Text
from fuseline.models.config import FrozenConfig, runtime_option
from fuseline.stores.dataset import ROW_INPUTS
from fuseline.stores.root import Root
from fuseline.tasks.documents.documents_node import SourceConfig
from fuseline.tasks.documents.ingest import Scan, SplitConfig, ingest
from fuseline.tasks.documents.ingest import stage as ingest_stage
from fuseline.tasks.engine.fit import make_fit
from fuseline.tasks.engine.nodes import Context, Feature, Fit, Ingest, Node, Read, ShardStage, Summary
from fuseline.tasks.engine.planner import Plan, PlanOptions, plan_all, plan_node
from fuseline.tasks.engine.shard import make_shards, make_summary
from fuseline.tasks.engine.timings import ShardReport


class CleanConfig(FrozenConfig):
    upper: bool = True
    suffix: str = ""
    workers: int = runtime_option(1)


class Scale(FrozenConfig):
    factor: int = 1


class Nodes(NamedTuple):
    """The DAG: documents -> clean -> vector, model, predictions -> total; documents -> title."""

    documents: Ingest
    clean: ShardStage
    title: ShardStage
    vector: ShardStage
    model: Fit
    predictions: ShardStage
    total: Summary


def clean(tables: list[pa.Table], config: CleanConfig, context: Context) -> pa.Table:
    """Upper-case; a text with "bad" in it fails."""
    text = pc.fill_null(tables[0]["text"], "")
    out = pc.binary_join_element_wise(pc.utf8_upper(text) if config.upper else text, config.suffix, "")
    bad = pc.match_substring(text, "bad")
    missing = pc.if_else(pc.equal(text, ""), "missing", "ok")
    return pa.table({"id": tables[0]["id"], "status": pc.if_else(bad, "bad_text", missing), "text": out})


def title(tables: list[pa.Table], config: Scale, context: Context) -> pa.Table:
    return pa.table({"id": tables[0]["id"], "title": tables[0]["title"]})


def vector(tables: list[pa.Table], config: Scale, context: Context) -> pa.Table:
    lengths = pc.cast(pc.multiply(pc.utf8_length(tables[0]["text"]), config.factor), pa.float32()).combine_chunks()
    return pa.table({"id": tables[0]["id"], "embedding": pa.FixedSizeListArray.from_arrays(lengths, 1)})


def fit_longest(train: Any, valid: Any, config: Scale, context: Context) -> Any:
    """Remember the longest text of the training rows."""
    rows = [text for block in train.blocks() for text in block.text.to_pylist()]
    longest = config.factor * max(len(text) for text in rows)
    return lambda folder: (folder / "model.json").write_bytes(orjson.dumps(longest)), len(rows), {}


def predict(tables: list[pa.Table], config: Scale, context: Context) -> pa.Table:
    (saved,) = context.checkpoints.values()
    longest = orjson.loads(saved.get("model.json"))
    values = pc.subtract(longest, pc.cast(pc.utf8_length(tables[0]["text"]), pa.int64()))
    return pa.table({"id": tables[0]["id"], "status": ["ok"] * len(tables[0]), "value": values})


def add_up(shards: Any, config: Scale, context: Context) -> dict[str, pa.Table]:
    tables = [predictions for (predictions,) in shards()]
    total = sum(sum(table["value"].to_pylist()) for table in tables)
    return {"total": pa.table({"n": [sum(table.num_rows for table in tables)], "total": [total]})}


def count_rows(shards: Any, config: Scale, context: Context) -> dict[str, pa.Table]:
    """Summarise one upstream by its number of rows."""
    return {"total": pa.table({"n": [sum(table.num_rows for (table,) in shards())]})}


def nodes(
    source: Path, *, shard_size: int | str = 10, cleaning: CleanConfig | None = None, factor: int = 1, workers: int = 1
) -> Nodes:
    where, split = SourceConfig(path=str(source)), SplitConfig(valid=0, test=0)
    documents = ingest_stage("x", where, shard_size=shard_size, split=split, workers=workers)
    cleaned = ShardStage(
        role="clean", short="text", flow="clean", version=1, config=cleaning or CleanConfig(), transform=clean,
        feature=Feature(Text, "text", "text"),
        reads=(Read(documents, ("text",)),),
    )  # fmt: skip
    titles = ShardStage(
        role="clean", short="title", flow="clean", version=1, config=Scale(), transform=title,
        reads=(Read(documents, ("title",)),)
    )  # fmt: skip
    vectors = ShardStage(
        role="embed", short="length", flow="embed", version=1, config=Scale(factor=factor), transform=vector,
        layout="zarr",
        reads=(Read(cleaned, ("text",)),),
    )  # fmt: skip
    model = Fit(
        role="models", short="longest", flow="train", version=1, config=Scale(), fit=fit_longest,
        reads=(Read(documents, ("split", "labels")), Read(cleaned, ("text",))),
    )  # fmt: skip
    predictions = ShardStage(
        role="predictions", short="longest", flow="predict", version=1, config=Scale(), transform=predict,
        reads=(Read(cleaned, ("text",)),), fits=(model,),
    )  # fmt: skip
    total = Summary(
        role="evaluation", short="total", flow="evaluate", version=1, config=Scale(), summarise=add_up,
        tables=("total",),
        reads=(Read(predictions, ("value",)),),
    )  # fmt: skip
    return Nodes(documents, cleaned, titles, vectors, model, predictions, total)


def run(wanted: Iterable[Node], root: Root, **options: Any) -> dict[str, list[ShardReport]]:
    """Bring nodes up to date in order, as the flows do; return what was made, by node."""
    made: dict[str, list[ShardReport]] = {}
    for node in wanted:
        plan = plan_node(node, root, PlanOptions(**options))
        wanted = {"source": options.get("source", ""), "retry_failed": options.get("retry_failed", False)}
        made[node.name] = list(_made(plan, root, **wanted))
    return {name: reports for name, reports in made.items() if reports}


def _made(plan: Plan, root: Root, *, source: str, retry_failed: bool) -> Iterator[ShardReport]:
    node = plan.node
    if isinstance(node, Ingest) and (plan.todo or plan.scan):
        records, reports = node.dataset(root).records(), []
        found = plan.scan or Scan({})
        broken = frozenset(i for i in plan.missing if i in records)
        ingest(node, root, broken=broken, listing=found.listing, again=found.again, done=reports.append)
        yield from reports
    for index in [] if isinstance(node, Ingest) else plan.todo:
        if isinstance(node, ShardStage):
            yield make_shard(node, root, index, source=source, retry_failed=retry_failed)
        elif isinstance(node, Fit):
            yield make_fit(node, root, source=source, again=plan.snapshot, warning=plan.warning)
        elif isinstance(node, Summary):
            yield make_summary(node, root, source=source)


def make_shard(stage: ShardStage, root: Root, index: int, **options: Any) -> ShardReport:
    """Make one shard of one stage."""
    (report,) = make_shards([stage], root, index, **{"source": "", **options})
    return report


def counts(made: dict[str, list[ShardReport]]) -> dict[str, tuple[int, int, int]]:
    """Return (shards, rows computed, rows reused) by node."""
    return {
        name: (len(reports), sum(r.computed for r in reports), sum(r.reused for r in reports))
        for name, reports in made.items()
    }


def content(node: Node, root: Root) -> dict[str, dict[str, Any]]:
    """Return the rows of a dataset by id, its bookkeeping columns aside; no id may come twice."""
    dataset = node.dataset(root)
    rows = [row for record in dataset.records().values() for row in dataset.read(record).to_pylist()]
    found = {
        row["id"]: {k: v for k, v in row.items() if k not in (ROW_INPUTS, "source_file", "source_row")} for row in rows
    }
    assert len(found) == len(rows)
    return found


def todo(wanted: Iterable[Node], root: Root, **options: Any) -> dict[str, tuple[int, int]]:
    """Return (stale, missing) of every node that has something to do."""
    plans = plan_all(list(wanted), root, PlanOptions(**options))
    return {plan.node.name: (len(plan.stale), len(plan.missing)) for plan in plans if plan.todo}


def ids_of(node: Node, root: Root) -> dict[int, list[str]]:
    """Return the documents of each shard of a dataset, in order."""
    dataset = node.dataset(root)
    return {index: dataset.read(record, ("id",))["id"].to_pylist() for index, record in dataset.records().items()}


def shard_file(node: Node, root: Root, index: int) -> Path:
    """Return a file that holds bytes of a shard."""
    dataset = node.dataset(root)
    return dataset.folder.local() / next(iter(dataset.records()[index].files))


def record_path(node: Node, root: Root, index: int) -> Path:
    """Return where the record of a shard is written."""
    dataset = node.dataset(root)
    return dataset.folder.local() / dataset.record_name(index)


def aligned(wanted: Nodes, root: Root) -> bool:
    """Return whether row r of shard i is the same document everywhere."""
    shards = [n for n in wanted if isinstance(n, Ingest | ShardStage)]
    ids = [{i: r.ids for i, r in node.dataset(root).records().items()} for node in shards]
    return all(other == ids[0] for other in ids)


class Source:
    """A JSON lines file that is rewritten with a newer time stamp each time."""

    def __init__(self, path: Path) -> None:
        self.path, self.tick = path, 1_700_000_000

    def write(self, documents: Iterable[dict[str, Any]]) -> Path:
        self.path.write_text("".join(json.dumps(document) + "\n" for document in documents), "utf-8")
        self.tick += 1
        os.utime(self.path, (self.tick, self.tick))
        return self.path


def documents(n: int, **changed: str) -> list[dict[str, Any]]:
    """Return n documents; `d3="text"` gives the text of one of them."""
    ids = [f"d{i}" for i in range(n)]
    return [{"id": i, "title": f"Title {i}", "text": changed.get(i, f"text {i}")} for i in ids]
