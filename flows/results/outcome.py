"""Failures and warnings of a run: failed rows, their share, models that were fitted on fewer documents."""

from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from fuseline.flows.results.undertrained import undertrained
from fuseline.models.network import STAND_INS
from fuseline.stores.errors import DataError
from fuseline.stores.root import Root
from fuseline.stores.schemas import FINDINGS, QUARANTINE
from fuseline.tasks.documents.documents_node import DocumentsNode
from fuseline.tasks.documents.ingest import ingest_quarantine
from fuseline.tasks.documents.routing import FORGOTTEN
from fuseline.tasks.documents.side_files import found_beside
from fuseline.tasks.documents.sources import SOURCE, source_text
from fuseline.tasks.engine.nodes import Fit, Ingest, Node, ShardStage, whole
from fuseline.tasks.engine.planner import training_rows
from fuseline.tasks.engine.shard import SETTLED
from fuseline.tasks.experiments.folds import divided
from fuseline.tasks.stages import train
from fuseline.tasks.stages.codebook_drift import refits


class TooManyFailuresError(DataError):
    """More rows of a stage failed than the configuration allows."""


class Failures(NamedTuple):
    """The rows of one stage that failed; chosen drops, such as repeated images, are not among them."""

    stage: str
    failed: int
    total: int
    reasons: dict[str, int]  # the most frequent first
    first: str  # "reason, id at source"

    def line(self) -> str:
        """Return how many failed and why."""
        reasons = ", ".join(f"{n:,} {reason}" for reason, n in self.reasons.items())
        return f"{self.failed:,} of {self.total:,} ({self.failed / self.total:.1%}: {reasons}); first: {self.first}"


def findings_of(nodes: list[Node], root: Root) -> pa.Table:
    """Return the findings of the ingest about its source, beside the rows."""
    tables = [found_beside(node.dataset(root)) for node in nodes if isinstance(node, Ingest)]
    return pa.concat_tables([FINDINGS.empty_table(), *tables]).combine_chunks()


def quarantine_table(nodes: list[Node], root: Root) -> pa.Table:
    """Return every row that failed anywhere, with its stage and reason."""
    parts = [QUARANTINE.empty_table()]
    for node in nodes:
        parts += _quarantined(node, root)
    return pa.concat_tables(parts).combine_chunks()


def failures(nodes: list[Node], root: Root, *, predictions: bool = False) -> Iterator[Failures]:
    """Yield the stages in which rows failed, in order; with `predictions`, a row that got none counts as failed."""
    for node in nodes:
        if not _by_row(node) or (node.flow == "predict" and not predictions):
            continue
        counts, rows = _tallied(node, root), sum(record.n_rows for record in node.dataset(root).records().values())
        if isinstance(node, DocumentsNode):
            dropped = Counter(ingest_quarantine(node, root)["reason"].to_pylist())
            dropped = Counter({reason: n for reason, n in dropped.items() if reason not in _chosen(node)})
            counts, rows = counts + dropped, rows + dropped.total()
        if counts:
            yield Failures(node.label, counts.total(), rows, dict(counts.most_common()), _first(node, root))


def check_failures(nodes: list[Node], root: Root, allowed: float, *, predictions: bool = False) -> None:
    """Raise TooManyFailuresError when more than the allowed share of the rows of a stage failed; see `failures`."""
    for failed in failures(nodes, root, predictions=predictions):
        if failed.failed > allowed * failed.total:
            expected = f"at most {allowed:.1%} (run.allowed_failures)"
            cure = "correct the source or its options, or allow more"
            if not predictions:
                cure += "; a complete run lists them in latest/quarantine.parquet"
            raise TooManyFailuresError(
                f"failed rows of {failed.stage}: expected {expected}, got {failed.line()}; {cure}"
            )


def absent(nodes: list[Node], root: Root) -> Iterator[str]:
    """Yield a sentence per stage that found nothing in any document."""
    for node in nodes:
        if isinstance(node, ShardStage) and node.by_row:
            tallies = [record.tallies.get("status", {}) for record in node.dataset(root).records().values()]
            if tallies and all(tally.keys() == {"missing"} for tally in tallies):
                rows = sum(tally["missing"] for tally in tallies)
                yield f"{node.label}: nothing to read in any of {rows:,} documents"


def notes(nodes: list[Node], root: Root) -> tuple[str, ...]:
    """Return sentences on drifted codebooks, models that saw too little, learnt little or stand in, and folds."""
    again = "--refit fits it again (refit: drift does so by itself)"
    cautions = [f"{name}: {why}; {again}" for name, why in sorted(refits(nodes, root).items())]
    for node in whole(nodes):
        if isinstance(node, Fit) and node.role == train.ROLE and (record := node.fitted(root).record()) is not None:
            now = training_rows(node, root)
            if record.n_rows != now:
                cautions.append(
                    f"{node.label}: fitted on {record.n_rows:,} of {now:,} training documents; --refit fits again"
                )
            cautions += undertrained(node.label, record.facts)
            if isinstance(node.config, train.TrainConfig) and node.config.labels is not None:
                cautions.append(f"{node.label}: learns, and is scored on, {node.config.labels}")
            if isinstance(published := record.facts.get(STAND_INS), list):
                names = ", ".join(map(str, published))
                cautions.append(f"{node.label}: other networks stand in for {names} of the paper")
    folds = max((node.fold.of for node in nodes if node.fold is not None), default=0)
    if folds:
        documents = next(node for node in nodes if isinstance(node, Ingest))
        there, aside = divided(documents, root)
        cautions.append(f"cross-validation: {folds} folds of {there:,} documents; {aside:,} of split test take no part")
    return tuple(cautions)


def _by_row(node: Node) -> bool:
    # Codes repeat what an earlier stage said.
    return isinstance(node, Ingest) or (isinstance(node, ShardStage) and node.by_row and node.flow != "quantize")


def _tallied(node: Node, root: Root) -> Counter[str]:
    """Return how many rows of a stage failed, by reason."""
    counts: Counter[str] = Counter()
    for record in node.dataset(root).records().values():
        counts.update({name: n for name, n in record.tallies.get("status", {}).items() if name not in SETTLED})
    return counts


def _chosen(node: DocumentsNode) -> tuple[str, ...]:
    """Return the reasons for which rows are left out because the user says so."""
    always = (FORGOTTEN, "duplicate_image", "unknown_label")
    return (*always, "duplicate_id") if node.config.duplicates.ids == "last" else always


def _first(node: Node, root: Root) -> str:
    """Return the first failed row of a stage: those that became no document come before the others."""
    for table in _quarantined(node, root, predictions=True):
        rows = (
            table.filter(pc.invert(pc.is_in(table["reason"], pa.array(_chosen(node)))))
            if isinstance(node, DocumentsNode)
            else table
        )
        if rows.num_rows:
            row = rows.slice(0, 1).to_pylist()[0]
            named = [part for part in (row["id"], row["source"] and f"at {row['source']}") if part]
            return ", ".join([row["reason"], " ".join(named)])
    return "no longer there"


def _quarantined(node: Node, root: Root, *, predictions: bool = False) -> Iterator[pa.Table]:
    """Yield QUARANTINE rows of one stage; of predictions, which repeat what is missing, only if asked for."""
    if isinstance(node, DocumentsNode):
        yield ingest_quarantine(node, root)
    if not _by_row(node) or (node.flow == "predict" and not predictions):
        return
    dataset, origin = node.dataset(root), _documents(node).dataset(root)
    for index, record in sorted(dataset.records().items()):
        if not set(record.tallies.get("status", {})) - set(SETTLED):
            continue
        table = dataset.read(record, ("id", "status"))
        failed = pc.invert(pc.is_in(table["status"], pa.array(SETTLED)))
        bad, rows = table.filter(failed), origin.record(index)
        # Row r of a shard is the same document in every dataset.
        sources = source_text(origin.read(rows, SOURCE).filter(failed)) if rows else pa.nulls(len(bad), pa.string())
        values = {
            "stage": pa.repeat(node.label, bad.num_rows),
            "id": bad["id"],
            "source": sources,
            "reason": bad["status"],
            "shard": pa.repeat(pa.scalar(index, pa.int32()), bad.num_rows),
        }
        yield pa.table(values, schema=QUARANTINE)


def _documents(node: Node) -> Ingest:
    return node if isinstance(node, Ingest) else _documents(node.reads[0].node)
