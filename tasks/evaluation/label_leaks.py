"""Columns that give the label away: they determine it, or follow from it, on nearly all documents."""

import fnmatch
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from fuseline.models.config import FrozenConfig
from fuseline.stores.digests import cell_digests
from fuseline.stores.report_schemas import LEAKS
from fuseline.tasks.engine.nodes import Context, Ingest, Read, Shards, Summary

ROLE = "leaks"
SHARE = 0.99  # of the documents with a label from which on a column gives it away
HALVED = 0.5  # at most as many documents are told wrong, beside always saying what is most frequent
FEWEST = 50  # documents with a label: among fewer, chance looks like a rule
MOST = 200_000  # documents that are looked at: those whose ids have the lowest hashes


class LeaksConfig(FrozenConfig):
    """No options."""


def label_leaks(table: pa.Table, columns: list[str]) -> pa.Table:
    """Return LEAKS rows: of `columns`, those that determine the label (column `labels`) or are determined by it.

    A column determines the label when, for SHARE of the documents with one, it is the most frequent label of those
    that share the column's value; a value that occurs once says nothing, so an id is no leak. That a value is missing
    is a value too. Always saying the most frequent label must be wrong at least twice as often, so a constant column
    is no leak either, nor is any where nearly all documents carry one label. A column is determined by the label
    likewise, the other way round. Several labels of a document count as one, their set.
    """
    table = table.filter(pc.greater(pc.fill_null(pc.list_value_length(table["labels"]), 0), 0))
    labels = _hashes(table["labels"])
    rows = []
    for column in columns if len(table) >= FEWEST else ():
        values = _hashes(table[column])
        for way, given, told in (("determines", values, labels), ("follows", labels, values)):
            right, frequent = _right(given, told)
            if right >= SHARE * len(table) and len(table) - right <= HALVED * (len(table) - frequent) > 0:
                rows.append({"column": column, "way": way, "right": right, "documents": len(table)})
    return pa.Table.from_pylist(rows, schema=LEAKS)


def _right(given: NDArray[np.uint64], told: NDArray[np.uint64]) -> tuple[int, int]:
    """Return how many rows have the most frequent `told` of their `given`, repeated ones alone, and of all rows."""
    pairs = pa.table({"given": given, "told": told}).group_by(["given", "told"]).aggregate([([], "count_all")])
    groups = pairs.group_by("given").aggregate([("count_all", "max"), ("count_all", "sum")])
    repeated = groups.filter(pc.greater(groups["count_all_sum"], 1))
    overall = pairs.group_by("told").aggregate([("count_all", "sum")])
    return pc.sum(repeated["count_all_max"]).as_py() or 0, pc.max(overall["count_all_sum"]).as_py() or 0


def _hashes(column: pa.ChunkedArray) -> NDArray[np.uint64]:
    return np.ascontiguousarray(cell_digests(column)[:, :8]).view(np.uint64).reshape(-1)


def find_leaks(shards: Shards, config: LeaksConfig, context: Context) -> dict[str, pa.Table]:
    """Look for leaks among all documents, of more than MOST among as many as have the lowest hashes of ids."""
    kept: pa.Table | None = None
    for (documents,) in shards():
        hashed = documents.append_column("#hash", pa.array(_hashes(documents["id"])))
        hashed = hashed.filter(pc.greater(pc.list_value_length(hashed["labels"]), 0))
        kept = hashed if kept is None else pa.concat_tables([kept, hashed], promote_options="default")
        if len(kept) > MOST:
            kept = kept.take(pc.select_k_unstable(kept, MOST, sort_keys=[("#hash", "ascending")]))
    if kept is None:
        return {ROLE: LEAKS.empty_table()}
    return {ROLE: label_leaks(kept, sorted(set(kept.column_names) - {"id", "labels", "#hash"}))}


def stage(documents: Ingest, columns: Collection[str]) -> Summary:
    """Return the node that looks for leaks among the columns that models may read, patterns included."""
    covered = {one for one in columns for other in columns if one != other and fnmatch.fnmatchcase(one, other)}
    read = sorted(set(columns) - covered)  # a column that a pattern covers would change the key and nothing else
    return Summary(
        role=ROLE, short="columns", flow="evaluate", main=False, version=1, config=LeaksConfig(), tables=(ROLE,),
        reads=(Read(documents, ("id", "labels", *read)),), summarise=find_leaks,
    )  # fmt: skip


def sentence(leak: Mapping[str, Any]) -> str:
    """Return what a LEAKS row says."""
    does = "determines the label" if leak["way"] == "determines" else "follows from the label"
    return (
        f"column {leak['column']} {does} on {leak['right'] / leak['documents']:.1%} of {leak['documents']:,} documents"
    )
