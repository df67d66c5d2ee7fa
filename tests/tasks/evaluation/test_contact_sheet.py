"""The sheet: which images, what is drawn, and images that can't be."""

import io
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from fuseline.stores.errors import AlignmentError
from fuseline.stores.schemas import DETECTIONS, DOCUMENTS
from fuseline.tasks.evaluation.contact_sheet import (
    CONTACT_SHEET,
    ContactSheetConfig,
    colours,
    contact_sheet,
    draw_sheet,
    drawn_documents,
)

KINDS = {"faces": "face", "text": "ocr", "things": "object"}
CONFIG = ContactSheetConfig(kinds=KINDS, count=4, side=100)


def documents(n: int, *, first: int = 0) -> pa.Table:
    buffer = io.BytesIO()
    Image.new("RGB", (100, 50), "white").save(buffer, "PNG")
    rows = [
        {"id": f"d{k}", "source": "s", "status": "ok", "labels": [], "image": {"bytes": buffer.getvalue()}}
        for k in range(first, first + n)
    ]
    return pa.Table.from_pylist(rows, schema=DOCUMENTS)


def detections(*scores: list[float], text: str | None = None, first: int = 0) -> pa.Table:
    rows = []
    for k, some in enumerate(scores, first):
        elements = [
            {"box": [0.2, 0.4, 0.8, 0.8], "score": score, "label": "cat", "text": text, "points": [0.5, 0.6]}
            for score in some
        ]
        rows.append({"id": f"d{k}", "status": "ok", "present": bool(some), "elements": elements, "text": text or ""})
    return pa.Table.from_pylist(rows, schema=DETECTIONS)


def shard(n: int, *, first: int = 0, **found: list[list[float]]) -> list[pa.Table]:
    """Return one shard's tables; detectors that are not named found nothing."""
    tables = [
        detections(*found.get(name, [[]] * n), text="hello world" if name == "text" else None, first=first)
        for name in sorted(KINDS)
    ]
    return [documents(n, first=first), *tables]


def chosen(*shards: list[pa.Table], **changes: Any) -> list[str]:
    return contact_sheet(shards, CONFIG.model_copy(update=changes), source=".")["id"].to_pylist()


def pixels(row: dict[str, Any]) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(row["picture"])).convert("RGB")).astype(int)


def has(picture: np.ndarray, colour: tuple[int, int, int]) -> bool:
    return bool((np.abs(picture - colour).max(axis=2) < 30).any())


def test_images_in_which_more_detectors_found_something_come_first():
    faces, things = [[0.9], [], [], [0.9], [0.3]], [[], [], [0.8], [0.9], []]
    tables = shard(5, faces=faces, things=things)
    assert chosen(tables)[0] == "d3"
    assert set(chosen(tables)[1:3]) == {"d0", "d2"}
    assert len(chosen(tables, count=9)) == 5
    assert chosen(tables, count=1) == ["d3"]


def test_the_choice_does_not_depend_on_shards_and_new_documents_change_it_little():
    whole = chosen(shard(40), count=12)
    assert chosen(shard(25), shard(15, first=25), count=12) == whole
    assert len(set(chosen(shard(40), shard(2, first=40), count=12)) & set(whole)) >= 10
    assert chosen(shard(40), count=12, seed=1) != whole


def test_each_detector_has_its_colour_and_words_stand_beside_the_picture():
    tables = shard(1, faces=[[0.9]], text=[[0.9]])
    (row,) = contact_sheet([tables], CONFIG, source=".").to_pylist()
    assert row["words"] == "hello world"
    assert row["found"] == [{"detector": "faces", "n": 1}, {"detector": "text", "n": 1}, {"detector": "things", "n": 0}]
    palette = colours(KINDS)
    assert has(pixels(row), palette["text"])
    assert not has(pixels(row), palette["things"])
    (weak,) = contact_sheet([shard(1, faces=[[0.4]])], CONFIG, source=".").to_pylist()
    assert not has(pixels(weak), palette["faces"])
    assert len({*colours("abcdef").values()}) == 6


def test_labels_stay_inside_the_picture():
    table = detections([0.9])
    element = {**table["elements"].to_pylist()[0][0], "box": [0.95, 0.0, 1.0, 0.1], "label": "a long label"}
    row = {**table.to_pylist()[0], "elements": [element]}
    tables = [documents(1), detections([]), detections([]), pa.Table.from_pylist([row], schema=DETECTIONS)]
    (shown,) = contact_sheet([tables], CONFIG, source=".").to_pylist()
    colour = colours(KINDS)["things"]
    written = (np.abs(pixels(shown) - colour).max(axis=2) < 30).nonzero()[1]
    assert written.min() < 40  # the label begins far to the left of its box


def test_images_that_cannot_be_read_and_documents_without_one():
    tables = shard(3)
    images = [{"bytes": b"junk"}, None, {"uri": "no/such.jpg"}]
    tables[0] = tables[0].set_column(
        tables[0].schema.get_field_index("image"), "image", pa.array(images, DOCUMENTS.field("image").type)
    )
    rows = {row["id"]: row for row in contact_sheet([tables], CONFIG, source="/nowhere").to_pylist()}
    assert {name: (row["status"], row["picture"]) for name, row in rows.items()} == {
        "d0": ("bad_image", None), "d2": ("no_image", None)
    }  # fmt: skip


def test_the_png_names_its_documents():
    table = contact_sheet([shard(3, things=[[0.9], [0.9], []])], CONFIG, source=".")
    png = draw_sheet(table, sorted(KINDS), columns=2)
    assert drawn_documents(png) == table["id"].to_pylist()
    assert Image.open(io.BytesIO(png)).size[0] >= 2 * 300
    other = io.BytesIO()
    Image.new("RGB", (1, 1)).save(other, "PNG")
    assert drawn_documents(other.getvalue()) is None
    empty = draw_sheet(CONTACT_SHEET.empty_table(), sorted(KINDS))
    assert Image.open(io.BytesIO(empty)).size == (280, 28)
    assert drawn_documents(empty) == []


def test_tables_of_other_documents_are_refused():
    tables = shard(2)
    with pytest.raises(AlignmentError, match="contact sheet, faces"):
        contact_sheet([[tables[0], detections([], [], first=1), *tables[2:]]], CONFIG, source=".")
