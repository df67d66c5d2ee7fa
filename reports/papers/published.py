"""What the papers published, as one checked table."""

from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as csv

FILE = Path(__file__).with_name("published.csv")

REFERENCE = pa.schema(
    [
        ("paper", pa.string()),
        ("table", pa.string()),
        ("row", pa.string()),  # as the paper names it
        ("model", pa.string()),  # kind of our model that it stands beside
        ("column", pa.string()),  # data set, or what is counted
        ("value", pa.float64()),
        ("std", pa.float64()),  # over 5 runs; null where none is printed
        ("unit", pa.string()),
    ]
)


@lru_cache(maxsize=1)
def reference() -> pa.Table:
    """Return every published number, REFERENCE."""
    types = {field.name: field.type for field in REFERENCE}
    options = csv.ConvertOptions(column_types=types, null_values=[""], strings_can_be_null=False)
    return csv.read_csv(FILE, convert_options=options).cast(REFERENCE)


def accuracies(published: str | None) -> dict[str, tuple[str, float, float | None]]:
    """Return kind of model -> (the paper's name, per cent, standard deviation) of a data set: its Table 2, or 4."""
    rows = [row for row in _rows("2", "4") if row["column"] == published]
    return {row["model"]: (row["row"], row["value"], row["std"]) for row in rows}


def minutes() -> dict[str, float]:
    """Return kind of model -> minutes of training on FlickrTag-1 (Table 3)."""
    return {row["model"]: row["value"] for row in _rows("3")}


def counts(published: str | None) -> dict[tuple[str, str], int]:
    """Return (split, documents or words) -> count of a data set (Table 1)."""
    rows = [row for row in _rows("1") if row["row"] == published]
    return {(split, what): int(row["value"]) for row in rows for split, what in [row["column"].split(" ")]}


def _rows(*tables: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = reference().filter(pc.is_in(reference()["table"], pa.array(tables))).to_pylist()
    return found
