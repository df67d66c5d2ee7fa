"""Importance of any model: by leaving inputs out and by gradients, against numbers worked by hand."""

from typing import Any

import numpy as np
import pytest

from fuseline.models.attribution import left_out, times_gradient
from fuseline.models.classifiers.deep_sets import DeepSets
from fuseline.models.classifiers.fusion import ConcatFrozen
from fuseline.models.classifiers.gmu import GMU
from fuseline.models.classifiers.text_cnn import TextCNN, TextCNNConfig
from fuseline.models.features import Block
from tests.models.classifiers import test_text_cnn
from tests.models.classifiers.test_deep_sets import documents, fitted
from tests.models.synthetic import Blocks


def two_vectors(n: int = 60, seed: int = 0) -> Block:
    block = documents(n, seed)
    columns = {"embed/image": block.columns["embed/image"], "embed/text": documents(n, seed + 1).columns["embed/image"]}
    return Block(block.ids, block.labels, columns)


@pytest.mark.parametrize(("kind", "options"), [(GMU, {"dim": 4}), (ConcatFrozen, {"dim": 4})])
def test_an_input_left_out_costs_what_the_masked_score_lacks(kind: Any, options: dict[str, Any]) -> None:
    block = two_vectors()
    model = kind(kind.Config(epochs=3, lr=0.01, **options)).fit(Blocks(block), None, seed=0)
    chosen = model.predict_logits(block).argmax(axis=1)
    found = left_out(model, block, chosen)
    assert set(found) == {"embed/image", "embed/text"}
    whole = model.probabilities(model.predict_logits(block))[np.arange(60), chosen]
    for name, one in found.items():
        masked = model.probabilities(model.predict_logits(block.masked(frozenset({name}))))[np.arange(60), chosen]
        present = block.columns[name].present
        np.testing.assert_array_equal(one.lengths, present)
        np.testing.assert_allclose(one.values, (whole - masked)[present], atol=1e-6)
        assert one.whole


def test_a_linear_network_s_gradient_times_input_is_its_term() -> None:
    block = two_vectors()
    model = ConcatFrozen(ConcatFrozen.Config(layers=1, epochs=3, lr=0.01)).fit(Blocks(block), None, seed=0)
    chosen = model.predict_logits(block).argmax(axis=1)
    found = times_gradient(model, block, chosen)
    total = sum(one.by_document() for one in found.values()) + model._arrays()["last.bias"][chosen]
    np.testing.assert_allclose(total, model.predict_logits(block)[np.arange(60), chosen], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("pooling", ["sum", "max"])
def test_gradients_of_elements_are_those_of_finite_differences(pooling: str) -> None:
    block = documents(12)
    model = fitted(DeepSets, pooling=pooling, indices=[], sequences=[])
    chosen = model.predict_logits(block).argmax(axis=1)
    held = model.held(block)["crops/faces"]
    values = times_gradient(model, block, chosen)["crops/faces"].values
    gather = model.gather(block)
    import torch

    batch = {name: torch.from_numpy(array).double() if array.dtype == np.float32 else torch.from_numpy(array)
             for name, array in gather(np.arange(12)).items()}  # fmt: skip
    network, step = model.network.double(), 1e-5
    owners = np.repeat(np.arange(12), held.lengths)
    for number, owner in enumerate(owners):
        scores = []
        for sign in (1, -1):
            moved = {**batch, "crops/faces": batch["crops/faces"].clone()}
            moved["crops/faces"][number] *= 1 + sign * step
            scores.append(float(network(moved)[owner, chosen[owner]].detach()))
        assert values[number] == pytest.approx((scores[0] - scores[1]) / (2 * step), abs=1e-4)


def test_gradients_reach_indices_and_lists_of_them() -> None:
    model, block = fitted(DeepSets, pooling="sum", epochs=5), documents(30)
    found = times_gradient(model, block, model.predict_logits(block).argmax(axis=1))
    assert set(found) == {"embed/image", "crops/faces", "embed/labels", "embed/words"}
    held = model.held(block)
    for name, branch in (("embed/labels", "labels"), ("embed/words", "words"), ("embed/image", "image")):
        np.testing.assert_array_equal(found[name].lengths, held[branch].lengths)
        assert found[name].whole == (branch != "labels")
        assert np.abs(found[name].values).max() > 0


def test_gradients_reach_the_words_of_a_text() -> None:
    block = test_text_cnn.documents(40)
    model = TextCNN(TextCNNConfig.model_validate(test_text_cnn.QUICK)).fit(Blocks(block), None, seed=0)
    (one,) = times_gradient(model, block, model.predict_logits(block).argmax(axis=1)).values()
    assert one.values.shape == (40,)
    assert (one.values != 0).mean() > 0.9


def test_other_classifiers_have_no_gradients() -> None:
    block = two_vectors()
    model = GMU(GMU.Config(dim=4, epochs=1, lr=0.01)).fit(Blocks(block), None, seed=0)
    assert times_gradient(model, block, np.zeros(60, np.int64)) == {}
