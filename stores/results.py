"""Means and standard deviations of the one results table, over seeds or over folds: the only place that makes them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fuseline.stores.schemas import RESULTS, column

DDOF = 1  # standard deviations have n - 1 below

# One row per model, options, split, condition and metric, and for what the mean is over.
SUMMARY = pa.schema(
    [
        *(RESULTS.field(name) for name in ("model", "options", "split", "condition", "metric")),
        column("over", pa.string(), "seeds, or folds of a cross-validation"),
        column("mean", pa.float64(), "mean of the values"),
        column("std", pa.float64(), "standard deviation of the values, n - 1 below; null for a single one"),
        column("ddof", pa.int64(), "what the number of values is reduced by in the standard deviation"),
        column("values", pa.int64(), "values that the mean is of: seeds, or folds times seeds"),
        column("n", pa.int64(), "documents that one value was computed on; over folds all of them"),
    ]
)


def conform(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """Return the columns of a schema; one that a table of an older version lacks is null."""
    columns = [
        table[field.name].cast(field.type) if field.name in table.column_names else pa.nulls(len(table), field.type)
        for field in schema
    ]
    return pa.Table.from_arrays(columns, schema=schema)


def plain(results: pa.Table) -> pa.Table:
    """Return the rows of ordinary evaluations: of no fold, with nothing masked."""
    return results.filter(pc.and_(pc.is_null(results["fold"]), pc.is_null(results["condition"])))


def spread(values: Sequence[float]) -> tuple[float | None, float | None]:
    """Return mean and standard deviation (DDOF); None where there are too few values."""
    mean = float(np.mean(values)) if len(values) else None
    return mean, float(np.std(values, ddof=DDOF)) if len(values) > DDOF else None


def summary(results: pa.Table) -> pa.Table:
    """Return SUMMARY of RESULTS rows, in the order in which each group comes first; runs are not told apart.

    Rows of folds never mix with rows of no fold, nor those of one condition or of some options with others.
    """
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in results.to_pylist():
        over = "seeds" if row["fold"] is None else "folds"
        groups.setdefault((*(row[name] for name in SUMMARY.names[:5]), over), []).append(row)
    rows = []
    for group, own in groups.items():
        mean, std = spread([row["value"] for row in own])
        sizes = {row["fold"]: row["n"] or 0 for row in own}
        counts = {"ddof": DDOF, "values": len(own), "n": sum(sizes.values())}
        rows.append({**dict(zip(SUMMARY.names[:6], group, strict=True)), "mean": mean, "std": std, **counts})
    return pa.Table.from_pylist(rows, schema=SUMMARY)
