"""The policy: what it learns to choose, what it looks at, and what it does without a choice."""

from itertools import product
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from fuseline.models.classifiers.policy import NEVER, Policy, PolicyConfig, best_threshold, entropy, highest
from fuseline.models.columns import Dense, Logits
from fuseline.models.features import Block, embedding_name, logits_name
from tests.models.synthetic import Blocks

C = 4
LABELS = tuple(f"c{c}" for c in range(C))
CALM: dict[str, Any] = {"epochs": 12, "lr": 0.05, "batch": 32, "steps": 1}


def documents(n: int = 400, *, models: int = 2, seed: int = 0, absent: float = 0.0) -> Block:
    """Model j is right, and sure, on the documents of number j modulo `models`; elsewhere it guesses, unsure.

    The embedding `image` says which one is right.
    """
    rng = np.random.default_rng(seed)
    y, who = rng.integers(0, C, n), rng.integers(0, models, n)
    columns: dict[str, Any] = {}
    for j in range(models):
        sure = who == j
        logits = rng.normal(size=(n, C)) * 0.3
        logits[sure, y[sure]] += 4
        present = rng.random(n) >= absent
        values = np.where(present[:, None], logits, 0).astype(np.float32)
        columns[logits_name(f"m{j}")] = Logits(values, present, LABELS)
    hints = (np.eye(models)[who] + rng.normal(size=(n, models)) * 0.1).astype(np.float32)
    for name in ("image", "text"):
        columns[embedding_name(name)] = Dense(hints, np.ones(n, np.bool_))
    ids = pa.array([f"d{seed}-{i}" for i in range(n)])
    return Block(ids, pa.array([[LABELS[c]] for c in y], pa.list_(pa.string())), columns)


def fit(train: Block, valid: Block | None, **options: Any) -> Policy:
    names = [name for name in ("m0", "m1", "m2") if logits_name(name) in train.columns]
    config = PolicyConfig.model_validate({**CALM, "models": names, **options})
    return Policy(config).fit(Blocks(train, 100), None if valid is None else Blocks(valid, 70), seed=0)


def accuracy(model: Policy, block: Block) -> float:
    best = np.array(model.labels)[model.predict_logits(block).argmax(axis=1)]
    return float(np.mean([label in own for label, own in zip(best, block.labels.to_pylist(), strict=True)]))


@pytest.mark.parametrize(
    ("inputs", "layers"), [*product(("cp1", "cp3", "text", "image", "both"), (1, 2)), ("cp_all", 2)]
)
def test_it_chooses_the_model_that_is_right(inputs: str, layers: int) -> None:
    model, test = fit(documents(), documents(200, seed=1), inputs=inputs, layers=layers), documents(300, seed=2)
    assert accuracy(model, test) > 0.95  # each model alone has about 0.6
    choice = model.choose(test)
    assert 0.3 < (choice.chosen == 1).mean() < 0.7
    assert model.facts["should_decide"]["m1"] > 100
    assert model.facts["tuned"] > 0.95


def test_of_three_models_the_one_that_stands_first_among_those_that_are_right_decides() -> None:
    train, test = documents(600, models=3), documents(300, models=3, seed=2)
    model = fit(train, documents(300, models=3, seed=1))
    assert accuracy(model, test) > 0.9
    assert set(np.unique(model.choose(test).chosen)) == {0, 1, 2}
    same = {**train.columns, logits_name("m2"): train.columns[logits_name("m1")]}
    both = fit(Block(train.ids, train.labels, same), documents(300, models=3, seed=1))
    assert both.facts["should_decide"]["m2"] == 0  # wherever it is right, m1 is right before it


def test_a_high_q_calls_the_other_model_more_often() -> None:
    train, valid, test = documents(seed=3), documents(200, seed=1), documents(300, seed=2)
    weak = {"inputs": "cp1", "above": 0.5, "epochs": 4, "lr": 0.02, "select": None}
    rates = [(fit(train, valid, positive_weight=q, **weak).choose(test).chosen == 1).mean() for q in (0.3, 1.0, 20.0)]
    assert rates[0] < rates[1] < rates[2]


def test_the_first_model_alone_is_looked_at_when_the_others_are_to_be_spared() -> None:
    model, test = fit(documents(), documents(200, seed=1), of="first", entropy=True, margin=True), documents(90, seed=2)
    other = {**test.columns, logits_name("m1"): documents(90, seed=9).columns[logits_name("m1")]}
    changed = Block(test.ids, test.labels, other)
    np.testing.assert_array_equal(model.wishes(test), model.wishes(changed))
    assert accuracy(model, test) > 0.95


def test_a_model_without_input_is_never_chosen() -> None:
    model, test = fit(documents(absent=0.2), documents(200, seed=1, absent=0.2)), documents(300, seed=2, absent=0.5)
    chosen = model.choose(test).chosen
    there = np.stack([test.columns[logits_name(f"m{j}")].present for j in (0, 1)])
    assert there[chosen, np.arange(300)][there.any(axis=0)].all()
    assert (chosen[there[1] & ~there[0]] == 1).all()
    nothing = test.masked(frozenset({logits_name("m0"), logits_name("m1")}))
    assert np.isfinite(model.predict_logits(nothing)).all()


def test_where_the_other_is_never_better_the_first_always_decides() -> None:
    train, valid = documents(), documents(200, seed=1)
    for block in (train, valid):
        block.columns[logits_name("m1")] = block.columns[logits_name("m0")]  # type: ignore[index]
    model = fit(train, valid)
    assert model.above == NEVER
    assert (model.choose(valid).chosen == 0).all()
    assert model.facts["should_decide"] == {"m0": 400, "m1": 0}


def test_equal_logits_everywhere_are_defined() -> None:
    block = documents(120)
    flat = Logits(np.zeros((120, C), np.float32), np.ones(120, np.bool_), LABELS)
    same = Block(block.ids, block.labels, {**block.columns, logits_name("m0"): flat, logits_name("m1"): flat})
    model = fit(same, same, entropy=True, margin=True)
    assert (model.choose(same).chosen == 0).all()
    np.testing.assert_allclose(np.exp(model.predict_logits(same)), 1 / C, rtol=1e-5)


def test_what_cannot_be_learned_from_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="valid: expected labelled documents in both of its halves, got none in one"):
        fit(documents(), None)
    with pytest.raises(ValueError, match="that two models can read, got none; combine models that read the same"):
        fit(documents().masked(frozenset({logits_name("m1")})), documents(50, seed=1))
    block = documents(60)
    one = Block(block.ids, pa.array([["c0"]] * 60), block.columns)
    with pytest.raises(ValueError, match=r"classes: expected at least 2, got \['c0'\]"):
        fit(one, one)
    column = block.columns[logits_name("m1")]
    assert isinstance(column, Logits)
    other = Logits(column.values, column.present, ("c0", "c1", "c2", "x"))
    with pytest.raises(ValueError, match=r"labels of logits/m1: expected .*; combine models that were trained on"):
        fit(Block(block.ids, block.labels, {**block.columns, logits_name("m1"): other}), block)


@pytest.mark.parametrize(
    ("wish", "gains", "above"),
    [
        ([0.9, 0.8, 0.4, 0.2], [1, 1, -1, -1], 0.6),
        ([0.9, 0.8, 0.4, 0.2], [-1, 0, 0, 0], NEVER),
        ([0.9, 0.5, 0.5, 0.2], [1, 1, -1, 1], 0.1),  # equal probabilities go together: 1, 1, 2
        ([0.9, np.inf, -np.inf], [1, 1, 1], 0.45),
        ([np.inf], [1], NEVER),
    ],
)
def test_the_threshold_gains_most_with_the_fewest_calls(wish: list[float], gains: list[int], above: float) -> None:
    assert best_threshold(np.array(wish, np.float32), np.array(gains)) == pytest.approx(above)


def test_numbers_that_a_policy_looks_at_by_hand() -> None:
    p = np.array([[0.5, 0.25, 0.25], [1, 0, 0], [0, 0, 0]], np.float32)
    np.testing.assert_allclose(highest(p, 2), [[0.5, 0.25], [1, 0], [0, 0]])
    np.testing.assert_allclose(highest(p[:, :2], 3), [[0.5, 0.25, 0], [1, 0, 0], [0, 0, 0]])
    np.testing.assert_allclose(entropy(p)[:, 0], [1.5 * np.log(2) / np.log(3), 0, 0], atol=1e-6)
