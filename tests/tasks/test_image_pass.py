"""Several consumers share a pass: one read, one decode, and nobody sees that the others are there."""

import io
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray
from PIL import Image

from stores.schemas import DOCUMENTS
from tasks import images as images_module
from tasks.image_pass import Outcome, run_pass
from tasks.images import WHITE, ImageLimits, Rgb


class Mean:
    """The mean colour and the size of an image, and which batches it came in."""

    limits = ImageLimits()
    background = WHITE

    def __init__(self, min_side: int | None, batch_size: int) -> None:
        self.min_side, self.batch_size = min_side, batch_size
        self.batches: list[int] = []

    def prepare(self, pixels: Rgb, row: int) -> tuple[float, int]:
        return float(pixels.mean()), pixels.shape[0]

    def compute(self, items: list[tuple[float, int]]) -> list[Outcome]:
        self.batches.append(len(items))
        return [Outcome("ok", item) if item[1] > 1 else Outcome("odd", None) for item in items]

    def table(self, ids: pa.Array, outcomes: list[Outcome]) -> pa.Table:
        return pa.table({
            "id": ids,
            "status": [outcome.status for outcome in outcomes],
            "mean": pa.array([outcome.value and outcome.value[0] for outcome in outcomes], pa.float64()),
            "height": pa.array([outcome.value and outcome.value[1] for outcome in outcomes], pa.int64()),
        })  # fmt: skip


def jpeg(seed: int, height: int, width: int) -> bytes:
    small = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(small).resize((width, height)).save(buffer, "JPEG")
    return buffer.getvalue()


def documents() -> pa.Table:
    images: list[Any] = [{"bytes": jpeg(seed, 240, 320)} for seed in range(7)]
    images += [{"bytes": b"no image"}, None, {"bytes": jpeg(9, 1200, 1600)}, {"bytes": jpeg(9, 1, 1)}]
    rows = [{"id": str(n), "source": "s", "status": "ok", "labels": [], "image": one} for n, one in enumerate(images)]
    return pa.Table.from_pylist(rows, schema=DOCUMENTS)


def test_one_decode_serves_all(monkeypatch: pytest.MonkeyPatch) -> None:
    opened = []
    original = images_module._open
    monkeypatch.setattr(images_module, "_open", lambda data, limits: opened.append(1) or original(data, limits))
    result = run_pass(documents().slice(0, 7), [Mean(200, 3), Mean(121, 2), Mean(None, 4)], source=".")
    assert result.account.decodes == len(opened) == 7
    assert result.account.images == 7


def test_nobody_sees_the_others() -> None:
    alone = [run_pass(documents(), [Mean(side, 3)], source=".").tables[0] for side in (130, 500, None)]
    together = run_pass(documents(), [Mean(side, 5) for side in (130, 500, None)], source=".")
    for one, other in zip(alone, together.tables, strict=True):
        assert one.equals(other)
    heights = [table["height"].to_pylist()[9] for table in alone]
    assert heights == sorted(heights)
    assert heights[0] < heights[1] < heights[2] == 1200
    assert together.account.decodes == 7 + 3 + 1


def test_statuses_and_batches() -> None:
    consumer = Mean(None, 4)
    table = run_pass(documents(), [consumer], source=".").tables[0]
    assert table["id"].to_pylist() == [str(n) for n in range(11)]
    assert table["status"].to_pylist() == ["ok"] * 7 + ["bad_image", "missing", "ok", "odd"]
    assert consumer.batches == [4, 4, 1]


def test_each_consumer_computes_its_own_rows() -> None:
    def mask(*rows: int) -> NDArray[np.bool_]:
        return np.isin(np.arange(11), rows)

    whole = run_pass(documents(), [Mean(None, 4)], source=".").tables[0]
    result = run_pass(
        documents(), [Mean(None, 4), Mean(None, 4), Mean(None, 4)], source=".", wanted=[mask(1, 5), mask(), mask(5, 8)]
    )
    assert result.tables[0].equals(whole.take([1, 5]))
    assert result.tables[1].num_rows == 0
    assert result.tables[2].equals(whole.take([5, 8]))
    assert result.account.decodes == 2


def test_the_account_adds_up() -> None:
    account = run_pass(documents(), [Mean(None, 4)], source=".").account
    numbers = account.numbers()
    assert set(numbers) == {"read", "decode", "prepare", "compute", "wait", "total", "images", "decodes"}
    assert 0 < account.compute + account.wait <= account.total


def test_no_consumers_and_no_images() -> None:
    assert run_pass(documents(), [], source=".").tables == []
    bare = run_pass(documents().select(["id"]), [Mean(None, 4)], source=".").tables[0]
    assert set(bare["status"].to_pylist()) == {"missing"}
