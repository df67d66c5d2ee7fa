"""The attention model of paper P: its equations by hand, absent branches, the published layers, joint training."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from pydantic import ValidationError

from fuseline.models.attention_layers import Attend, dense_blocks
from fuseline.models.classifiers.attention import Attention, AttentionConfig
from fuseline.models.columns import Dense, Pixels, Sequence
from fuseline.models.features import Block
from tests.models.reference import accuracy
from tests.models.synthetic import Blocks

QUICK: dict[str, Any] = {
    "dim": 8, "maps": 5, "widths": (1, 2), "units": 6, "size": 4, "epochs": 2, "lr": 0.01, "device": "cpu",
    "pixels": None, "optimizer": "adam",
}  # fmt: skip
PICTURES = {"pixels": "pixels", "blocks": (2, 2), "growth": 4}
JOINT = {"inputs": ["columns", "image"], "hidden": 8, "inner": 6, "code": 3}


def documents(n: int = 120, seed: int = 0, *, pictures: bool = False) -> Block:
    """Return documents whose class is told by a word, by a column, and by how light their picture is."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, n)
    has = rng.random((3, n)) > 0.15
    lengths = np.where(has[0], 3, 0)
    words = rng.integers(3, 9, lengths.sum()).astype(np.int32)
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
    words[offsets[:-1][has[0]]] = y[has[0]] + 1
    X = np.abs(rng.normal(size=(n, 4))).astype(np.float32)
    X[:, 0] += 2 * y
    image = rng.normal(size=(n, 5)).astype(np.float32)
    columns: dict[str, Any] = {
        "embed/words": Sequence(offsets, words, has[0], 8),
        "embed/columns": Dense(X, has[1]),
        "embed/image": Dense(image, has[2]),
    }
    if pictures:
        values = (rng.integers(1, 120, (n, 32, 32, 3)) + 120 * y[:, None, None, None]).astype(np.uint8)
        columns["embed/pixels"] = Pixels((32, 32, 3), values.__getitem__, np.arange(n), has[2])
    return Block(pa.array([f"d{i}" for i in range(n)]), pa.array([["ab"[c]] for c in y]), columns)


def fitted(data: Block | None = None, *, seed: int = 0, **options: Any) -> Attention:
    config = AttentionConfig(**{"vectors": ("columns",), **QUICK, **options})
    return Attention(config).fit(Blocks(data or documents(), 50), None, seed=seed)


def linear(arrays: Any, name: str, x: np.ndarray) -> np.ndarray:
    return x @ arrays[f"{name}.weight"].T + arrays[f"{name}.bias"]


def test_branches_are_weighed_as_printed() -> None:
    """e_i = tanh(v_i . mu), a = softmax(e), h = [a_1 v_1; a_2 v_2; code], logits = W h + b, in numpy."""
    model, block = fitted(codes=("image",)), documents(30, 1)
    arrays = model._arrays()
    X, here = block.columns["embed/columns"].values, block.columns["embed/columns"].present
    v = np.maximum(linear(arrays, "branches.columns.layers.0", X), 0)
    v = np.maximum(linear(arrays, "branches.columns.layers.3", v), 0) * here[:, None]
    with torch.inference_mode():
        words = model.network.get_submodule("branches.words")(torch.from_numpy(block.columns["embed/words"].padded()))
    V = np.stack([v, words.numpy()], axis=1)
    e = np.tanh(V @ arrays["body.mu"])
    a = np.exp(e) * V.any(axis=2)
    a /= np.maximum(a.sum(axis=1, keepdims=True), 1e-12)
    image = block.columns["embed/image"]
    code = image.values * image.present[:, None]
    h = np.concatenate([V[:, 0] * a[:, :1], V[:, 1] * a[:, 1:], code], axis=1)
    np.testing.assert_allclose(model.hidden(block), h, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(model.predict_logits(block), linear(arrays, "last", h), rtol=1e-4, atol=1e-5)
    shares = model.importance(block, np.zeros(30, np.int64))
    assert sorted(shares) == ["columns", "words"]
    np.testing.assert_allclose(shares["columns"], a[:, 0], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(shares["words"], a[:, 1], rtol=1e-4, atol=1e-6)
    for other in (block.masked(frozenset({"embed/columns"})), block.masked(frozenset({"embed/words"}))):
        shares = model.importance(other, np.zeros(30, np.int64))
        assert {*np.round(shares["columns"], 5), *np.round(shares["words"], 5)} <= {0.0, 1.0}


def test_merges_differ_in_what_is_joined() -> None:
    parts = [torch.rand(5, 3), torch.rand(5, 2), torch.rand(5, 3)]
    widths, attended = [3, 2, 3], [True, False, True]
    concat, weighed, both = (Attend(widths, attended, merge) for merge in ("concat", "attention", "both"))
    torch.testing.assert_close(concat(parts), torch.cat([parts[0], parts[2], parts[1]], dim=1))
    a = weighed.weights([parts[0], parts[2]])
    torch.testing.assert_close(a.sum(dim=1), torch.ones(5))
    expected = torch.cat([parts[0] * a[:, :1], parts[2] * a[:, 1:], parts[1]], dim=1)
    torch.testing.assert_close(weighed(parts), expected)
    assert [one.width for one in (concat, weighed, both)] == [8, 8, 14]
    both.mu = weighed.mu
    torch.testing.assert_close(both(parts), torch.cat([expected[:, :6], parts[0], parts[2], parts[1]], dim=1))


def test_a_document_with_nothing_gets_the_bias() -> None:
    model, block = fitted(), documents(10, 1).masked(frozenset({"embed/words", "embed/columns"}))
    np.testing.assert_allclose(model.predict_logits(block), np.tile(model._arrays()["last.bias"], (10, 1)), rtol=1e-5)
    assert not any(share.any() for share in model.importance(block, np.zeros(10, np.int64)).values())


def test_dense_blocks_are_torchvisions() -> None:
    """Two blocks of six layers that add 12 maps each: 24 + 72 maps, halved to 48, and 72 more: 120 features."""
    network, width = dense_blocks((6, 6), 12)
    assert width == 120
    names = [name for name, _ in network.features.named_children()]  # type: ignore[union-attr,operator]
    assert [name for name in names if "block" in name] == ["denseblock1", "denseblock2"]
    assert network(torch.zeros(2, 3, 64, 64)).shape == (2, 120)


def test_pictures_and_words_and_columns_are_learnt_from() -> None:
    data, test = documents(160, pictures=True), documents(100, 1, pictures=True)
    model = fitted(data, **PICTURES, epochs=8)
    assert accuracy(model, test) > 0.85
    assert sorted(model.importance(test, np.zeros(100, np.int64))) == ["columns", "pixels", "words"]
    only = fitted(data, vectors=(), sequence=None, **PICTURES, epochs=8)
    assert accuracy(only, test) > 0.75


def test_joint_training_adds_the_autoencoders_error(tmp_path) -> None:
    """The loss of training is cross entropy plus the weighted error; codes are learnt with the network."""
    options = {"vectors": ("columns", "image"), "joint": JOINT, "joint_weight": 0.5, "batch": 200, "epochs": 1}
    model, data = fitted(**options, vector_dropout=0.0, dropout=0.0, lr=1e-12), documents()
    logits = model.predict_logits(data).astype(np.float64)
    y = np.array([model.labels.index(label) for (label,) in data.labels.to_pylist()])
    entropy = np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(120), y]
    with torch.inference_mode():
        batch = {k: torch.from_numpy(v) for k, v in model.gather(data)(np.arange(120)).items()}
        error = model.network.codes(model.network._own(batch)).numpy()
    assert model.facts["loss_per_epoch"][0] == pytest.approx(entropy.mean() + 0.5 * error.mean(), rel=1e-4)
    trained = fitted(**{**options, "batch": 32, "epochs": 12})
    with torch.inference_mode():
        after = trained.network.codes(trained.network._own(batch)).numpy()
    assert after.mean() < error.mean()
    trained.save(tmp_path)
    other = Attention.load(tmp_path)
    np.testing.assert_array_equal(other.predict_logits(data), trained.predict_logits(data))
    assert trained.hidden(data).shape == (120, 4 + 4 + 4 + 6)


def test_pictures_may_be_encoded_with_the_network() -> None:
    joint = {**JOINT, "inputs": ["columns", "pixels"], "pooled": 4}
    model = fitted(documents(40, pictures=True), **PICTURES, joint=joint, epochs=1)
    assert model.predict_logits(documents(10, 1, pictures=True)).shape == (10, 2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"vectors": (), "sequence": None, "pixels": None}, "vectors: expected an input here"),
        ({"joint": {"inputs": ["other"]}}, r"joint.inputs: expected some of \['columns', 'pixels'\], got \['other'\]"),
        ({"joint": {"inputs": ["columns"]}, "bias": "frequencies"}, "bias: expected 'zero' beside `joint`"),
        ({"codes": ("columns",)}, "differ in more than"),
        ({"merge": "sum"}, "merge"),
    ],
)
def test_options_that_do_not_fit_are_refused(options, message) -> None:
    with pytest.raises(ValidationError, match=message):
        AttentionConfig(**options)
