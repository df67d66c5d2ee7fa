"""Documents that lose an input while a network is trained: who, how often, by which gradient, and what it buys."""

import numpy as np
import pyarrow as pa
import pytest
import torch

from fuseline.models.classifiers.gmu import GMU, GMUConfig
from fuseline.models.config import key_values
from fuseline.models.labels import classes_of
from fuseline.models.training import loop as loops
from fuseline.models.training.dropout import Maskable
from fuseline.models.training.loop import Loop
from fuseline.models.training.tasks import LabelTask
from tests.models.reference import accuracy, fitted, with_text_embedding
from tests.models.synthetic import Blocks, documents
from tests.models.training.linear_family import data, fit

QUICK = {"dim": 16, "epochs": 6, "lr": 0.02, "batch": 50}
NAMES = ("embed/image", "embed/text")
CPU = torch.device("cpu")


def gathers(block):
    """Return what says of each document which inputs it has."""
    columns = np.stack([block.columns[name].present for name in NAMES], axis=1)
    return lambda rows: {"present": columns[rows]}


@pytest.fixture(scope="module")
def block():
    return with_text_embedding(documents(400))


def test_a_document_loses_one_input_and_never_its_last(block):
    inputs, rows = Maskable.of(gathers, block, NAMES), np.random.default_rng(0).permutation(400)[:300]
    had = gathers(block)(rows)["present"]
    torch.manual_seed(0)
    lost = np.zeros(2)
    for _ in range(20):
        seen, places = np.zeros((300, 2), bool), []
        for gather, own in inputs.parts(rows, 0.4):
            seen[own] = gather(rows[own])["present"]
            places.extend(own)
        assert sorted(places) == list(range(300))
        np.testing.assert_array_equal(seen.any(axis=1), had.any(axis=1))
        gone = had & ~seen
        assert not (seen & ~had).any()
        assert (gone.sum(axis=1) <= 1).all()
        assert not gone[had.sum(axis=1) < 2].any()
        lost += gone[had.all(axis=1)].mean(axis=0) / 20
    assert lost == pytest.approx([0.2, 0.2], abs=0.03)  # each input in half of the cases


def test_without_inputs_to_lose_nothing_is_drawn(block):
    state = torch.get_rng_state()
    ((_, places),) = Maskable.of(gathers, block, ()).parts(np.arange(7), 0.0)
    assert places.tolist() == list(range(7))
    assert torch.equal(torch.get_rng_state(), state)


def test_no_chance_is_the_training_that_it_was_and_no_part_of_the_key(block):
    one, other = (fitted("gmu", block, **QUICK, **options) for options in ({}, {"modality_dropout": 0.0}))
    for name, array in one.weights.items():
        np.testing.assert_array_equal(array, other.weights[name])
    assert "modality_dropout" not in key_values(GMUConfig())
    assert key_values(GMUConfig(modality_dropout=0.5))["modality_dropout"] == 0.5


def test_the_gradient_is_that_of_the_masked_documents(block):
    model = GMU(GMUConfig(**QUICK, modality_dropout=0.5))
    classes = classes_of(Blocks(block))
    model._take_labels(classes.names, classes.most)
    model.sizes = {name: block.columns[name].size for name in NAMES}
    torch.manual_seed(0)
    run = Loop(model.config, model, LabelTask(model.config, classes, multi_label=model.multi_label), CPU)
    (group,) = run._groups(Blocks(block))
    rows, truth = np.arange(60), classes.truth(block.labels)
    parts = [loops.Part(gather, rows[own], truth(rows[own])) for gather, own in group.inputs.parts(rows, 0.5)]
    assert len(parts) == 3
    found = float(run.gradient(parts)), [p.grad.clone() for p in run.module.parameters()]
    masked = {name: block.columns[name] for name in NAMES}
    for name, part in zip(NAMES, parts[1:], strict=True):
        present = masked[name].present.copy()
        present[part.rows] = False
        masked[name] = type(masked[name])(masked[name].values, present)
    by_hand = type(block)(block.ids, block.labels, {**block.columns, **masked})
    expected = float(run.gradient([loops.Part(model.gather(by_hand), rows, truth(rows))]))
    assert found[0] == pytest.approx(expected, rel=1e-5)
    for ours, theirs in zip(found[1], run.module.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs.grad)


def test_a_network_learns_to_do_without_an_input(block):
    """Two inputs that say the same: the one that says it louder hides the other, unless it is lost at times."""
    rng = np.random.default_rng(1)
    y = rng.integers(0, 4, 600)
    loud, low = np.eye(4)[y] * 6, np.eye(4)[y] * 0.25
    two = documents(600, seed=5)
    dense = two.columns["embed/image"]
    columns = {
        name: type(dense)((values + rng.normal(size=(600, 4)) * 0.1).astype(np.float32), np.ones(600, bool))
        for name, values in (("embed/image", loud), ("embed/text", low))
    }
    twice = type(two)(two.ids, pa.array([[f"c{c}"] for c in y], pa.list_(pa.string())), columns)
    plain, trained = (
        fitted("gmu", twice, valid=twice, dim=16, epochs=4, lr=0.02, modality_dropout=chance) for chance in (0.0, 0.5)
    )
    without = twice.masked(frozenset({"embed/image"}))
    assert accuracy(trained, without) > accuracy(plain, without)
    assert accuracy(trained, twice) > 0.95


def test_equal_seeds_give_equal_bits_however_the_shards_are_cut(block):
    config = GMUConfig(**QUICK, modality_dropout=0.4)
    one, other = (GMU(config).fit(Blocks(block, rows), None, seed=3) for rows in (400, 90))
    for name, array in one.weights.items():
        np.testing.assert_array_equal(array, other.weights[name])


def test_a_model_with_one_input_is_refused():
    with pytest.raises(ValueError, match=r"modality_dropout: expected 0 for linear_test, which reads 1 input, got 0.5"):
        fit(data(), modality_dropout=0.5)


def test_documents_that_all_lack_a_modality_lose_nothing_more(block):
    bare = block.masked(frozenset({"embed/text"}))
    torch.manual_seed(0)
    parts = list(Maskable.of(gathers, bare, NAMES).parts(np.arange(100), 0.9))
    assert len(parts) == 1


@pytest.mark.parametrize("chance", [-0.1, 1.0, float("nan")])
def test_a_chance_lies_below_one(chance):
    with pytest.raises(ValueError, match="modality_dropout"):
        GMUConfig(modality_dropout=chance)
