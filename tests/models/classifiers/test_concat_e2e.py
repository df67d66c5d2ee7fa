"""Branches trained together: their sizes, missing inputs, rates of their own, and starts from trained networks."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pydantic import ValidationError

from fuseline.models.classifiers.concat_e2e import ConcatE2E, ConcatE2EConfig
from fuseline.models.columns import Dense, Pixels, Sequence
from fuseline.models.features import Block
from fuseline.models.registry import MODELS
from tests.models.reference import accuracy
from tests.models.synthetic import Blocks

QUICK = {"dim": 8, "maps": 5, "widths": (1, 2), "units": 6, "epochs": 2, "lr": 0.01, "batch": 32, "dropout": 0.0}
SHAPES = {"dim", "maps", "widths"}


def documents(n: int = 150, seed: int = 0) -> Block:
    """Return documents whose class is told by a word and by the sign of a number together."""
    rng = np.random.default_rng(seed)
    word, sign = rng.integers(0, 2, n), rng.integers(0, 2, n)
    here = rng.random((2, n)) > 0.1
    lengths = np.where(here[0], 3, 0)
    words = rng.integers(3, 9, lengths.sum()).astype(np.int32)
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
    words[offsets[:-1][here[0]]] = word[here[0]] + 1
    X = rng.normal(size=(n, 4)).astype(np.float32)
    X[:, 0] = 3 * (2 * sign - 1)
    X[~here[1]] = 0
    columns = {"embed/words": Sequence(offsets, words, here[0], 8), "embed/image": Dense(X, here[1])}
    labels = [["same" if one == other else "other"] for one, other in zip(word, sign, strict=True)]
    return Block(pa.array([f"d{i}" for i in range(n)]), pa.array(labels), columns)


def fitted(train: Block | None = None, *, kind: str = "concat_e2e", start: Any = None, **options: Any) -> Any:
    of: Any = MODELS[kind]
    names = of.Config.model_fields
    model = of(of.Config(**{k: v for k, v in {**QUICK, **options}.items() if k in names}))
    if start is not None:
        model.start_from(start)
    return model.fit(Blocks(train or documents(), 60), None, seed=0)


@pytest.mark.parametrize("layers", [1, 2])
def test_sizes_and_features_are_those_of_the_branches(layers: int) -> None:
    model, block = fitted(layers=layers), documents(20, 1)
    filters = sum(width * 8 * 5 + 5 for width in (1, 2))
    joint, units = 6 + 10, 6
    heads = (joint + 1) * 2 if layers == 1 else (joint + 1) * units + (units + 1) * 2
    assert model.describe()["parameters"] == 9 * 8 + filters + (4 + 1) * 6 + heads
    arrays = model._arrays()
    X = block.column("embed/image", Dense).values.astype(np.float64)
    X /= np.maximum(np.linalg.norm(X, axis=1, keepdims=True), 1e-12)
    image = np.maximum(X @ arrays["branches.image.layer.weight"].T + arrays["branches.image.layer.bias"], 0)
    image *= X.any(axis=1, keepdims=True)
    if layers == 1:  # branches stand in sorted order: image, words
        np.testing.assert_allclose(model.hidden(block)[:, :6], image, rtol=1e-4, atol=1e-5)
        assert not model.hidden(block.masked(frozenset({"embed/words"})))[:, 6:].any()
        assert not model.hidden(block.masked(frozenset({"embed/image"})))[:, :6].any()
    assert model.hidden(block).shape == (20, joint if layers == 1 else units)


def test_two_inputs_tell_what_one_cannot() -> None:
    model, test = fitted(documents(300), epochs=15, layers=2, units=16), documents(200, 1)
    assert accuracy(model, test) > 0.8
    for name in ("embed/words", "embed/image"):
        assert 0.35 < accuracy(model, test.masked(frozenset({name}))) < 0.65


def test_a_branch_with_a_rate_of_zero_stays_as_it_starts_and_others_move() -> None:
    alone = fitted(kind="text_cnn")
    groups = ({"match": "branches.words.*", "lr": 0.0},)
    model = fitted(start={"net": alone}, groups=groups)
    own, other = model._arrays(), alone._arrays()
    for name, array in own.items():
        if name.startswith("branches.words."):
            np.testing.assert_array_equal(array, other[name])
    assert (
        np.abs(own["branches.image.layer.weight"] - fitted(epochs=1)._arrays()["branches.image.layer.weight"]).max() > 0
    )


def test_training_starts_from_the_weights_of_single_networks() -> None:
    text = fitted(kind="text_cnn", epochs=3)
    slow = {"lr": 1e-9, "epochs": 1}
    started, drawn = fitted(start={"net": text}, **slow), fitted(**slow)
    name = "branches.words.words.weight"
    np.testing.assert_allclose(started._arrays()[name], text._arrays()[name], atol=1e-6)
    assert np.abs(drawn._arrays()[name] - text._arrays()[name]).max() > 0.1
    np.testing.assert_allclose(
        started._arrays()["branches.image.layer.weight"], drawn._arrays()["branches.image.layer.weight"], atol=1e-6
    )
    again = ConcatE2E.restored(started.checkpoint())
    np.testing.assert_array_equal(again.predict_logits(documents(9, 2)), started.predict_logits(documents(9, 2)))


def test_trials_of_options_start_there_too() -> None:
    text = fitted(kind="text_cnn")
    config = ConcatE2EConfig(**{name: QUICK[name] for name in (*SHAPES, "units")}, start=("net",))  # type: ignore[arg-type]
    model = ConcatE2E(config)
    model.start_from({"net": text})
    model.fit(Blocks(documents()), Blocks(documents(60, 1)), seed=0)
    assert model.facts["search"]["chosen"]["epochs"] == model.facts["epochs"]  # type: ignore[index,call-overload]


def with_pictures(block: Block) -> Block:
    """Return the documents with pictures of 8 x 8, every third without one."""
    pictures = np.random.default_rng(5).integers(0, 256, (len(block), 8, 8, 3)).astype(np.uint8)
    column = Pixels((8, 8, 3), pictures.__getitem__, np.arange(len(block)), np.arange(len(block)) % 3 > 0)
    return Block(block.ids, block.labels, {**block.columns, "embed/pixels": column})


def test_a_branch_over_pictures_starts_from_the_weights_of_an_image_network() -> None:
    block = with_pictures(documents(30))
    looks: dict[str, Any] = {"architecture": "mobilenet_v2", "pixels": "pixels", "epochs": 1, "lr": 1e-9}
    text = fitted(block, kind="text_cnn")
    image = fitted(block, kind="image_cnn", **{**looks, "lr": 0.01}, optimizer_options={})
    trained = {"text": text, "image": image}
    model = fitted(block, start=trained, vectors=(), **looks)
    started, drawn = model._arrays(), fitted(block, vectors=(), **looks)._arrays()
    wide = [key for key in started if key.startswith("branches.pixels.") and key.endswith("weight")]
    assert len(wide) > 50
    for key in wide:
        np.testing.assert_allclose(started[key], image._arrays()[key], atol=1e-6)
    first = wide[0]
    assert np.abs(drawn[first] - image._arrays()[first]).max() > 1e-3
    name = "branches.words.words.weight"
    np.testing.assert_allclose(started[name], text._arrays()[name], atol=1e-6)
    again = ConcatE2E.restored(model.checkpoint())
    np.testing.assert_array_equal(again.predict_logits(block), model.predict_logits(block))
    assert model.hidden(block).shape == (30, 10 + 1280)
    unseen = block.masked(frozenset({"embed/pixels"}))
    assert not model.hidden(unseen)[:, :1280].any()


def test_rate_and_epochs_are_chosen_unless_given() -> None:
    assert set(ConcatE2EConfig().automatic) == {"lr", "epochs"}
    assert ConcatE2EConfig(pixels="pixels", vectors=(), sequences=()).weight_file() is None


def test_what_cannot_be_started_from_is_refused_by_name() -> None:
    text = fitted(kind="text_cnn")
    with pytest.raises(ValueError, match=r"start: expected the trained models \['net'\], got none; train within a run"):
        ConcatE2E(ConcatE2EConfig(start=("net",), epochs=1, lr=0.1)).fit(Blocks(documents()), None, seed=0)
    with pytest.raises(
        ValueError,
        match=r"start: words.filters.0.bias: expected \(7,\), got \(5,\) in net; give both branches the same",
    ):
        fitted(start={"net": text}, maps=7)
    with pytest.raises(ValueError, match=r"inputs \['image'\], got net with \['words'\]; name another"):
        fitted(start={"net": text}, sequences=())
    with pytest.raises(ValidationError, match="expected an input here, among `vectors` or as `pixels`, got none"):
        ConcatE2EConfig(sequences=(), vectors=())
