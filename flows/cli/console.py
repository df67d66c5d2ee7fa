"""Human-readable tables at a terminal."""

from collections import Counter
from typing import Any

from rich.table import Table

from fuseline.flows.cli.row_tables import column_table, count
from fuseline.flows.config import Config
from fuseline.flows.results.leaderboard import Standing, cells, title
from fuseline.flows.results.publish import result_paths
from fuseline.flows.runs import last_run
from fuseline.flows.runtime import shares_of
from fuseline.stores.lock import held_by
from fuseline.stores.places import open_root
from fuseline.stores.root import Root
from fuseline.tasks.engine.nodes import Fit, Node


def plan_table(rows: list[dict[str, Any]]) -> Table:
    """Show what a run would make."""
    table = column_table("stage", fresh="right", stale="right", missing="right", why="left")
    for row in rows:
        table.add_row(row["stage"], count(row["fresh"]), count(row["stale"]), count(row["missing"]), row["why"])
    return table


def summaries_table(summaries: list[dict[str, Any]]) -> Table:
    """Show what a run did."""
    table = column_table("stage", fresh="right", made="right", computed="right", reused="right", seconds="right")
    for row in summaries:
        counts = (row["fresh"], row["computed_shards"], row["rows_computed"], row["rows_reused"])
        table.add_row(row["stage"], *map(count, counts), f"{row['seconds']:.1f}" if row["seconds"] else "")
    return table


def time_table(summaries: list[dict[str, Any]]) -> Table | None:
    """Show what the stages' work consisted of, in per cent; None when nothing was made shard by shard."""
    rows = [(row["stage"], shares) for row in summaries if (shares := shares_of(row.get("timings", {})))]
    if not rows:
        return None
    table = column_table("share of work, %", **dict.fromkeys(rows[0][1], "right"))
    for stage, shares in rows:
        table.add_row(stage, *(f"{100 * share:.1f}" for share in shares.values()))
    return table


def verify_table(rows: list[dict[str, Any]]) -> Table:
    """Show what was checked and what is damaged."""
    table = column_table("stage", checked="right", damaged="left")
    for row in rows:
        table.add_row(row["stage"], count(row["checked"]), "; ".join(row["damaged"]))
    return table


def erasure_table(rows: dict[str, int]) -> Table:
    """Show how many rows went from which dataset."""
    table = column_table("dataset", rows="right")
    for name, n in rows.items():
        table.add_row(name, count(n))
    return table


def leaderboard_table(rows: list[Standing]) -> Table:
    """Show the models of a run, the best first; scores in per cent."""
    printed = [cells(row) for row in rows]
    first, *others = printed[0]
    table = column_table(first, **dict.fromkeys(others, "right"))
    table.title, table.title_justify = title(rows), "left"
    for row in printed:
        table.add_row(*row.values())
    return table


def where_table(root: Root) -> Table:
    """Show where the results lie."""
    table = Table.grid(padding=(0, 2))
    for name, path in result_paths(root).items():
        table.add_row(name, path)
    return table


def status_of(config: Config, nodes: list[Node]) -> dict[str, Any]:
    """Return the last run, the holder of the root and what every dataset holds."""
    root = open_root(config.root)
    last = last_run(root)
    stages = [_stage_status(node, root) for node in nodes]
    return {
        "root": root.uri(),
        "config": config.digest,
        "last_run": last.run if last else None,
        "held_by": held_by(root),
        "stages": stages,
    }


def status_table(status: dict[str, Any]) -> Table:
    """Show the status."""
    held = status["held_by"] or "nobody"
    table = column_table("stage", shards="right", documents="right", status="left")
    table.title = f"{status['root']}: last run {status['last_run'] or 'none'}, held by {held}"
    for row in status["stages"]:
        counts = ", ".join(f"{name} {n:,}" for name, n in sorted(row["status"].items()))
        table.add_row(row["stage"], count(row["shards"]), count(row["documents"]), counts)
    return table


def _stage_status(node: Node, root: Root) -> dict[str, object]:
    if isinstance(node, Fit):
        fitted = node.fitted(root).record()
        seen = fitted.n_rows if fitted else 0
        return {"stage": node.label, "shards": int(fitted is not None), "documents": seen, "status": {}}
    records = list(node.dataset(root).records().values())
    counts: Counter[str] = Counter()
    for record in records:
        counts.update(record.tallies.get("status", {}))
    n_rows = sum(record.n_rows for record in records)
    return {"stage": node.label, "shards": len(records), "documents": n_rows, "status": dict(counts)}
