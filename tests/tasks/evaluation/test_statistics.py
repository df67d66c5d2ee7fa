"""Counts of a data set: by hand, and additive over shards."""

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from fuseline.stores.schemas import CLEAN, INGESTED, STATISTICS
from fuseline.tasks.evaluation.statistics import merge, statistics

TABULAR = INGESTED.append(pa.field("num_price", pa.float64())).append(pa.field("cat_colour", pa.string()))
ROWS = [
    {"split": "train", "labels": ["ant", "bee"], "text": "a b c", "image": {"uri": "x.png"}, "num_price": 1.0},
    {"split": "train", "labels": ["ant"], "text": "  ", "image": None, "num_price": float("nan"), "cat_colour": "red"},
    {"split": "train", "labels": [], "text": None, "image": {"uri": None}, "status": "duplicate_id"},
    {"split": "test", "labels": ["bee"], "text": "d e", "image": {"bytes": b"x"}, "cat_colour": "blue"},
    {"split": None, "labels": ["bee"], "text": "d"},
]


def tables(rows):
    """Return the documents and their cleaned text."""
    full = [{"id": str(i), "source_file": "x", "status": "ok", "cat_colour": None, **row} for i, row in enumerate(rows)]
    cleaned = [
        {
            "id": row["id"],
            "status": "ok" if (row["text"] or "").strip() else "missing",
            "text": row["text"] or "",
            "words": len((row["text"] or "").split()),
        }
        for row in full
    ]
    return pa.Table.from_pylist(full, schema=TABULAR), pa.Table.from_pylist(cleaned, schema=CLEAN)


def as_dict(table: pa.Table):
    return {(row["split"], row["field"], row["measure"]): row["value"] for row in table.to_pylist()}


def test_counts_by_hand():
    table = statistics(*tables(ROWS))
    assert table.schema == STATISTICS
    found = as_dict(table)
    assert found["train", "documents", "documents"] == 3
    assert found["train", "documents", "failed"] == 1
    assert found["train", "clean", "words"] == 3
    assert found["train", "clean", "missing"] == 2
    assert found["train", "clean", "failed"] == 0
    assert found["train", "text", "missing"] == 2
    assert found["train", "title", "missing"] == 3
    assert found["train", "image", "missing"] == 2
    assert found["train", "num_price", "missing"] == 2
    assert found["train", "cat_colour", "missing"] == 2
    assert found["train", "labels", "labels"] == 3
    assert found["train", "labels", "missing"] == 1
    assert found["train", "label:ant", "documents"] == 2
    assert found["train", "label:bee", "documents"] == 1
    assert found["test", "image", "missing"] == 0
    assert found["test", "clean", "words"] == 2
    assert found["(none)", "documents", "documents"] == 1


def test_missing_fields_are_counted_per_source_folder():
    """Paper M, Table 1: how much text is missing on Google and on Flickr."""
    documents, cleaned = tables(ROWS)
    sources = [f"{'google' if row % 2 else 'flickr'}/q0001.json:{row}" for row in range(len(ROWS))]
    documents = documents.set_column(documents.column_names.index("source_file"), "source_file", pa.array(sources))
    rows = statistics(documents, cleaned).to_pylist()
    count = {name: sum(r["value"] for r in rows if r["source"] == name and r["field"] == "documents"
                       and r["measure"] == "documents") for name in ("google", "flickr")}  # fmt: skip
    assert count == {"google": len(ROWS) // 2, "flickr": len(ROWS) - len(ROWS) // 2}


def test_a_failed_cleaning_is_counted():
    documents, cleaned = tables(ROWS[:1])
    cleaned = cleaned.set_column(1, CLEAN.field("status"), [["timeout"]])
    assert as_dict(statistics(documents, cleaned))["train", "clean", "failed"] == 1


def test_an_image_that_is_referred_to_but_not_there_is_counted():
    documents, cleaned = tables([ROWS[0]] * 4)
    digests = pa.array(["xxh3:1", "no_image", "bad_uri", None])
    documents = documents.set_column(documents.column_names.index("image_digest"), "image_digest", digests)
    found = as_dict(statistics(documents, cleaned))
    assert found["train", "image", "missing"] == 0
    assert found["train", "image", "failed"] == 2


@given(st.lists(st.sampled_from(ROWS), max_size=8), st.integers(0, 8))
def test_statistics_of_shards_add(rows, cut):
    parts = [statistics(*tables(part)) for part in (rows[:cut], rows[cut:])]
    assert merge(parts).equals(statistics(*tables(rows)))


def test_nothing_adds_to_nothing():
    assert merge([]).equals(STATISTICS.empty_table())
