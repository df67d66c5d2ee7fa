"""What inputs and elements had in predictions: boxes and labels of detectors, shares, means by class."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from fuseline.stores.importance_schemas import CLASS_IMPORTANCE, IMPORTANCES
from fuseline.tasks.evaluation.class_importance import ClassImportanceConfig, class_importance
from fuseline.tasks.stages.importance import Found, Part, part_lists


def part(method: str, name: str, rows: list[int], elements: list[int], values: list[float]) -> Part:
    return Part(method, name, np.array(rows), np.array(elements), np.array(values, np.float32))


def element(number: int, text: str | None = None) -> dict[str, Any]:
    return {"box": [number / 10, 0, 1, 1], "score": 0.5, "label": f"l{number}", "text": text, "points": []}


def test_parts_carry_the_boxes_of_the_elements_that_the_detector_found() -> None:
    from fuseline.stores.schemas import ELEMENT

    # Document 0: the crops' first element is the detector's third; document 1 has none; document 2 has a line.
    elements = pa.array([[element(0), element(1), element(2)], [], [element(0, "words")]], pa.list_(ELEMENT))
    found = {"crops/objects": Found(pa.array([[2, 0], [], [0]], pa.list_(pa.int32())), elements)}
    parts = [
        part("own", "crops/objects", [0, 0, 2], [0, 1, 0], [0.5, 0.25, 1.0]),
        part("own", "embed/image", [0], [-1], [0.25]),
        part("left_out", "embed/image", [0, 2], [-1, -1], [-0.5, 0.25]),
        part("left_out", "crops/objects", [0, 2], [-1, -1], [0.1, 0.75]),
        part("gradient", "embed/image", [0], [-1], [-2.0]),
    ]
    modalities = {"crops/objects": "image", "embed/image": "image"}
    lists = part_lists(parts, 3, found, modalities)
    assert lists.type == IMPORTANCES.field("parts").type
    first, none, third = lists.to_pylist()
    assert none == []
    told = [(one["method"], one["input"], one["element"], one["found"], one["share"]) for one in first]
    assert told == [
        ("own", "crops/objects", 2, "l2", 0.5),
        ("own", "crops/objects", 0, "l0", 0.25),
        ("own", "embed/image", None, None, 0.25),
        ("left_out", "embed/image", None, None, 0.0),
        ("left_out", "crops/objects", None, None, 1.0),
        ("gradient", "embed/image", None, None, 1.0),
    ]
    assert first[0]["box"] == pytest.approx([0.2, 0, 1, 1])
    assert first[3]["value"] == -0.5
    assert third[0]["found"] == "words"
    assert [one["share"] for one in third] == [1.0, 0.25, 0.75]


def told(rows: list[tuple[str, str | None, float | None, list[tuple[str, str, float]]]]) -> pa.Table:
    listed = [
        {
            "id": name, "model": "m", "label": label, "dead": dead,
            "parts": [{"method": m, "input": i, "share": share, "value": share} for m, i, share in parts],
        }
        for name, label, dead, parts in rows
    ]  # fmt: skip
    return pa.Table.from_pylist(listed, schema=IMPORTANCES)


def test_means_by_class_by_hand() -> None:
    own = told([
        ("a", "x", 0.5, [("own", "image", 0.75), ("own", "image", 0.125), ("own", "text", 0.125)]),
        ("b", "x", 0.0, [("own", "text", 1.0)]),
        ("c", "y", None, [("own", "image", 1.0)]),
        ("d", None, None, []),
        ("e", "x", 0.0, [("own", "text", 1.0)]),
    ])  # fmt: skip
    documents = pa.table({"id": list("abcde"), "split": ["test"] * 4 + ["train"]})
    table = class_importance(lambda: iter([[own, documents]]), ClassImportanceConfig(model="m", splits=("test",)))
    assert table.schema.equals(CLASS_IMPORTANCE)
    assert {(row["label"], row["input"]): (row["share"], row["n"]) for row in table.to_pylist()} == {
        (None, None): (pytest.approx(1 / 6), 3),
        (None, "image"): (pytest.approx(1.875 / 3), 3),
        (None, "text"): (pytest.approx(1.125 / 3), 3),
        ("x", None): (0.25, 2),
        ("x", "image"): (0.4375, 2),
        ("x", "text"): (0.5625, 2),
        ("y", "image"): (1.0, 1),
    }


def test_no_documents_have_no_means() -> None:
    table = class_importance(lambda: iter([]), ClassImportanceConfig(model="m", splits=("test",)))
    assert table.num_rows == 0
