"""The embed stages: order, statuses, types, bad images, bad numbers."""

import io
import threading
import time
import tracemalloc
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray
from PIL import Image

from fuseline.models.config import key_values
from fuseline.models.encoders import ENCODERS
from fuseline.models.encoders.efficientnet_lite import EfficientNetLite, EfficientNetLiteConfig
from fuseline.models.threads import limit_threads
from fuseline.stores.errors import MismatchError
from fuseline.stores.places import open_root
from fuseline.stores.root import Root
from fuseline.stores.schemas import DOCUMENTS, embedding
from fuseline.tasks.stages import embed
from fuseline.tasks.stages.embed import (
    ImageEmbedConfig,
    TextEmbedConfig,
    embed_images,
    embed_text,
    weights_digest,
)


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    limit_threads(1)


def jpeg(seed: int, width: int = 320, height: int = 300) -> bytes:
    small = np.random.default_rng(seed).integers(0, 256, (5, 5, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(small).resize((width, height)).save(buffer, "JPEG")
    return buffer.getvalue()


def documents(images: list[Any]) -> pa.Table:
    rows = [
        {"id": f"d{n}", "source": "s", "status": "ok", "labels": [], "image": image} for n, image in enumerate(images)
    ]
    return pa.Table.from_pylist(rows, schema=DOCUMENTS)


def vectors(table: pa.Table) -> NDArray[Any]:
    column = table["embedding"].combine_chunks()
    return np.asarray(column.flatten()).reshape(len(column), -1)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Root:
    folder = tmp_path_factory.mktemp("images")
    (folder / "good.jpg").write_bytes(jpeg(1))
    (folder / "cut.jpg").write_bytes(jpeg(1)[:2000])
    (folder / "page.jpg").write_bytes(b"<!doctype html><title>404</title>")
    (folder / "empty.jpg").write_bytes(b"")
    Image.new("RGB", (1, 1), "red").save(folder / "dot.png")
    Image.new("RGB", (1, 20_000), "red").save(folder / "line.png")
    Image.new("1", (20_000, 20_000)).save(folder / "bomb.png")
    Image.new("RGBA", (40, 40), (0, 0, 0, 0)).save(folder / "clear.png")
    return open_root(folder)


def test_every_kind_of_image_gets_its_status(root: Root) -> None:
    names = ["good.jpg", "cut.jpg", "page.jpg", "empty.jpg", "dot.png", "line.png", "bomb.png", "clear.png", "none.jpg"]
    images: list[Any] = [{"uri": name} for name in names]
    images += [None, {"uri": "../x.jpg"}, {"uri": None, "bytes": jpeg(1)}]
    table = embed_images(documents(images), ImageEmbedConfig(dtype="float32"), source=str(root))
    assert table.schema == embedding(1280, pa.float32())
    assert table["id"].to_pylist() == [f"d{n}" for n in range(12)]
    assert table["status"].to_pylist() == [
        "ok", "bad_image", "bad_image", "bad_image", "ok", "ok", "too_large", "ok",
        "no_image", "missing", "bad_uri", "ok",
    ]  # fmt: skip
    assert table["present"].to_pylist() == [status == "ok" for status in table["status"].to_pylist()]
    values = vectors(table)
    assert (values[~np.array(table["present"])] == 0).all()
    assert (np.abs(values[np.array(table["present"])]).sum(axis=1) > 1).all()
    np.testing.assert_allclose(values[0], values[11], rtol=1e-3, atol=1e-5)


def test_rows_do_not_depend_on_batches_or_neighbours(root: Root) -> None:
    images = [{"uri": None, "bytes": jpeg(seed)} for seed in range(9)]
    images.insert(3, {"uri": "cut.jpg", "bytes": None})  # type: ignore[dict-item]
    whole = embed_images(documents(images), ImageEmbedConfig(batch_size=4, dtype="float32"), source=str(root))
    single = embed_images(
        documents(images), ImageEmbedConfig(batch_size=1, decode_threads=1, dtype="float32"), source=str(root)
    )
    np.testing.assert_allclose(vectors(whole), vectors(single), rtol=1e-3, atol=2e-5)
    half = embed_images(documents(images), ImageEmbedConfig(), source=str(root))
    assert half.schema == embedding(1280, pa.float16())
    np.testing.assert_allclose(vectors(half).astype(np.float32), vectors(whole), rtol=1e-3, atol=1e-3)


def test_empty_shards_and_shards_without_images() -> None:
    assert embed_images(documents([]), ImageEmbedConfig(), source=".").num_rows == 0
    bare = documents([None, None]).drop_columns(["image"])
    assert embed_images(bare, ImageEmbedConfig(), source=".")["status"].to_pylist() == ["missing", "missing"]


class Fake:
    """Counts what an encoder is asked, and answers with chosen numbers."""

    modality = "image"
    dim = 2
    min_side = None
    digest = "fake"

    def __init__(self, answers: list[list[float]]) -> None:
        self.answers, self.asked, self.prepared, self.threads = answers, 0, 0, set[str]()
        self.most_ahead = 0

    def prepare(self, item: Any) -> int:
        self.prepared += 1
        self.threads.add(threading.current_thread().name)
        return 0

    def encode(self, items: list[int]) -> NDArray[np.float32]:
        self.most_ahead = max(self.most_ahead, self.prepared - self.asked)
        rows = self.answers[self.asked : self.asked + len(items)]
        self.asked += len(items)
        return np.array(rows, np.float32)


def use(monkeypatch: pytest.MonkeyPatch, answers: list[list[float]]) -> Fake:
    fake = Fake(answers)
    monkeypatch.setattr(embed, "get_encoder", lambda _name, _options: fake)
    return fake


def test_numbers_that_do_not_fit_are_marked(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = [[1.0, 2.0], [70_000.0, 1.0], [np.nan, 1.0], [np.inf, 1.0], [-70_000.0, 0.0]]
    images = [{"bytes": jpeg(0, 8, 8)}] * 5
    use(monkeypatch, answers)
    table = embed_images(documents(images), ImageEmbedConfig(), source=".")
    assert table["status"].to_pylist() == ["ok", "overflow", "not_finite", "not_finite", "overflow"]
    np.testing.assert_array_equal(vectors(table), [[1, 2], [0, 0], [0, 0], [0, 0], [0, 0]])
    use(monkeypatch, answers)
    wide = embed_images(documents(images), ImageEmbedConfig(dtype="float32"), source=".")
    assert wide["status"].to_pylist() == ["ok", "ok", "not_finite", "not_finite", "ok"]


def test_unit_length_is_computed_before_the_cast(monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, [[30_000.0, 40_000.0], [0.0, 0.0], [300_000.0, 400_000.0]])
    config = ImageEmbedConfig(normalise="l2")
    table = embed_images(documents([{"bytes": jpeg(0, 8, 8)}] * 3), config, source=".")
    np.testing.assert_allclose(vectors(table).astype(float), [[0.6, 0.8], [0, 0], [0.6, 0.8]], atol=1e-3)
    assert table["status"].to_pylist() == ["ok"] * 3


def test_decoding_runs_ahead_but_not_far(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = use(monkeypatch, [[0.0, 1.0]] * 100)
    config = ImageEmbedConfig(batch_size=4, decode_threads=2)
    embed_images(documents([{"bytes": jpeg(0, 8, 8)}] * 100), config, source=".")
    assert fake.asked == 100
    assert all(name.startswith("decode") for name in fake.threads)
    assert 4 <= fake.most_ahead <= 4 + 2 * 4 + 2 + 1


def test_an_error_in_the_encoder_ends_the_stage(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = use(monkeypatch, [])
    monkeypatch.setattr(fake, "encode", lambda _items: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        embed_images(documents([{"bytes": jpeg(0, 8, 8)}] * 50), ImageEmbedConfig(), source=".")


def test_an_encoder_whose_dimension_changed_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, [[1.0, 2.0, 3.0]])
    with pytest.raises(MismatchError, match=r"embeddings of Fake: expected \(1, 2\), got \(1, 3\); its weights belong"):
        embed_images(documents([{"bytes": jpeg(0, 8, 8)}]), ImageEmbedConfig(), source=".")


def cleaned(texts: list[str | None]) -> pa.Table:
    return pa.table({"id": [f"d{n}" for n in range(len(texts))], "text": texts, "title": texts[::-1]})


def test_texts_keep_their_rows() -> None:
    texts = ["apple pie", "", "a much longer text about the weather in the north " * 5, None, "  ", "apple pie"]
    table = embed_text(cleaned(texts), TextEmbedConfig(batch_size=2, dtype="float32"))
    assert table.schema == embedding(384, pa.float32())
    assert table["status"].to_pylist() == ["ok", "missing", "ok", "missing", "missing", "ok"]
    values = vectors(table)
    np.testing.assert_allclose(values[0], values[5], atol=1e-5)
    assert values[0] @ values[2] < 0.8
    alone = embed_text(cleaned(texts[:1]), TextEmbedConfig(dtype="float32"))
    np.testing.assert_allclose(vectors(alone)[0], values[0], atol=1e-5)
    title = embed_text(cleaned(texts), TextEmbedConfig(field="title"))
    assert title["status"].to_pylist()[::-1] == table["status"].to_pylist()


SCRIPTS = (
    0x41, 0x391, 0x410, 0x531, 0x5D0, 0x621, 0x710, 0x780, 0x905, 0x985, 0xA05, 0xA85, 0xB05, 0xB85, 0xC05, 0xC85,
    0xD05, 0xD85, 0xE01, 0xE81, 0xF40, 0x1000, 0x10D0, 0x1100, 0x1200, 0x13A0, 0x1780, 0x1820, 0x3041, 0x4E00,
    0xAC00, 0x1F600,
)  # fmt: skip


def test_texts_in_thirty_scripts_have_embeddings() -> None:
    texts = ["".join(chr(start + step) for step in range(6)) for start in SCRIPTS]
    table = embed_text(cleaned([*texts, "\u200f", "\u2003"]), TextEmbedConfig(dtype="float32"))
    assert table["status"].to_pylist() == ["ok"] * 33 + ["missing"]
    assert np.isfinite(vectors(table)).all()
    np.testing.assert_allclose(np.linalg.norm(vectors(table)[:33], axis=1), 1.0, atol=1e-5)


@pytest.mark.parametrize("unit", ["word ", "x", "\u4e2d", "\u0e01\u0e32", "\U0001f600 "])
def test_ten_megabytes_cost_what_the_network_reads(unit: str) -> None:
    """Words, one endless word, scripts without spaces, and characters of four bytes, all within two seconds of work."""
    embed_text(cleaned(["warm"]), TextEmbedConfig())
    long = unit * (10_000_000 // len(unit.encode()))
    started = time.process_time()
    table = embed_text(cleaned([long, "short"]), TextEmbedConfig(dtype="float32"))
    assert time.process_time() - started < 2
    assert table["status"].to_pylist() == ["ok", "ok"]
    cut = embed_text(cleaned([long[:20_480]]), TextEmbedConfig(dtype="float32"))
    np.testing.assert_allclose(vectors(table)[0], vectors(cut)[0], atol=1e-5)


def test_huge_texts_are_taken_out_of_the_table_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Turning the whole column into Python strings once doubled what a shard takes."""
    use(monkeypatch, [[0.0, 1.0]] * 8)
    column = cleaned(["word " * 400_000] * 8)
    tracemalloc.start()
    try:
        embed_text(column, TextEmbedConfig())
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 5_000_000  # two texts of two megabytes, of eight


def test_configs_round_trip_and_keep_knobs_out_of_keys() -> None:
    config = ImageEmbedConfig.model_validate({"options": {"runtime": "torch", "threads": 3}, "batch_size": 7})
    assert isinstance(config.options, EfficientNetLiteConfig)
    assert ImageEmbedConfig.model_validate(config.model_dump(mode="json")) == config
    assert ImageEmbedConfig.model_validate(config) is config
    assert hash(config) == hash(ImageEmbedConfig.model_validate(config.model_dump(mode="json")))
    values = key_values(config)
    assert values["options"] == {"runtime": "torch"}
    assert "batch_size" not in values
    assert "decode_threads" not in values
    assert ImageEmbedConfig.model_json_schema()["properties"]["options"]["type"] == "object"


@pytest.mark.parametrize("cls", [ImageEmbedConfig, TextEmbedConfig])
def test_unknown_encoders_and_keys_are_refused(cls: Any) -> None:
    with pytest.raises(ValueError, match="encoder: expected one of"):
        cls(encoder="nothing")
    with pytest.raises(ValueError, match="nothing"):
        cls(nothing=1)
    with pytest.raises(ValueError, match="nothing"):
        cls(options={"nothing": 1})


def test_digests() -> None:
    image, text = ImageEmbedConfig(), TextEmbedConfig()
    assert weights_digest(image).endswith(" decode-1")
    assert weights_digest(image) != weights_digest(ImageEmbedConfig(options={"runtime": "torch"}))  # type: ignore[arg-type]
    assert weights_digest(image) == weights_digest(ImageEmbedConfig(batch_size=9))
    assert weights_digest(text).startswith("blake3:")


def test_every_listed_encoder_can_be_configured() -> None:
    for name, entry in ENCODERS.items():
        if entry.modality in ("image", "text"):
            cls = ImageEmbedConfig if entry.modality == "image" else TextEmbedConfig
            assert cls(encoder=name).options == entry.Config()
    assert isinstance(ENCODERS["efficientnet_lite2"](EfficientNetLiteConfig()), EfficientNetLite)
