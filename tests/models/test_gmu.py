"""The gated multimodal unit: hand numbers, gates of missing modalities, learning, and one training step by torch."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch

from fuseline.models.blocks import cut
from fuseline.models.classifiers.gmu import GMU, GMUConfig
from fuseline.models.columns import Dense, Size
from fuseline.models.config import key_values
from fuseline.models.errors import TrainingError
from fuseline.models.features import Block
from tests.models.reference import accuracy, fitted, only, with_column, with_text_embedding, without
from tests.models.synthetic import Blocks, documents, make_block, present, vectors

QUICK = {"dim": 16, "epochs": 12, "lr": 0.02}


def sigmoid(x: float) -> float:
    return 1 / (1 + np.exp(-x))


def by_hand() -> GMU:
    """One number inside, two classes, image and text of two numbers."""
    model = GMU(GMUConfig(dim=1))
    model.labels, model.multi_label, model.threshold = ["a", "b"], False, 0.5
    model.sizes, model.facts = {"embed/image": Size("dense", 2), "embed/text": Size("dense", 2)}, {}
    values = {"Wv": [[1, 2]], "Wt": [[3, -1]], "Wz": [[1, 0, 0, 2]], "W": [[1], [-2]], "b": [0.5, 0.25]}
    model.weights = {name: np.array(value, np.float32) for name, value in values.items()}
    return model


def one_document(*, image: bool, text: bool) -> Block:
    dense = {"image": np.array([[3, 4]], np.float32), "text": np.array([[0, 5]], np.float32)}
    present = {"image": np.array([image]), "text": np.array([text])}
    return make_block(pa.array(["d"]), pa.array([""]), pa.array([["a"]]), dense, {}, present)


@pytest.mark.parametrize(
    ("image", "text", "h_v", "h_t"),
    [
        (True, True, sigmoid(0.6 + 2) * np.tanh(0.6 + 1.6), (1 - sigmoid(0.6 + 2)) * np.tanh(-1)),
        (True, False, np.tanh(2.2), 0),
        (False, True, 0, np.tanh(-1)),
        (False, False, 0, 0),
    ],
)
def test_hand_numbers(image: bool, text: bool, h_v: float, h_t: float) -> None:
    model, block = by_hand(), one_document(image=image, text=text)
    h = h_v + h_t
    np.testing.assert_allclose(model.predict_logits(block), [[h + 0.5, -2 * h + 0.25]], rtol=1e-5)
    share = model.importance(block, np.array([1]))
    total = (abs(h_v) + abs(h_t)) or 1
    np.testing.assert_allclose([share["image"][0], share["text"][0]], [abs(h_v) / total, abs(h_t) / total], rtol=1e-5)


def test_two_modalities_tell_what_one_cannot() -> None:
    train, test = with_text_embedding(documents(600)), with_text_embedding(documents(400, seed=1))
    model = fitted("gmu", train, rows=100, **QUICK)
    assert accuracy(model, test) > 0.75
    assert 0.35 < accuracy(model, without(test, text=True)) < 0.65
    assert 0.35 < accuracy(model, without(test, image=True)) < 0.65
    losses = model.describe()["loss_per_epoch"]
    assert losses[-1] < losses[0] / 2


@pytest.mark.parametrize("second", [False, True])
def test_a_step_is_adam_on_the_loss(second: bool) -> None:
    """The same step with torch's own modules and a loss written as its definition."""
    block = with_text_embedding(documents(40, second_label=second))
    block = cut(block, 0, 40)
    config = GMUConfig(dim=5, epochs=1, batch=64, lr=0.1)
    model = GMU(config).fit(Blocks(block), None, seed=3)
    with torch.random.fork_rng([]):
        torch.manual_seed(3)
        weights = dict(model.module(model.sizes, len(model.labels)).named_parameters())
    units, masks = [], []
    for name in ("image", "text"):
        X = torch.from_numpy(vectors(block, name).astype(np.float32))
        units.append(torch.nn.functional.normalize(X, dim=1))
        masks.append(torch.from_numpy(present(block, name))[:, None])
    z = torch.sigmoid(torch.nn.functional.linear(torch.cat(units, 1), weights["Wz"]))
    z = torch.where(masks[0] & ~masks[1], 1.0, torch.where(masks[1] & ~masks[0], 0.0, z))
    hv, ht = (torch.tanh(torch.nn.functional.linear(x, weights[w])) for x, w in zip(units, ("Wv", "Wt"), strict=True))
    logits = torch.nn.functional.linear(z * hv + (1 - z) * ht, weights["W"], weights["b"])
    truth = torch.tensor([[name in own for name in model.labels] for own in block.labels.to_pylist()]).float()
    if second:
        p = torch.sigmoid(logits)
        loss = -(truth * p.log() + (1 - truth) * (1 - p).log()).sum(1).mean()
    else:
        loss = -torch.log_softmax(logits, 1)[truth.bool()].mean()
    optimizer = torch.optim.Adam(list(weights.values()), lr=0.1)
    loss.backward()
    optimizer.step()
    assert model.describe()["loss_per_epoch"] == [pytest.approx(loss.item(), rel=1e-4)]
    for name, weight in weights.items():
        np.testing.assert_allclose(model.weights[name], weight.detach().numpy(), atol=2e-3, err_msg=name)


def test_saved_and_loaded_it_is_the_same_however_a_shard_is_cut(tmp_path: Path) -> None:
    train, test = with_text_embedding(documents(300)), with_text_embedding(documents(300, seed=1))
    for name, rows in (("a", 10_000), ("b", 37)):
        (tmp_path / name).mkdir()
        model = fitted("gmu", train, rows=rows, **QUICK, dropout=0.2)
        model.save(tmp_path / name)
    files = ["arrays.safetensors", "model.json"]
    assert [(tmp_path / "a" / f).read_bytes() for f in files] == [(tmp_path / "b" / f).read_bytes() for f in files]
    again, whole = GMU.load(tmp_path / "a"), model.predict_logits(test)
    np.testing.assert_array_equal(again.predict_logits(test), whole)
    parts = [again.predict_logits(cut(test, lo, lo + 7)) for lo in range(0, 300, 7)]
    np.testing.assert_array_equal(np.concatenate(parts), whole)


def test_several_labels_documents_without_one_and_the_threshold() -> None:
    block = with_text_embedding(documents(400, second_label=True))
    some = only(block, [labels if i % 5 else [] for i, labels in enumerate(block.labels.to_pylist())])
    model = fitted("gmu", some, valid=block, **QUICK)
    assert model.multi_label
    assert model.describe()["documents"] == 320
    assert 0.05 < model.threshold < 0.95
    assert model.probabilities(model.predict_logits(block)).sum(axis=1).max() > 1.2


def test_refusals() -> None:
    with pytest.raises(ValueError, match="dense: expected 'embed/text'"):
        fitted("gmu", documents(30))
    block = with_text_embedding(documents(60))
    with pytest.raises(TrainingError, match="lower lr"):
        fitted("gmu", block, lr=3e37, dim=4)
    model = fitted("gmu", block, dim=4, epochs=1)
    narrow = with_column(block, "embed/image", Dense(vectors(block)[:, :5], present(block)))
    with pytest.raises(ValueError, match="embedding image: expected 12 columns, got 5"):
        model.predict_logits(narrow)


def test_settings_of_the_loop_are_taken_and_leave_old_keys_alone() -> None:
    old = {"task", "image", "text_embedding", "dim", "lr", "epochs", "batch", "dropout"}
    assert key_values(GMUConfig()).keys() == old
    options = {"optimizer": "sgd", "optimizer_options": {"momentum": 0.9}, "lr": 0.5, "bias": "frequencies"}
    block = with_text_embedding(documents(300))
    model = fitted("gmu", block, **{**QUICK, **options, "select": "accuracy", "patience": 3})
    assert accuracy(model, block) > 0.7
    facts = model.describe()
    assert facts["valid_accuracy"][facts["best_epoch"] - 1] == max(facts["valid_accuracy"])
    assert key_values(model.config).keys() == {*old, *options, "select", "patience"}
