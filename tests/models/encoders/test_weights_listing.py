"""The listing of weights: what is here, and what to do about the rest."""

import subprocess
import sys

import torchvision

from models.encoders.backbones import PRESETS
from models.weights.listing import weights_rows


def test_every_network_has_a_state() -> None:
    rows = {row["name"]: row for row in weights_rows()}
    for name in ("efficientnet_lite2", "minilm", "dlib_face", "ssdlite_coco"):
        assert rows[name]["state"] == "ok"
        assert rows[name]["detail"].startswith("blake3:")
    assert rows["faceres"]["state"] == "missing"
    assert "options.weights" in rows["faceres"]["detail"]


def test_listing_needs_no_torch() -> None:
    code = (
        "import sys; from models.weights.listing import weights_rows; weights_rows(); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_presets_name_the_files_of_torchvision() -> None:
    for name, preset in PRESETS.items():
        if preset.library == "torchvision":
            weights = torchvision.models.get_model_weights(preset.architecture)["IMAGENET1K_V1"]
            assert weights.url == preset.url, name
            assert len(preset.sha256_starts) == 8
            assert abs(weights.meta["_file_size"] - preset.megabytes) < 2
