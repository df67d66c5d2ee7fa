"""Erase documents from an output root: datasets of all versions, published results, reports, the catalog."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fuseline.flows.config import Config
from fuseline.flows.experiments.trials import FOLDER, TOKEN_PAGE
from fuseline.flows.graph import build
from fuseline.flows.results.catalog import LATEST, REPORT, rewrite_catalog
from fuseline.flows.results.publish import SHEET, plan_report, publish_results
from fuseline.flows.runs import known_nodes, last_summaries
from fuseline.flows.runtime import new_run
from fuseline.reports.redact import redacted, tells_all
from fuseline.stores.catalog import CATALOG
from fuseline.stores.dataset import list_datasets
from fuseline.stores.errors import ConfigError, DataError, mismatch
from fuseline.stores.fitted import Fitted
from fuseline.stores.forgotten import Forgotten, erase_from_file
from fuseline.stores.places import open_root
from fuseline.stores.published import Published, publishing
from fuseline.stores.root import Root
from fuseline.tasks.documents.erase import AffectedShard, datasets_of, erase_rows, find_listed, find_rows
from fuseline.tasks.engine.nodes import ShardStage, Summary
from fuseline.tasks.engine.planner import PlanOptions, plan_node
from fuseline.tasks.engine.shard import make_shards, make_summary


@dataclass(frozen=True)
class Erasure:
    """What was erased, or would be."""

    forgotten: int  # documents on the root's list, earlier ones among them
    unknown: int  # ids that no dataset held
    rows: dict[str, int]  # dataset -> rows that went
    tables: tuple[str, ...]  # shards of tables that named one of them: gone whole
    unreadable: tuple[str, ...]  # shards that went whole, because what they held could not be read
    pages: tuple[str, ...]  # reports that showed one of the documents
    fitted: tuple[str, ...]  # models and codebooks that saw one of them
    current: bool  # the published results were of this configuration, with nothing left to do

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return asdict(self)


def read_ids(values: Iterable[str]) -> list[str]:
    """Return ids; a value that names a file stands for its lines. Raises ConfigError for a file that is no text."""
    ids: list[str] = []
    for value in values:
        path = Path(value)
        if not path.is_file():
            ids.append(value)
            continue
        try:
            ids += filter(None, path.read_text("utf-8-sig").split("\n"))
        except UnicodeDecodeError as error:
            cure = "put the id itself into a file, if it reads like a file's name"
            raise ConfigError(mismatch("--ids", "an id, or a text file with one id per line", value, cure)) from error
    return ids


def forget(config: Config, ids: Sequence[str], *, missing_ok: bool = False, dry_run: bool = False) -> Erasure:
    """Erase documents from everything below the root, and keep them out for good; the caller holds the root.

    Without `ids` an erasure that was cut short is completed. The list of hashes is written first, so that a kill at
    any later moment leaves something that the next call completes.

    Args:
        config: any configuration with this root.
        ids: what to forget.
        missing_ok: ids that nothing holds are put on the list too, instead of being refused.
        dry_run: change nothing.

    Raises:
        ConfigError: there is nothing to forget, or an id is unknown.
    """
    root = open_root(config.root)
    earlier = Forgotten.load(root, again=ids)
    forgotten = earlier.with_ids(ids)
    if not len(forgotten):
        raise ConfigError(mismatch("--ids", "ids of documents", "none", "name a file or an id"))
    nodes = known_nodes(config, root)
    datasets = datasets_of(root, nodes)
    affected = list(find_rows(datasets, forgotten))
    known = {document for shard in affected for document in shard.ids} | find_listed(datasets, forgotten)
    unknown = [document for document in ids if document not in known and document not in earlier]
    if unknown and not missing_ok:
        cure = "check them, or give --missing-ok to keep ids out that were never read"
        raise ConfigError(mismatch("--ids", f"ids of documents under {root}", _some(unknown), cure))
    fitted, current = tuple(_fitted_on(root, affected)), _is_current(config, root)
    pages = tuple(_showing(root, forgotten))
    if not dry_run:
        forgotten.save(root)
        erase_rows(root, nodes, datasets, affected, forgotten)
        _erase_published(config, root, forgotten, pages)
    return Erasure(
        forgotten=len(forgotten), unknown=len(unknown), rows=_counts(affected), fitted=fitted, current=current,
        tables=tuple(f"{shard.name} shard {shard.index}" for shard in affected if not shard.by_row),
        unreadable=tuple(f"{shard.name} shard {shard.index}" for shard in affected if not shard.ids),
        pages=pages,
    )  # fmt: skip


def report_lines(done: Erasure, config: Config, *, dry_run: bool) -> Iterator[str]:
    """Yield the report of an erasure, line by line."""
    went = "would go" if dry_run else "went"
    yield f"{sum(done.rows.values()):,} rows of {len(done.rows)} datasets {went}; {len(done.pages)} reports showed them"
    if done.unknown:
        yield f"{done.unknown:,} ids were held by nothing; they are kept out from now on"
    if done.tables:
        yield f"{len(done.tables)} tables that named them {went} whole; they are made again from what is left"
    for name in done.unreadable:
        yield f"{name} cannot be read and {went} whole: the next run makes it again"
    for name in done.fitted:
        yield f"{name} was fitted on them or chosen by them, and keeps what it learnt; --refit fits again"
    yield (
        f"not touched: {config.source.path} with its images, files that `predict --output` wrote, copies of reports; "
        "as long as the source holds the documents, every ingest leaves them out"
    )
    if not done.current and not dry_run:
        yield "statistics, metrics and the report are of before: `fuseline run` renews them"


def drop_superseded(root: Root) -> None:
    """Remove the checkpoints that lie beside one that was fitted later: they learnt from the documents too."""
    for dataset in list_datasets(root):
        if dataset.manifest.kind == "checkpoint":
            for name in Fitted(root, dataset.manifest).superseded():
                dataset.folder.remove(name)


def renew(config: Config) -> str:
    """Count, score and publish again what is left; return the report's path. Computes no row of any stage."""
    root, images = open_root(config.root), config.source.image_root()
    for node in build(config):
        if isinstance(node, Summary):
            if plan_node(node, root, PlanOptions(images)).todo:
                make_summary(node, root, source=images)
        elif isinstance(node, ShardStage) and not node.by_row:
            for index in plan_node(node, root, PlanOptions(images)).todo:
                (report,) = make_shards([node], root, index, source=images)
                if report.error:
                    raise DataError(f"{node.label} shard {index}: {report.error}")
    return publish_results(config, last_summaries(root), new_run())


def _counts(affected: Iterable[AffectedShard]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for shard in affected:
        if shard.ids and shard.by_row:
            counts[shard.name] = counts.get(shard.name, 0) + len(shard.ids)
    return counts


def _fitted_on(root: Root, affected: Sequence[AffectedShard]) -> Iterator[str]:
    """Yield models and codebooks that saw one of the documents, for training or to choose by."""
    seen = {(shard.name, str(shard.index)) for shard in affected if shard.is_documents and _was_seen(shard)}
    for dataset in list_datasets(root):
        manifest = dataset.manifest
        if manifest.kind != "checkpoint" or manifest.role == FOLDER:  # a trial keeps scores alone
            continue
        record = Fitted(root, manifest).record()
        upstream = [f"{name}/{key}" for name, key in manifest.upstream.items()]
        if record is not None and any((name, shard) in seen for name in upstream for shard in record.shards):
            yield f"{manifest.stage}/{dataset.key}"


def _was_seen(shard: AffectedShard) -> bool:
    if shard.record is None:
        return False
    table = shard.dataset.read(shard.record, ("id", "split"))
    gone = set(shard.ids)
    return any(split in ("train", "valid") for document, split in zip(*table.to_pydict().values(), strict=True)
               if document in gone)  # fmt: skip


def _is_current(config: Config, root: Root) -> bool:
    try:
        return bool(plan_report(config, build(config), root, [])["fresh"])
    except DataError:
        return False


def _showing(root: Root, forgotten: Forgotten) -> Iterator[str]:
    """Yield the reports that show the documents, or pictures without saying of which documents."""
    earlier = [name for name in root.list("reports") if name.endswith("/index.html")]
    for page in [name for name in (REPORT, f"{FOLDER}/report.html", TOKEN_PAGE) if root.exists(name)] + earlier:
        if not tells_all(text := _text(root, page)) or _left(text, forgotten) != text:
            yield page


def _text(root: Root, page: str) -> str:
    return root.get(page).decode("utf-8", errors="replace")


def _left(text: str, forgotten: Forgotten) -> str:
    """Return a report without what it shows of the documents."""
    return redacted(text, lambda ids: any(document in forgotten for document in ids))


def _erase_published(config: Config, root: Root, forgotten: Forgotten, pages: Sequence[str]) -> None:
    """Take the documents out of latest/, the reports and the catalog."""
    # The pictures of a sheet cannot be taken out one by one: it is drawn again when the results are published again.
    gone = [name for name in (f"{LATEST}/{SHEET}", *Published.damaged(root, LATEST)) if root.exists(name)]
    with publishing(root, LATEST, CATALOG, *pages, inputs="" if gone else None):
        for name in gone:
            root.delete(name)
        for name in (name for name in pages if root.exists(name)):
            text = _text(root, name)
            # One that shows pictures without saying of which documents cannot be trusted.
            root.put(name, _left(text, forgotten).encode()) if tells_all(text) else root.delete(name)
        for name in (name for name in root.list(LATEST) if name.endswith(".parquet")):
            erase_from_file(root, name, forgotten)
        rewrite_catalog(config, root)


def _some(ids: Sequence[str]) -> str:
    return ", ".join(ids[:3]) + (f" and {len(ids) - 3} more" if len(ids) > 3 else "")
