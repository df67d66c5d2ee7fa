"""Faces are looked for, and embedded, only when a configuration names a face detector or encoder."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from fuseline.flows.config import Config, parse_config
from fuseline.flows.graph import build
from fuseline.models.detectors import DETECTORS
from fuseline.models.encoders import ENCODERS
from fuseline.stores.errors import ConfigError

ROOT = Path(__file__).parents[2]
FINDERS = {name for name, entry in DETECTORS.items() if entry.finds == "face"}
ENCODERS_OF_FACES = {name for name, entry in ENCODERS.items() if entry.modality == "face"}
OF_FACES = FINDERS | ENCODERS_OF_FACES
IMAGES = {"embed": {"image": {"encoder": "efficientnet_lite2"}}, "models": {"image": {"kind": "image"}}}


def faces(config: Config) -> set[str]:
    """Return the face detectors and encoders that a configuration names anywhere."""
    return _texts(config.model_dump(mode="json")) & OF_FACES


def _texts(value: Any) -> set[str]:
    if isinstance(value, dict):
        return {text for inner in value.values() for text in _texts(inner)}
    return {value} if isinstance(value, str) else set()


def test_there_are_face_networks_to_be_off() -> None:
    assert sorted(FINDERS) == ["mtcnn"]
    assert sorted(ENCODERS_OF_FACES) == ["dlib_face", "faceres"]


def test_no_default_and_no_shipped_configuration_turns_them_on() -> None:
    for config in (Config(), parse_config(IMAGES)):
        assert faces(config) == set()
        assert not any(node.name.startswith(("detect/", "crops/")) for node in build(config))
    shipped = sorted((ROOT / "conf").glob("*.yaml"))
    assert shipped
    # As they are written: some need weights or another file to stand on.
    named = {path.name: _texts(yaml.safe_load(path.read_text("utf-8"))) & OF_FACES for path in shipped}
    assert named == {path.name: set() for path in shipped}


def test_other_detectors_bring_no_faces_and_naming_one_does() -> None:
    objects = {**IMAGES, "detect": {"things": {"detector": "ssdlite_coco"}, "text": {"detector": "rapidocr"}}}
    assert faces(parse_config(objects)) == set()
    named = {**objects, "detect": {"people": {"detector": "mtcnn"}}}
    named["crops"] = {"people": {"detections": "people", "encoder": "dlib_face"}}
    assert faces(parse_config(named)) == {"mtcnn", "dlib_face"}


@pytest.mark.parametrize("encoder", sorted(ENCODERS_OF_FACES))
def test_whole_images_are_never_embedded_as_faces(encoder: str) -> None:
    with pytest.raises(ConfigError, match="one for image"):
        parse_config({"embed": {"image": {"encoder": encoder}}})


def test_a_run_without_faces_never_imports_their_networks() -> None:
    code = (
        "import io, sys, pyarrow as pa, numpy as np;"
        "from PIL import Image; from fuseline.stores.schemas import DOCUMENTS;"
        "from fuseline.tasks.stages.detect import DetectConfig, detect;"
        "b = io.BytesIO(); Image.fromarray(np.zeros((64, 64, 3), np.uint8)).save(b, 'PNG');"
        "row = {'id': 'a', 'source': 's', 'status': 'ok', 'labels': [], 'image': {'bytes': b.getvalue()}};"
        "table = pa.Table.from_pylist([row], schema=DOCUMENTS);"
        "assert detect(table, DetectConfig(detector='ssdlite_coco'), source='.')['status'].to_pylist() == ['ok'];"
        "sys.exit(any('mtcnn' in name for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
