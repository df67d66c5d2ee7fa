"""Towers: what each reads, what is missing, what is tuned, and stand-ins that are named."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from fuseline.models.classifiers.image_cnn import STAND_INS
from fuseline.models.classifiers.towers import Towers, TowersConfig
from fuseline.models.columns import Column, Dense, Pixels
from fuseline.models.features import Block
from fuseline.models.threads import limit_threads
from tests.models.synthetic import Blocks

CALM = {"architecture": "mobilenet_v2", "freeze_fraction": 1.0, "epochs": 2, "batch": 16, "tuning": 5, "lr": 0.01}
D = {"title": 6, "description": 4, "image": 3}


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    limit_threads(1)
    torch.set_num_threads(1)


def documents(n: int = 60, *, seed: int = 0) -> Block:
    """Return documents of three classes; every input lacks in some of them."""
    rng = np.random.default_rng(seed)
    y = rng.permutation(np.arange(n) % 3)
    pictures = rng.integers(0, 60, (n, 8, 8, 3)).astype(np.uint8)
    pictures[np.arange(n), :, :, y] += 150
    columns: dict[str, Column] = {"embed/pixels": Pixels((8, 8, 3), pictures.__getitem__, np.arange(n), there(rng, n))}
    for name, width in D.items():
        X = (np.eye(width)[y] * 2 + rng.normal(size=(n, width))).astype(np.float32)
        columns[f"embed/{name}"] = Dense(X, there(rng, n))
    return Block(pa.array([f"d{i}" for i in range(n)]), pa.array([[f"c{c}"] for c in y]), columns)


def there(rng: np.random.Generator, n: int) -> Any:
    return rng.random(n) > 0.2


def fitted(block: Block, *, rows: int = 10_000, **options: Any) -> Towers:
    return Towers(TowersConfig(**{**CALM, **options})).fit(Blocks(block, rows), None, seed=0)


def test_the_panel_is_as_wide_as_its_towers_together() -> None:
    model = fitted(documents())
    assert model.network.width == 1280 + 5 + 5
    tuned = (6 + 1) * 5 + (4 + 1) * 5
    assert model.describe()["trained_parameters"] == tuned + (1290 + 1) * 3
    assert [one.name for one in model.inputs(model.config)] == ["embed/pixels", "embed/title", "embed/description"]
    texts = fitted(documents(), pixels=None, tuning_layers=2)
    assert texts.describe()["parameters"] == tuned + 2 * (5 + 1) * 5 + (10 + 1) * 3
    vectors = fitted(documents(), pixels=None, image="image", texts=["title"])
    assert vectors.describe()["parameters"] == (6 + 1) * 5 + (3 + 5 + 1) * 3


def test_what_is_missing_leaves_zeros_in_its_place() -> None:
    block, names = documents(), ("embed/pixels", "embed/title", "embed/description")
    model = fitted(block)
    for at, gone in enumerate(names):
        hidden = model.hidden(block.masked(frozenset({gone})))
        parts = dict(zip(sorted(one.removeprefix("embed/") for one in names), np.split(hidden, [5, 1285], axis=1),
                         strict=True))  # fmt: skip
        assert not parts.pop(gone.removeprefix("embed/")).any(), at
        assert all(part.any() for part in parts.values())
        present = block.columns[gone].present
        own = model.hidden(block)
        np.testing.assert_allclose(own[~present], hidden[~present], rtol=1e-4, atol=1e-5)
    nothing = model.predict_logits(block.masked(frozenset(names)))
    bias = model.network.state_dict()["last.bias"].numpy()
    np.testing.assert_allclose(nothing, np.tile(bias, (len(block), 1)), rtol=1e-6)


def test_towers_learn_the_same_whatever_the_shards(tmp_path: Path) -> None:
    block = documents()
    whole, cut = fitted(block), fitted(block, rows=11)
    np.testing.assert_array_equal(whole.predict_logits(block), cut.predict_logits(block))
    whole.save(tmp_path)
    np.testing.assert_array_equal(Towers.load(tmp_path).predict_logits(block), whole.predict_logits(block))


def test_together_they_know_more_than_one() -> None:
    train, test = documents(300), documents(120, seed=1)
    truth = np.array([int(label[0][1:]) for label in test.labels.to_pylist()])

    def accuracy(**options: Any) -> float:
        model = fitted(train, pixels=None, epochs=10, batch=32, lr=0.02, **options)
        return float((model.predict_logits(test).argmax(axis=1) == truth).mean())

    assert accuracy() > max(accuracy(texts=["title"]), accuracy(texts=["description"])) + 0.05


def test_networks_that_stand_in_for_others_are_named() -> None:
    named = fitted(documents(), pixels=None, stands_in_for=["USE v4"])
    assert named.describe()[STAND_INS] == ["USE v4"]
    assert STAND_INS not in fitted(documents(), pixels=None).describe()


def test_a_panel_without_pictures_reads_no_weights(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    assert TowersConfig(pixels=None, architecture="vgg16", pretrained=True).start_digest() == ""


def test_rate_and_passes_are_tried_where_no_picture_is_read() -> None:
    block, small = documents(), {"tuning": 5, "batch": 16, "texts": ["title"]}
    tried = Towers(TowersConfig(pixels=None, **small)).fit(Blocks(block), Blocks(documents(seed=1)), seed=0)
    search: Any = tried.facts["search"]
    assert {"lr", "epochs"} == set(search["chosen"])
    assert tried.config.epochs == tried.facts["epochs"] == search["chosen"]["epochs"]
    config = TowersConfig(architecture="mobilenet_v2", freeze_fraction=1.0)
    assert {"lr", "epochs"} <= set(config.automatic)
    calm = Towers(config)
    calm.choose_options(Blocks(block), None)
    assert (calm.config.lr, calm.config.epochs, calm.config.automatic, calm.search) == (0.001, 20, (), {})


def test_what_cannot_be_is_refused() -> None:
    for options, wrong in (
        ({"image": "image"}, "image: expected None beside pixels, got 'image'"),
        ({"pixels": None, "texts": []}, "texts: expected a name"),
        ({"texts": ["a.b", "a_b"]}, "texts: expected names that differ"),
        ({"texts": ["title", "title"]}, "expected each name once"),
    ):
        with pytest.raises(ValueError, match=wrong):
            TowersConfig(**options)
