"""Image networks: parameters by hand, a step beside a bare loop, what is frozen, pictures that lack, weights."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
import torchvision
from numpy.typing import NDArray
from torch import nn

from fuseline.models.classifiers.image_cnn import ImageCNN, ImageCNNConfig
from fuseline.models.columns import Pixels, Size
from fuseline.models.errors import MissingWeights, WrongWeights
from fuseline.models.features import Block
from fuseline.models.image_networks import SCALES, PictureTotals
from fuseline.models.registry import new_classifier
from fuseline.models.threads import limit_threads
from tests.models.synthetic import Blocks

NAME, TRUNK = "embed/pixels", "branches.pixels.trunk."
VGG_CONVOLUTIONS = [64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512]  # channels after each
CALM = {"architecture": "mobilenet_v2", "epochs": 1, "batch": 16, "optimizer_options": {}, "lr": 0.05}


def vgg_counts(classes: int) -> list[int]:
    """Return the parameters of every layer of VGG16: 3 x 3 filters over all channels before, and one bias each."""
    before = [3, *VGG_CONVOLUTIONS]
    convolutions = [9 * a * b + b for a, b in zip(before, VGG_CONVOLUTIONS, strict=False)]
    return [*convolutions, 512 * 7 * 7 * 4096 + 4096, 4096 * 4096 + 4096, 4096 * classes + classes]


def described(classes: int, *, side: int = 224, **options: Any) -> dict[str, Any]:
    """Return what a network says of its parameters; no number of it is ever drawn."""
    classifier = ImageCNN(ImageCNNConfig(**options))
    classifier.facts = {}
    with torch.device("meta"):
        classifier.network = classifier.blank({NAME: Size("pixels", 3 * side * side)}, classes)
    return classifier.describe()


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    limit_threads(1)
    torch.set_num_threads(1)


def documents(n: int = 40, side: int = 8, *, seed: int = 0, missing: bool = True) -> Block:
    """Return documents of three classes, whose pictures have much of one colour."""
    rng = np.random.default_rng(seed)
    y = rng.permutation(np.arange(n) % 3)
    pictures = rng.integers(0, 60, (n, side, side, 3)).astype(np.uint8)
    pictures[np.arange(n), :, :, y] += 150
    present = rng.random(n) > 0.2 if missing else np.ones(n, np.bool_)
    column = Pixels((side, side, 3), pictures.__getitem__, np.arange(n), present)
    return Block(pa.array([f"d{i}" for i in range(n)]), pa.array([[f"c{c}"] for c in y]), {NAME: column})


def fitted(block: Block, *, rows: int = 10_000, **options: Any) -> ImageCNN:
    return ImageCNN(ImageCNNConfig(**{**CALM, **options})).fit(Blocks(block, rows), None, seed=0)


def arrays(classifier: ImageCNN) -> dict[str, NDArray[Any]]:
    return {name: tensor.numpy() for name, tensor in classifier.network.state_dict().items()}


def test_vgg_has_the_parameters_that_one_counts_by_hand() -> None:
    """138,357,544 with the classes of ImageNet, as published; 146,100,874 with the shelves of paper Z."""
    assert sum(vgg_counts(1000)) == 138_357_544
    for side in (64, 224):
        assert described(2890, side=side)["parameters"] == sum(vgg_counts(2890)) == 146_100_874
    assert described(2890)["trained_parameters"] == 146_100_874


def test_what_is_frozen_is_counted_by_hand() -> None:
    # Half of the 15 layers before the last: 7 convolutions.
    assert described(10, freeze_fraction=0.5)["trained_parameters"] == sum(vgg_counts(10)[7:])
    assert described(10, freeze_fraction=1)["trained_parameters"] == 4096 * 10 + 10  # Z-09
    half = described(10, architecture="resnet50", freeze_fraction=0.5)
    # Of 106 layers 53: the stem, the first two groups, and of the third two convolutions with their norms and one more.
    stem, first, second = 64 * 3 * 49 + 2 * 64, 215_808, 1_219_584
    third = 512 * 256 + 2 * 256 + 9 * 256 * 256 + 2 * 256 + 256 * 1024
    assert half["parameters"] - half["trained_parameters"] == stem + first + second + third
    assert half["parameters"] == 23_508_032 + 2048 * 10 + 10


def bare_step(kind: Any, block: Block, *, lr: float) -> dict[str, NDArray[Any]]:
    """Return the state of a network of torchvision after a plain step over all documents of a block."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    net = kind(weights=None, num_classes=3).train()
    order = torch.randperm(len(block))
    x = torch.from_numpy(block.column(NAME, Pixels).take(order.numpy())).permute(0, 3, 1, 2).contiguous().float() / 255
    y = torch.tensor([int(label[0][1:]) for label in block.labels.to_pylist()])[order]
    nn.functional.cross_entropy(net(x), y).backward()
    torch.optim.SGD(net.parameters(), lr=lr).step()
    torch.set_num_threads(threads)
    return {name: tensor.numpy() for name, tensor in net.state_dict().items()}


def assert_same_step(ours: dict[str, NDArray[Any]], bare: dict[str, NDArray[Any]], last: str) -> None:
    for name, expected in bare.items():
        mine = ours[f"last.{name.removeprefix(last)}" if name.startswith(last) else TRUNK + name]
        np.testing.assert_allclose(mine, expected, rtol=1e-5, atol=1e-6, err_msg=name)


def test_a_step_is_that_of_a_bare_loop() -> None:
    block = documents(12, 16, missing=False)
    ours = arrays(fitted(block, normalise="unit"))
    assert_same_step(ours, bare_step(torchvision.models.mobilenet_v2, block, lr=0.05), "classifier.1.")


@pytest.mark.slow
def test_a_full_size_step_of_vgg_is_that_of_a_bare_loop() -> None:
    block = documents(3, 224, missing=False, seed=1)
    bare = bare_step(torchvision.models.vgg16, block, lr=0.01)
    ours = arrays(fitted(block, architecture="vgg16", lr=0.01, normalise="unit"))
    assert_same_step(ours, bare, "classifier.6.")


def test_frozen_layers_keep_their_weights_and_their_statistics() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        start = torchvision.models.mobilenet_v2(weights=None, num_classes=3).state_dict()
    state = arrays(fitted(documents(), freeze_fraction=0.5))
    names = [name for name in start if name.startswith("features")]
    changed = {name: not np.array_equal(state[TRUNK + name], start[name].numpy()) for name in names}
    # Of 104 layers 52: 2 of the stem, 4 of block 1, 6 of each of 2 to 8, and 4 of block 9.
    half = names.index("features.9.conv.2.weight")
    first, rest = names[:half], names[half:]
    assert not any(changed[name] for name in first)
    assert all(changed[name] for name in rest if "running" in name or name.endswith("weight"))


def test_a_document_without_picture_changes_nothing_and_gets_the_bias() -> None:
    block = documents()
    column = block.column(NAME, Pixels)
    model = fitted(block)
    logits = model.predict_logits(block)
    absent = np.flatnonzero(~column.present)
    assert len(absent) > 3
    np.testing.assert_allclose(logits[absent], np.tile(arrays(model)["last.bias"], (len(absent), 1)), rtol=1e-6)
    present = block.at(np.flatnonzero(column.present))
    np.testing.assert_allclose(model.predict_logits(present), logits[column.present], rtol=1e-4, atol=1e-5)
    assert np.isfinite(fitted(block.masked(frozenset({NAME}))).predict_logits(block)).all()


def test_a_batch_of_one_picture_is_normalised_by_what_was_seen_before() -> None:
    model = fitted(documents(17, missing=False))  # a batch of 16, and one alone
    assert model.facts["documents"] == 17
    assert all(np.isfinite(array).all() for array in arrays(model).values())


def test_shards_make_no_difference() -> None:
    block = documents(missing=True)
    whole, cut = arrays(fitted(block)), arrays(fitted(block, rows=7))
    assert all(np.array_equal(whole[name], cut[name]) for name in whole)


def test_mean_and_deviation_are_those_of_the_training_pictures_that_are_there() -> None:
    block = documents()
    column = block.column(NAME, Pixels)
    pictures = column.take(np.flatnonzero(column.present)).reshape(-1, 3) / 255
    state = arrays(fitted(block))
    np.testing.assert_allclose(state["branches.pixels.mean"].ravel(), pictures.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(state["branches.pixels.std"].ravel(), pictures.std(axis=0), rtol=1e-5)
    assert np.array_equal(arrays(fitted(block, normalise="mean"))["branches.pixels.std"].ravel(), np.ones(3))
    assert PictureTotals().scale(deviation=True) == SCALES["unit"]


def test_weights_at_hand_are_trained_further(tmp_path: Path) -> None:
    """A checkpoint is loaded without the file that its network started from."""
    options = {"architecture": "efficientnet_lite2", "pretrained": True, "freeze_fraction": 1.0, "lr": 0.01}
    block = documents(24, 16)
    model = fitted(block, **options)
    described = model.describe()
    assert described["trained_parameters"] == 1280 * 3 + 3
    np.testing.assert_allclose(arrays(model)["branches.pixels.mean"].ravel(), np.full(3, 127 / 255), rtol=1e-6)
    model.save(tmp_path)
    back = ImageCNN.load(tmp_path)
    np.testing.assert_array_equal(back.predict_logits(block), model.predict_logits(block))
    assert back.describe() == described


def test_weights_that_need_a_hub_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(MissingWeights, match=r"vgg16-397923af.pth.*set options.weights to its path"):
        ImageCNNConfig(pretrained=True).start_digest()
    assert ImageCNNConfig().start_digest() == ""
    with pytest.raises(MissingWeights, match=r"efficientnet_lite2: .* a weight file at .*none.pth.*leave"):
        ImageCNNConfig(architecture="efficientnet_lite2", pretrained=True, weights=Path("none.pth")).start_digest()
    file = tmp_path / "mine.pth"
    torch.manual_seed(1)
    given = torchvision.models.mobilenet_v2(weights=None)
    torch.save(given.state_dict(), file)
    options = {**CALM, "pretrained": True, "weights": file, "freeze_fraction": 1.0}
    state = arrays(fitted(documents(8), **options))
    assert np.array_equal(state[TRUNK + "features.0.0.weight"], given.features[0][0].weight.detach().numpy())
    assert ImageCNNConfig(**options).start_digest().startswith("blake3:")
    with pytest.raises(WrongWeights, match=r"resnet34: expected its weights in mine.pth, got others"):
        fitted(documents(8), **{**options, "architecture": "resnet34"})


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match=r"at least 32 x 32 for vgg16, got 8 x 8; raise `side`"):
        fitted(documents(8), architecture="vgg16")
    with pytest.raises(ValueError, match="expected 'float32' on a processor, got 'bfloat16'"):
        fitted(documents(8), precision="bfloat16", device="cpu")
    with pytest.raises(ValueError, match=r"expected one of \['resnet152'.*got 'resnet9'"):
        new_classifier("image_cnn", {"architecture": "resnet9"})
    with pytest.raises(ValueError, match="pixels: expected 'embed/pixels'"):
        fitted(documents(8).only(set()))
