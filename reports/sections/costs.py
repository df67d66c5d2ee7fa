"""What models cost beside what they are worth: size, work and time, and the accuracy that they reach."""

from typing import Any

import pyarrow as pa

from fuseline.reports.sections.results import ResultTable


def cost_rows(models: pa.Table | None, results: ResultTable | None, *, baseline: str) -> list[dict[str, Any]]:
    """Return a MODELS row per model with `score` (its first metric) and `times`, its training time over the baseline's.

    The best score comes first.
    """
    rows = [] if models is None else models.to_pylist()
    scores = {row.model: row.cells[0].value for row in results.rows} if results else {}
    base = next((row["seconds"] for row in rows if row["model"] == baseline), None)
    made = [
        {
            **row,
            "score": scores.get(row["model"]),
            "times": row["seconds"] / base if base and row["seconds"] is not None else None,
        }
        for row in rows
    ]
    return sorted(made, key=lambda row: (-(row["score"] if row["score"] is not None else -1.0), row["model"]))
