"""Networks by name: weights that are checked, layers that can be chosen, views of the papers."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from numpy.typing import NDArray

from fuseline.models.encoders import ENCODERS
from fuseline.models.encoders.backbones import PRESETS, Backbone, BackboneConfig, _scaled
from fuseline.models.errors import MissingWeights, WrongWeights
from fuseline.models.threads import limit_threads
from fuseline.models.weights import file_sha256


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    limit_threads(1)


@pytest.fixture(scope="module")
def resnet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ResNet-34 with weights drawn from a seed: the real ones can't be had on every machine."""
    torch.manual_seed(0)
    file = tmp_path_factory.mktemp("weights") / "resnet34.pth"
    torch.save(torchvision.models.resnet34(weights=None).state_dict(), file)
    return file


def images(encoder: Backbone, n: int = 3) -> list[NDArray[np.uint8]]:
    rng = np.random.default_rng(0)
    return [encoder.prepare(rng.integers(0, 256, (40, 60, 3), np.uint8)) for _ in range(n)]


def test_pooled_features_are_those_of_torchvision(resnet: Path) -> None:
    encoder = ENCODERS["resnet34"](BackboneConfig(weights=resnet, threads=1))
    batch = images(encoder)
    net = torchvision.models.resnet34(weights=None)
    net.load_state_dict(torch.load(resnet, weights_only=True))
    net.fc = torch.nn.Identity()
    pixels = torch.from_numpy(np.stack(batch)).permute(0, 3, 1, 2).float() / 255
    normal = torchvision.transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    with torch.inference_mode():
        expected = net.eval()(normal(pixels)).numpy()
    assert encoder.dim == 512
    np.testing.assert_allclose(encoder.encode(batch), expected, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(encoder.encode(batch[1:2]), expected[1:2], rtol=1e-3, atol=1e-4)


def test_any_layer_may_be_chosen(resnet: Path) -> None:
    encoder = ENCODERS["resnet34"](BackboneConfig(weights=resnet, layer="layer3", threads=1))
    assert encoder.dim == 256
    assert encoder.encode(images(encoder)).shape == (3, 256)
    wrong = ENCODERS["resnet34"](BackboneConfig(weights=resnet, layer="layer9"))
    with pytest.raises(ValueError, match="layer: expected 'pooled' or a module of resnet34, got 'layer9'"):
        wrong.encode(images(wrong))


def test_digests_follow_weights_layer_view_and_precision(resnet: Path, tmp_path: Path) -> None:
    def digest(**options: Any) -> str:
        return ENCODERS["resnet34"](BackboneConfig(**{"weights": resnet, **options})).digest

    other = tmp_path / "other.pth"
    other.write_bytes(b"other")
    digests = [
        digest(), digest(layer="layer3"), digest(side=300), digest(pixels="unit"), digest(frame="stretch"),
        digest(precision="bfloat16"), digest(weights=other),
    ]  # fmt: skip
    assert len(set(digests)) == len(digests)
    assert digest(device="cuda", threads=4) == digests[0]


def test_missing_weights_say_what_is_wanted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.delenv("FUSELINE_WEIGHTS", raising=False)
    wanted = (
        r"^resnet34: expected the path of a weight file, got none; on a machine with access download "
        r"https://download\.pytorch\.org/models/resnet34-b627a593\.pth \(83 MB, SHA-256 b627a593\.\.\.\), then set "
        rf"options\.weights to its path, or put it as resnet34-b627a593\.pth into \$FUSELINE_WEIGHTS or {tmp_path}"
    )
    with pytest.raises(MissingWeights, match=wanted) as caught:
        _ = ENCODERS["resnet34"](BackboneConfig()).digest
    assert "\n" not in str(caught.value)
    with pytest.raises(MissingWeights, match=r"/resolve/main/model\.safetensors \(102 MB\).*as resnetv2_50\.a1h_in1k"):
        _ = ENCODERS["resnet50v2"](BackboneConfig()).digest


def test_weights_with_another_digest_are_refused(resnet: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(
        WrongWeights, match=r"expected resnet34\.pth with SHA-256 '00', got '[0-9a-f]{64}' \(.* bytes\)"
    ):
        _ = ENCODERS["resnet34"](BackboneConfig(weights=resnet, sha256="00")).digest
    right = ENCODERS["resnet34"](BackboneConfig(weights=resnet, sha256=file_sha256(resnet))).digest
    # A file under its publisher's name must have the digits that the name holds: here a cut download.
    cut = tmp_path / "resnet34-b627a593.pth"
    cut.write_bytes(resnet.read_bytes()[:1000])
    monkeypatch.setenv("FUSELINE_WEIGHTS", str(tmp_path))
    for config in (BackboneConfig(), BackboneConfig(weights=cut)):
        with pytest.raises(WrongWeights, match=r"expected resnet34-b627a593\.pth with SHA-256 'b627a593'.*1,000 bytes"):
            _ = ENCODERS["resnet34"](config).digest
    named = PRESETS["resnet34"]._replace(file=f"resnet34-{file_sha256(resnet)[:8]}.pth")
    monkeypatch.setattr(ENCODERS["resnet34"], "preset", named)
    (tmp_path / named.file).write_bytes(resnet.read_bytes())
    assert ENCODERS["resnet34"](BackboneConfig()).digest == right


def test_weights_of_another_network_are_refused(resnet: Path) -> None:
    encoder = ENCODERS["resnet50"](BackboneConfig(weights=resnet))
    with pytest.raises(RuntimeError, match="Missing key"):
        encoder.encode(images(encoder))


def test_presets_show_images_as_the_papers_do() -> None:
    shown = {name: (one.dim, one.side, one.pixels, one.frame) for name, one in PRESETS.items()}
    assert shown == {
        "resnet152": (2048, 224, "imagenet", "crop"),  # paper K
        "resnet34": (512, 224, "imagenet", "crop"),
        "resnet50": (2048, 224, "imagenet", "crop"),
        "vgg16": (4096, 224, "imagenet", "crop"),  # paper Z; for weights of its own library: pixels "caffe"
        "inception_v3": (2048, 300, "unit", "stretch"),  # paper M: 300 x 300 / 255
        "mobilenet_v2": (1280, 300, "unit", "stretch"),
        "resnet50v2": (2048, 300, "unit", "stretch"),
        "densenet121": (1024, 512, "unit", "stretch"),  # paper P: 512 x 512 / 255
        "resnext101_wsl": (2048, 224, "imagenet", "crop"),  # paper R
    }
    for name, (_, side, _, _) in shown.items():
        assert ENCODERS[name](BackboneConfig()).prepare(np.zeros((9, 30, 3), np.uint8)).shape == (side, side, 3)
    chosen = ENCODERS["vgg16"](BackboneConfig(side=512, pixels="caffe", frame="stretch"))
    assert (chosen.side, chosen.pixels, chosen.frame, chosen.min_side) == (512, "caffe", "stretch", 512)


def test_views_of_the_papers() -> None:
    batch = np.array([[[[255, 0, 51]]]], np.uint8)
    np.testing.assert_allclose(_scaled(batch, "unit").reshape(-1), [1, 0, 0.2], atol=1e-6)
    np.testing.assert_allclose(_scaled(batch, "caffe").reshape(-1), [51 - 103.939, -116.779, 255 - 123.68], atol=1e-3)
    np.testing.assert_allclose(
        _scaled(batch, "imagenet").reshape(-1), [0.515 / 0.229, -0.456 / 0.224, -0.206 / 0.225], rtol=1e-4
    )
    wide = np.zeros((50, 150, 3), np.uint8)
    wide[:, 50:100] = 255
    crop = ENCODERS["resnet152"](BackboneConfig()).prepare(wide)
    assert crop.shape == (224, 224, 3)
    assert (crop > 250).mean() > 0.95
    stretched = ENCODERS["inception_v3"](BackboneConfig()).prepare(wide)
    assert stretched.shape == (300, 300, 3)
    assert 0.3 < (stretched > 128).mean() < 0.37


@pytest.mark.parametrize(("precision", "close"), [("float32", 1e-4), ("bfloat16", 0.05)])
def test_a_batch_too_large_for_memory_is_halved(
    resnet: Path, monkeypatch: pytest.MonkeyPatch, precision: Any, close: float
) -> None:
    encoder = ENCODERS["resnet34"](BackboneConfig(weights=resnet, threads=1, precision=precision, side=32))
    batch = images(encoder, 5)
    whole = encoder.encode(batch)
    assert np.abs(whole).max() > 20 * close
    original, sizes = encoder._embed, []

    def embed(items: Any) -> NDArray[np.float32]:
        sizes.append(len(items))
        if len(items) > 2:
            raise torch.OutOfMemoryError("no memory")
        return original(items)

    monkeypatch.setattr(encoder, "_embed", embed)
    np.testing.assert_allclose(encoder.encode(batch), whole, rtol=1e-3, atol=close)
    assert sizes == [5, 2, 2, 1]
    encoder.encode(batch)
    assert sizes[4:] == [2, 2, 1]


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(PRESETS) - {"resnet34"}))
def test_every_preset_is_a_network_of_its_library(name: str, tmp_path: Path) -> None:
    from fuseline.models.encoders.backbones import build_backbone

    torch.manual_seed(0)
    file = tmp_path / "w.pth"
    torch.save(build_backbone(PRESETS[name]).state_dict(), file)
    encoder = ENCODERS[name](BackboneConfig(weights=file, side=96 if name != "inception_v3" else None))
    assert encoder.encode(images(encoder, 2)).shape == (2, PRESETS[name].dim)
