"""Several consumers share a pass: one read, one decode, and nobody sees that the others are there."""

import io
import itertools
import time
from typing import Any
from unittest.mock import Mock

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray
from PIL import Image

from fuseline.stores.schemas import DOCUMENTS
from fuseline.tasks.engine import image_pass
from fuseline.tasks.engine import images as images_module
from fuseline.tasks.engine.image_pass import Outcome, SharedImage, run_pass
from fuseline.tasks.engine.images import WHITE, ImageLimits, Rgb
from fuseline.tasks.engine.timings import Timings


class Mean:
    """The mean colour and the size of an image, and which batches it came in."""

    limits = ImageLimits()
    background = WHITE
    decode_threads = 2

    def __init__(self, min_side: int | None, batch_size: int, *, seconds: float = 0.0) -> None:
        self.min_side, self.batch_size, self.seconds = min_side, batch_size, seconds
        self.batches: list[int] = []

    def given(self, row: int) -> Outcome | None:
        return None

    def prepare(self, pixels: Rgb, row: int) -> tuple[float, int]:
        return float(pixels.mean()), pixels.shape[0]

    def compute(self, items: list[tuple[float, int]]) -> list[Outcome]:
        self.batches.append(len(items))
        time.sleep(self.seconds)
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
    assert result.decodes == len(opened) == 7
    assert result.images == 7


def test_nobody_sees_the_others() -> None:
    alone = [run_pass(documents(), [Mean(side, 3)], source=".").tables[0] for side in (130, 500, None)]
    together = run_pass(documents(), [Mean(side, 5) for side in (130, 500, None)], source=".")
    for one, other in zip(alone, together.tables, strict=True):
        assert one.equals(other)
    heights = [table["height"].to_pylist()[9] for table in alone]
    assert heights == sorted(heights)
    assert heights[0] < heights[1] < heights[2] == 1200
    assert together.decodes == 7 + 3 + 1 + 1  # the last is no image


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
    assert result.decodes == 2


def test_what_is_shared_costs_each_its_part(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that ticks at every look: one read and two decodes take a second each."""
    ticks = itertools.count()
    monkeypatch.setattr(image_pass.time, "perf_counter", lambda: float(next(ticks)))
    image, users = SharedImage({"bytes": jpeg(0, 240, 320)}, "."), [Timings() for _ in range(3)]
    for user, min_side in zip(users, (None, 200, 100), strict=True):
        image.pixels(Mean(min_side, 1), user)
    image.charge()
    assert [(user.read, user.decode) for user in users] == [(1 / 3, 0.5), (1 / 3, 0.5), (1 / 3, 1.0)]
    assert image.decodes == 2


def test_time_is_accounted_for() -> None:
    slow, quick = Mean(None, 4, seconds=0.02), Mean(None, 4)
    started = time.perf_counter()
    parts = run_pass(documents(), [slow, quick], source=".").parts
    total = time.perf_counter() - started
    assert parts[0].timings.compute >= 3 * 0.02 > parts[1].timings.compute > 0
    assert sum(part.timings.compute + part.timings.wait for part in parts) <= total
    assert all(part.timings.decode > 0 and part.timings.prepare > 0 and part.timings.write == 0 for part in parts)


@pytest.mark.parametrize("where", ["prepare", "compute", "table"])
def test_a_consumer_that_fails_does_not_take_the_others_with_it(where: str) -> None:
    (whole,) = run_pass(documents(), [Mean(None, 4)], source=".").tables
    broken = Mean(None, 3)
    setattr(broken, where, Mock(side_effect=ZeroDivisionError("x")))
    result = run_pass(documents(), [broken, Mean(None, 4)], source=".")
    assert result.parts[1].table().equals(whole)
    with pytest.raises(ZeroDivisionError):
        result.parts[0].table()
    with pytest.raises(ZeroDivisionError):
        result.tables  # noqa: B018


def test_a_bad_image_is_tried_once_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[bytes] = []
    original = image_pass.decode
    monkeypatch.setattr(image_pass, "decode", lambda data, **options: tried.append(data) or original(data, **options))
    result = run_pass(documents().slice(7, 1), [Mean(None, 1), Mean(100, 1), Mean(200, 2)], source=".")
    assert [table["status"].to_pylist() for table in result.tables] == [["bad_image"]] * 3
    assert tried == [b"no image"]


class Whole(Mean):
    """Keeps all pixels until its batch is full; remembers the most that was prepared and not yet computed."""

    def __init__(self, batch_size: int) -> None:
        super().__init__(None, batch_size)
        self.held = self.most = 0

    def prepare(self, pixels: Rgb, row: int) -> Any:
        self.held += 1
        self.most = max(self.most, self.held)
        return pixels.copy()

    def compute(self, items: list[Any]) -> list[Outcome]:
        time.sleep(0.05)  # for the threads to run as far ahead as they may
        self.held -= len(items)
        return [Outcome("ok", (0.0, 1))] * len(items)


def test_large_images_are_not_prepared_far_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    """A detector holds whole images: beside an encoder with large batches hundreds of them would pile up."""
    table = pa.concat_tables([documents().slice(0, 7)] * 6)
    free, bound = Whole(1), Whole(1)
    run_pass(table, [free, Mean(100, 10)], source=".")
    monkeypatch.setattr(image_pass, "AHEAD_BYTES", 4 * 240 * 320 * 3)
    run_pass(table, [bound, Mean(100, 10)], source=".")
    assert free.most > 15
    assert bound.most <= 4 + 1 + 3  # what is waiting, what is computed, and what was ahead before a size was known


def test_a_row_that_needs_no_image_costs_none() -> None:
    known = Mean(None, 4)
    known.given = lambda row: Outcome("known", None) if row % 2 else None  # type: ignore[method-assign]
    result = run_pass(documents().slice(0, 7), [known], source=".")
    assert result.tables[0]["status"].to_pylist() == ["ok", "known"] * 3 + ["ok"]
    assert result.decodes == 4


def test_no_consumers_and_no_images() -> None:
    assert run_pass(documents(), [], source=".").tables == []
    bare = run_pass(documents().select(["id"]), [Mean(None, 4)], source=".").tables[0]
    assert set(bare["status"].to_pylist()) == {"missing"}
