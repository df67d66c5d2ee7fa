"""The sheet: which images, what is drawn, and images that can't be."""

import io
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image

from stores.schemas import DOCUMENTS
from tasks.contact_sheet import ContactSheetConfig, chosen_rows, contact_sheet
from tasks.detect import DETECTIONS

CONFIG = ContactSheetConfig(count=4, columns=2, side=100)


def documents(n: int) -> pa.Table:
    buffer = io.BytesIO()
    Image.new("RGB", (100, 50), "white").save(buffer, "PNG")
    images: list[Any] = [{"bytes": buffer.getvalue()}] * (n - 1) + [{"bytes": b"junk"}]
    rows = [
        {"id": f"d{k}", "source": "s", "status": "ok", "labels": [], "image": image} for k, image in enumerate(images)
    ]
    return pa.Table.from_pylist(rows, schema=DOCUMENTS)


def detections(*scores: list[float], text: str | None = None) -> pa.Table:
    rows = []
    for k, some in enumerate(scores):
        elements = [
            {"box": [0.2, 0.2, 0.8, 0.8], "score": score, "label": "cat", "text": text, "points": [0.5, 0.5]}
            for score in some
        ]
        rows.append({"id": f"d{k}", "status": "ok", "present": bool(some), "elements": elements, "text": text or ""})
    return pa.Table.from_pylist(rows, schema=DETECTIONS)


def drawn(tables: dict[str, pa.Table], n: int) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(contact_sheet(documents(n), tables, CONFIG, source="."))).convert("RGB"))


def has(sheet: np.ndarray, colour: tuple[int, int, int]) -> bool:
    return bool((sheet[28:] == colour).all(axis=2).any())


def test_rows_with_more_kinds_come_first() -> None:
    tables = {"face": detections([0.9], [], [], [0.9], [0.3]), "object": detections([], [], [0.8], [0.9], [])}
    config = ContactSheetConfig(count=3)
    assert chosen_rows(tables, 5, config).tolist() == [0, 2, 3]
    assert chosen_rows(tables, 5, ContactSheetConfig(count=1)).tolist() == [3]
    assert chosen_rows(tables, 5, ContactSheetConfig(count=9)).tolist() == [0, 1, 2, 3, 4]


def test_each_kind_has_its_colour() -> None:
    face, text = (213, 94, 0), (0, 114, 178)
    sheet = drawn({"face": detections([0.9], []), "ocr": detections([], [0.9], text="hello")}, 2)
    assert has(sheet, face)
    assert has(sheet, text)
    weak = drawn({"face": detections([0.4], [])}, 2)
    assert not has(weak, face)


def test_unreadable_images_and_empty_sets() -> None:
    assert drawn({"face": detections([], [])}, 2).shape[1] >= 280
    empty = contact_sheet(DOCUMENTS.empty_table(), {"face": DETECTIONS.empty_table()}, CONFIG, source=".")
    assert Image.open(io.BytesIO(empty)).size == (280, 28)
