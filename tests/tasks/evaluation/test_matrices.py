"""Documents shown with what inputs had: labels take turns, and every model is told by one method."""

from typing import Any

import pyarrow as pa
import pytest

from fuseline.stores.errors import AlignmentError
from fuseline.stores.importance_schemas import IMPORTANCES, MATRICES
from fuseline.stores.schemas import DETECTIONS, INGESTED
from fuseline.tasks.evaluation.matrices import MatricesConfig, matrices

CONFIG = MatricesConfig(models=("pooled", "trees"), kinds={"lines": "ocr"}, split="test", count=4)


def told(model: str, ids: str) -> pa.Table:
    dead = 0.25 if model == "pooled" else None
    parts = [
        *({"method": "own", "input": "crops/lines", "share": share} for share in (0.5, 0.25)),
        {"method": "left_out", "input": "embed/image", "share": 1.0},
    ]  # fmt: skip
    rows = [{"id": name, "model": model, "label": "x", "dead": dead, "parts": parts} for name in ids]
    return pa.Table.from_pylist(rows, schema=IMPORTANCES)


def shard(ids: str, of: str, *, found: str = "", **changed: Any) -> list[pa.Table]:
    """Return one shard; documents in `found` have a line that says their id."""
    documents = [
        {"id": name, "status": "ok", "split": "test", "labels": [label], "image": None, "image_digest": None, **changed}
        for name, label in zip(ids, of, strict=True)
    ]
    line = {"box": [0.0, 0.0, 1.0, 1.0], "score": 0.9, "label": "text", "points": []}
    lines = [
        {"id": name, "status": "ok", "present": name in found, "text": "",
         "elements": [{**line, "text": name}] if name in found else []}
        for name in ids
    ]  # fmt: skip
    schema = pa.schema([INGESTED.field(name) for name in documents[0]])
    return [
        pa.Table.from_pylist(documents, schema=schema),
        pa.table({"id": list(ids), "text": [f"text of {name} " * 100 for name in ids]}),
        pa.Table.from_pylist(lines, schema=DETECTIONS),
        *(told(model, ids) for model in CONFIG.models),
    ]


def test_labels_take_turns_and_finds_come_first() -> None:
    table = matrices(lambda: iter([shard("abcde", "xxxxy"), shard("fg", "xz", found="f")]), CONFIG, source="")
    assert table.schema.equals(MATRICES)
    rows = table.to_pylist()
    assert rows[0]["id"] == "f"
    assert [row["labels"][0] for row in rows].count("x") == 2
    assert {row["labels"][0] for row in rows[:3]} == {"x", "y", "z"}
    assert rows[0]["words"] == "f"
    assert rows[0]["picture"] is None
    assert len(rows[0]["text"]) == 300


def test_every_model_is_told_by_one_method() -> None:
    (row, *_) = matrices(lambda: iter([shard("a", "x")]), CONFIG, source="").to_pylist()
    assert row["models"] == [
        {"model": "pooled", "label": "x", "method": "own", "shares": [{"input": "crops/lines", "share": 0.75}]},
        {"model": "trees", "label": "x", "method": "left_out", "shares": [{"input": "embed/image", "share": 1.0}]},
    ]


@pytest.mark.parametrize("changed", [{"split": "train"}, {"status": "bad_row"}, {"labels": []}])
def test_documents_of_other_splits_bad_ones_and_those_without_labels_are_left_out(changed: dict[str, Any]) -> None:
    assert matrices(lambda: iter([shard("ab", "xx", **changed)]), CONFIG, source="").num_rows == 0


def test_tables_of_other_documents_are_refused() -> None:
    documents, *others = shard("ab", "xx")
    with pytest.raises(AlignmentError):
        matrices(lambda: iter([[documents, *shard("ac", "xx")[1:]]]), CONFIG, source="")
    assert others
