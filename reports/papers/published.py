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
        ("paper", pa.string()),  # letter: K is Kiela 2018, and so on
        ("table", pa.string()),  # number, or "text"
        ("row", pa.string()),  # our name of the row
        ("row_label", pa.string()),  # as the paper prints it
        ("dataset", pa.string()),
        ("split", pa.string()),
        ("metric", pa.string()),
        ("value", pa.float64()),  # null where the print is not legible
        ("std", pa.float64()),  # over the paper's runs; null where none is printed
        ("unit", pa.string()),
        ("note", pa.string()),  # on how a doubtful character was read
    ]
)

KIELA = "K"
SETS = {"food101": "UPMC Food-101", "mmimdb": "MM-IMDB", "flickrtag1": "FlickrTag-1", "flickrtag": "FlickrTag"}
FIRST_SHARD = "flickrtag1"  # the only data set that Table 3 is about
# Kind of our model of the same construction, where it is not called as the row is.
KINDS = {"continuous": "image", "ref_tfidf_cnn": "avg_tfidf", "ref_gmu": "gmu", "ref_avgprobs": "avg_probs"}

Score = tuple[str, float, float | None]  # the paper's name of a row, per cent, standard deviation


@lru_cache(maxsize=1)
def reference() -> pa.Table:
    """Return every published number, REFERENCE."""
    types = {field.name: field.type for field in REFERENCE}
    options = csv.ConvertOptions(column_types=types, null_values=[""], strings_can_be_null=True)
    return csv.read_csv(FILE, convert_options=options).cast(REFERENCE)


def published_rows(paper: str, table: str) -> list[dict[str, Any]]:
    """Return the REFERENCE rows of one table of one paper."""
    every = reference()
    found: list[dict[str, Any]] = every.filter(
        pc.and_(pc.equal(every["paper"], paper), pc.equal(every["table"], table))
    ).to_pylist()
    return found


def accuracies(published: str | None) -> dict[str, Score]:
    """Return kind of model -> score on a data set in Kiela's Table 2, or in Table 4 for the whole of FlickrTag."""
    rows = (row for table in "24" for row in published_rows(KIELA, table) if _name(row["dataset"]) == published)
    return {_kind(row["row"]): (row["row_label"], row["value"], row["std"]) for row in rows}


def minutes(published: str | None) -> dict[str, float]:
    """Return kind of model -> minutes of training on a data set (Kiela's Table 3): empty but for FlickrTag-1."""
    rows = (row for row in published_rows(KIELA, "3") if _name(row["dataset"]) == published)
    return {_kind(row["row"]): row["value"] for row in rows}


def counts(published: str | None) -> dict[tuple[str, str], int]:
    """Return (split, documents or words) -> count of a data set (Kiela's Table 1)."""
    called = {"docs": "documents", "words": "words"}
    rows = (row for row in published_rows(KIELA, "1") if _name(row["dataset"]) == published)
    return {(row["split"], called[row["metric"]]): int(row["value"]) for row in rows}


def neighbours() -> dict[str, list[tuple[str, float]]]:
    """Return visual token -> its nearest words with their cosines (Kiela's Table 5)."""
    found: dict[str, list[tuple[str, float]]] = {}
    for row in published_rows(KIELA, "5"):
        token = row["row"].removeprefix("K-nn-").rpartition("-")[0]
        found.setdefault(f"_q-_{token}", []).append((row["row_label"], row["value"]))
    return found


def _kind(row: str) -> str:
    name = row.removeprefix(f"{KIELA}-")
    return KINDS.get(name, name)


def _name(dataset: str) -> str:
    """Return our name of a data set of the paper."""
    return dataset.replace("-", "")
