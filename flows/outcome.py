"""What went wrong or stayed behind in a run: failed rows, their share, models that saw less than there is."""

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from stores.schemas import QUARANTINE
from tasks.drift import refits
from tasks.ingest import ingest_quarantine
from tasks.nodes import Fit, Ingest, Node, ShardStage
from tasks.planner import training_rows
from tasks.shard import SETTLED


def quarantine_table(nodes: list[Node], root: Path) -> pa.Table:
    """Return every row that failed anywhere, with its stage and reason."""
    parts, documents = [QUARANTINE.empty_table()], next(node for node in nodes if isinstance(node, Ingest))
    for node in nodes:
        if isinstance(node, Ingest):
            parts.append(ingest_quarantine(node, root))
        if isinstance(node, Ingest | ShardStage) and (isinstance(node, Ingest) or node.by_row):
            parts += _failed_rows(node, documents, root)
    return pa.concat_tables(parts).combine_chunks()


def failure_rate(nodes: list[Node], root: Path) -> float:
    """Return the largest share of rows that failed in any one stage."""
    rates = [0.0]
    for node in nodes:
        if isinstance(node, Ingest | ShardStage) and not node.name.startswith("predictions/"):
            tallies = [record.tallies.get("status", {}) for record in node.dataset(root).records().values()]
            total = sum(n for tally in tallies for n in tally.values())
            failed = sum(n for tally in tallies for status, n in tally.items() if status not in SETTLED)
            rates.append(failed / total if total else 0.0)
    return max(rates)


def notes(nodes: list[Node], root: Path) -> tuple[str, ...]:
    """Return sentences on codebooks that data moved away from, and models that saw fewer documents than there are."""
    again = "--refit fits it again (refit: drift does so by itself)"
    found = [f"{name}: {why}; {again}" for name, why in sorted(refits(nodes, root).items())]
    for node in nodes:
        if isinstance(node, Fit) and node.name.startswith("models/"):
            record, now = node.fitted(root).record(), training_rows(node, root)
            if record is not None and record.n_rows != now:
                found.append(
                    f"{node.label}: fitted on {record.n_rows:,} of {now:,} training documents; --refit fits again"
                )
    return tuple(found)


def _failed_rows(node: Ingest | ShardStage, documents: Ingest, root: Path) -> Iterator[pa.Table]:
    dataset = node.dataset(root)
    for index, record in sorted(dataset.records().items()):
        # `no_input` and codes repeat what an earlier stage said.
        if node.flow in ("predict", "quantize") or not set(record.tallies.get("status", {})) - set(SETTLED):
            continue
        table = dataset.read(record, ("id", "status"))
        failed = pc.invert(pc.is_in(table["status"], pa.array(SETTLED)))
        bad = table.filter(failed)
        origin = documents.dataset(root)
        rows = origin.record(index)
        # Row r of a shard is the same document in every dataset.
        sources = origin.read(rows, ("source",)).filter(failed)["source"] if rows else pa.nulls(len(bad), pa.string())
        values = {
            "stage": pa.repeat(node.label, bad.num_rows),
            "id": bad["id"],
            "source": sources,
            "reason": bad["status"],
            "shard": pa.repeat(pa.scalar(index, pa.int32()), bad.num_rows),
        }
        yield pa.table(values, schema=QUARANTINE)
