"""Weighted means of models: weights of the highest likelihood, and greedy selection with replacement."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from fuseline.models.classifiers.decision import DecisionConfig, FixedMean
from fuseline.models.classifiers.weighing import AvgWeighted, Ensemble, Votes, Weighing, quality, selected
from fuseline.models.columns import Logits
from fuseline.models.features import Block, logits_name
from fuseline.models.metrics.thresholds import CANDIDATES
from tests.models.synthetic import Blocks

C = 5
LABELS = tuple(f"c{c}" for c in range(C))


def documents(
    n: int = 500, *, seed: int = 0, strengths: tuple[float, ...] = (2.0, 2.0, 0.0), several: bool = False
) -> Block:
    """Models of independent errors, each as good as its strength says; 0 is noise that is sure of itself."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, C, n)
    columns = {}
    for j, strength in enumerate(strengths):
        logits = rng.normal(size=(n, C)) * (1 if strength else 3) + strength * np.eye(C)[y]
        columns[logits_name(f"m{j}")] = Logits(
            logits.astype(np.float32), np.ones(n, np.bool_), LABELS, "sigmoid" if several else "softmax"
        )
    labels = [[LABELS[c], LABELS[(c + 1) % C]] if several and c == 0 else [LABELS[c]] for c in y]
    return Block(pa.array([f"d{seed}-{i}" for i in range(n)]), pa.array(labels, pa.list_(pa.string())), columns)


def fit(kind: type[Weighing], train: Block, valid: Block | None, **options: Any) -> Weighing:
    config = kind.Config.model_validate({"models": [f"m{j}" for j in range(len(train.columns))], **options})
    return kind(config).fit(Blocks(train, 150), None if valid is None else Blocks(valid, 90), seed=0)


def right(logits: Any, block: Block) -> float:
    best = np.array(LABELS)[logits.argmax(axis=1)]
    return float(np.mean([label in own for label, own in zip(best, block.labels.to_pylist(), strict=True)]))


@pytest.mark.parametrize("kind", [AvgWeighted, Ensemble])
@pytest.mark.parametrize("several", [False, True])
def test_good_models_share_the_weight_and_noise_has_none(kind: type[Weighing], several: bool) -> None:
    train, valid, test = (documents(n, seed=s, several=several) for s, n in enumerate((500, 300, 600)))
    model = fit(kind, train, valid)
    assert model.multi_label is several
    assert model.weights.sum() == pytest.approx(1)
    assert model.weights[2] < 0.05
    assert (model.weights[:2] > 0.3).all()
    equal = FixedMean(DecisionConfig(models=("m0", "m1", "m2"))).fit(Blocks(train), Blocks(valid), seed=0)
    singles = [right(test.columns[logits_name(name)].values, test) for name in ("m0", "m1")]  # type: ignore[attr-defined]
    assert right(model.predict_logits(test), test) > max(*singles, right(equal.predict_logits(test), test))


def test_the_likelihood_is_the_highest_of_all_weights() -> None:
    train = documents(400, strengths=(2.0, 1.0))
    model = fit(AvgWeighted, train, train)
    p = [np.exp(one.values) / np.exp(one.values).sum(axis=1, keepdims=True) for one in train.columns.values()]  # type: ignore[attr-defined]
    y = [LABELS.index(own[0]) for own in train.labels.to_pylist()]
    own = [part[np.arange(400), y] for part in p]
    losses = {w: -np.log(w * own[0] + (1 - w) * own[1]).mean() for w in np.linspace(0, 1, 1001)}
    assert model.weights[0] == pytest.approx(min(losses, key=losses.__getitem__), abs=5e-3)


def test_selection_by_hand() -> None:
    # Three documents of class 0, 1, 1. Model 0 is right on the first two, model 1 on the last two, model 2 on none.
    scores = np.array([
        [[0.9, 0.1], [0.4, 0.6], [0.55, 0.45]],
        [[0.6, 0.4], [0.4, 0.6], [0.2, 0.8]],
        [[0.1, 0.9], [0.9, 0.1], [0.9, 0.1]],
    ], np.float32)  # fmt: skip
    truth = np.array([[True, False], [False, True], [False, True]])
    votes, every = Votes(scores, np.ones((3, 3), np.bool_), truth), np.arange(3)
    assert selected(votes, every, start=1, rounds=1, metric="p_at_1") == [1]  # it is right everywhere
    assert selected(votes, every, start=1, rounds=4, metric="log_loss") == [1, 1, 1, 0]  # 0.675 * 0.7125 > 0.6 * 0.8
    assert selected(votes, every, start=3, rounds=3, metric="log_loss") == [1, 0, 2]
    assert selected(votes, np.array([2]), start=1, rounds=2, metric="p_at_1") == [2, 2]


@pytest.mark.parametrize("kind", [AvgWeighted, Ensemble])
def test_a_model_that_is_sure_of_every_class_gains_nothing_by_that(kind: type[Weighing]) -> None:
    """Where labels exclude one another, odds count: a network that tells each class alone may be sure of them all."""
    plain = [documents(n, seed=s, strengths=(1.0, 2.0)) for s, n in enumerate((400, 300))]
    for half in plain:
        for name, shift in (("m0", 4.0), ("m1", 0.0)):
            column = half.columns[logits_name(name)]
            assert isinstance(column, Logits)
            half.columns[logits_name(name)] = Logits(column.values + shift, column.present, LABELS, "sigmoid")
    model = fit(kind, *plain)
    assert not model.multi_label
    assert model.weights[1] > model.weights[0]
    np.testing.assert_allclose(np.exp(model.predict_logits(plain[1])).sum(axis=1), 1, rtol=1e-5)


def test_of_classes_that_are_told_alone_those_that_are_none_count_too() -> None:
    """Mean of log .9 + log .8 and log .6 + log .7, by hand."""
    scores = np.array([[[0.9, 0.2], [0.4, 0.7]]], np.float32)
    truth = np.array([[True, False], [False, True]])
    votes = Votes(scores, np.ones((1, 2), np.bool_), truth, alone=True)
    expected = np.log([0.9 * 0.8, 0.6 * 0.7]).mean()
    assert quality(votes, np.ones(1), "log_loss") == (pytest.approx(expected, rel=1e-5), 1.0)


@pytest.mark.parametrize("kind", [AvgWeighted, Ensemble])
def test_each_half_is_scored_for_the_threshold_by_weights_of_the_other(kind: type[Weighing]) -> None:
    halves = [documents(n, seed=s, strengths=(2.0, 0.5), several=True) for s, n in enumerate((80, 60))]
    model, other = fit(kind, *halves), fit(kind, *halves[::-1])
    parts = [(model, halves[1]), (other, halves[0])]
    p = np.concatenate([np.exp(one.predict_logits(half)) for one, half in parts])
    truth = np.array([[name in own for name in LABELS] for _, half in parts for own in half.labels.to_pylist()])

    def f1(threshold: float) -> float:
        return float(2 * (truth & (p >= threshold)).sum() / ((p >= threshold).sum() + truth.sum()))

    assert f1(model.threshold) == pytest.approx(max(map(f1, CANDIDATES)), abs=1e-6)
    assert model.threshold == other.threshold == max(c for c in CANDIDATES if f1(c) == f1(model.threshold))


def test_bags_choose_among_some_of_the_models_and_a_model_without_input_is_left_out() -> None:
    train, valid = documents(), documents(300, seed=1)
    model = fit(Ensemble, train, valid, bags=8, bag_share=0.34, rounds=4)
    assert {len(set(names)) for names in model.facts["added"]} == {1}  # type: ignore[union-attr]
    alone = fit(Ensemble, train, valid)
    block = documents(50, seed=2)
    masked = block.masked(frozenset({logits_name("m0"), logits_name("m1")}))
    noise = block.columns[logits_name("m2")].values  # type: ignore[attr-defined]
    p = np.exp(noise) / np.exp(noise).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(np.exp(alone.predict_logits(masked)), p, rtol=1e-4)


@pytest.mark.parametrize("kind", [AvgWeighted, Ensemble])
def test_valid_that_was_not_cut_and_equal_logits(kind: type[Weighing]) -> None:
    train = documents(200)
    with pytest.raises(ValueError, match="valid: expected labelled documents in both of its halves, got none in one"):
        fit(kind, train, None)
    flat = Logits(np.zeros((200, C), np.float32), np.ones(200, np.bool_), LABELS)
    same = Block(train.ids, train.labels, dict.fromkeys(train.columns, flat))
    np.testing.assert_allclose(np.exp(fit(kind, same, same).predict_logits(same)), 1 / C, rtol=1e-5)
