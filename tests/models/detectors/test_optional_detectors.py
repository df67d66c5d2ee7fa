"""Detectors whose weights or program the user brings."""

import stat
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision

from fuseline.models.detectors.fasterrcnn import _FILE, FasterRcnn, FasterRcnnConfig
from fuseline.models.detectors.tesseract import Tesseract, TesseractConfig, lines
from fuseline.models.errors import MissingWeights

HEAD = "level\tpage_num\tblock_num\tpar_num\tline_num\tword_num\tleft\ttop\twidth\theight\tconf\ttext\n"
TSV = HEAD + (
    "1\t1\t0\t0\t0\t0\t0\t0\t200\t100\t-1\t\n"
    "5\t1\t1\t1\t1\t1\t20\t10\t40\t20\t90.0\tHello\n"
    '5\t1\t1\t1\t1\t2\t70\t12\t50\t20\t80.0\t"World\n'
    "5\t1\t1\t1\t2\t1\t20\t50\t40\t20\t95.0\tBye\n"
    "5\t1\t1\t1\t2\t2\t80\t50\t40\t20\t5.0\tnoise\n"
    "5\t1\t1\t1\t3\t1\t80\t70\t40\t20\t95.0\t \n"
)


def test_words_become_lines() -> None:
    first, second = lines(TSV, 200, 100, min_score=0.3)
    assert (first.text, second.text) == ('Hello "World', "Bye")
    assert first.score == pytest.approx(0.85)
    np.testing.assert_allclose(first.box, (0.1, 0.1, 0.6, 0.32))
    assert len(first.points) == 4
    assert lines(HEAD, 10, 10, min_score=0) == []


def program(folder: Path, body: str) -> None:
    file = folder / "tesseract"
    file.write_text(f"#!/bin/sh\n{body}\n")
    file.chmod(file.stat().st_mode | stat.S_IXUSR)


def test_the_program_is_called_and_watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingWeights, match="tesseract: is not on the PATH; install it"):
        _ = Tesseract(TesseractConfig()).digest
    (tmp_path / "out.tsv").write_text(TSV)
    answer = (
        f"case $1 in --list-langs) echo eng;; --version) echo tesseract 5.3;; *) /bin/cat {tmp_path}/out.tsv;; esac"
    )
    program(tmp_path, answer)
    detector = Tesseract(TesseractConfig())
    assert detector.digest.startswith("blake3:")
    image = np.full((100, 200, 3), 255, np.uint8)
    assert [element.text for element in detector.detect(detector.prepare(image))] == ['Hello "World', "Bye"]
    with pytest.raises(MissingWeights, match="expected the languages 'eng\\+xyz'"):
        _ = Tesseract(TesseractConfig(languages="eng+xyz")).digest
    program(tmp_path, "exit 3")
    with pytest.raises(RuntimeError, match="exit status 3"):
        detector.detect(image)
    program(tmp_path, "exec /bin/sleep 9")
    with pytest.raises(RuntimeError, match="timed out"):
        Tesseract(TesseractConfig(timeout=0.2)).detect(image)
    assert detector.detect(image[:4]) == []


def test_faster_rcnn_asks_for_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.delenv("FUSELINE_WEIGHTS", raising=False)
    with pytest.raises(
        MissingWeights, match=f"fasterrcnn_coco: .*download https://.*{_FILE}.*160 MB, SHA-256 258fb6c6"
    ):
        _ = FasterRcnn(FasterRcnnConfig()).digest
    weights = torchvision.models.detection.FasterRCNN_ResNet50_FPN_Weights.COCO_V1
    assert weights.url.endswith("/" + _FILE)


@pytest.mark.slow
def test_faster_rcnn_runs(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = torchvision.models.detection.fasterrcnn_resnet50_fpn(weights=None, weights_backbone=None)
    torch.save(net.state_dict(), tmp_path / "w.pth")
    config = FasterRcnnConfig(weights=tmp_path / "w.pth", min_score=0.001, limit=5, side=128)
    detector = FasterRcnn(config)
    image = np.random.default_rng(0).integers(0, 256, (100, 140, 3), np.uint8)
    elements = detector.detect(detector.prepare(image))
    assert len(elements) <= 5
    assert all(0 <= value <= 1 for element in elements for value in element.box)
    assert detector.detect(np.zeros((1, 128, 3), np.uint8)) == []
