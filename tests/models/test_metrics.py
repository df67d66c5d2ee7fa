"""The metrics against scikit-learn, and the law that tallies add."""

import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as sk
from sklearn.preprocessing import MultiLabelBinarizer

from models.metrics import NOTHING, Tally, bootstrap, class_scores, scores, tally

LABELS = ["ant", "bee", "cat", "dog", "eel"]
STRINGS = pa.list_(pa.string())
SETS = st.lists(st.sampled_from(LABELS), unique=True, max_size=3)
ROWS = st.lists(
    st.tuples(SETS.filter(bool), SETS, st.sampled_from([*LABELS, None]), st.integers(0, 7)), min_size=1, max_size=30
)


def arrays(rows):
    """Return the arguments of `tally` for rows of (truth, predicted, best, rank)."""
    truth, predicted, best, rank = zip(*rows, strict=True)
    return {
        "truth": pa.array(truth, STRINGS),
        "predicted": pa.array(predicted, STRINGS),
        "best": pa.array(best, pa.string()),
        "rank": pa.array(rank, pa.int32()),
        "loss": pa.array([0.5 * value for value in rank], pa.float32()),
    }


def count(rows) -> Tally:
    columns = arrays(rows)
    return tally(columns.pop("truth"), columns.pop("predicted"), **columns)


@given(ROWS)
def test_multi_label_scores_are_those_of_scikit_learn(rows):
    rows = [*rows, (["ant"], ["bee"], "bee", 6)]  # scikit-learn wants at least two columns
    truth, guess, best, rank = zip(*rows, strict=True)
    found = {name: value for name, (value, _) in scores(count(rows), multi_label=True).items()}
    seen = sorted({label for labels in (*truth, *guess) for label in labels})
    binarizer = MultiLabelBinarizer(classes=seen)
    true, predicted = binarizer.fit_transform(truth), binarizer.transform(guess)
    for average in ("micro", "macro", "weighted", "samples"):
        expected = sk.f1_score(true, predicted, average=average, zero_division=0)
        assert found[f"f1_{average}"] == pytest.approx(expected), average
    assert found["accuracy"] == pytest.approx(sk.accuracy_score(true, predicted))
    assert found["p_at_1"] == pytest.approx(np.mean([b in t for b, t in zip(best, truth, strict=True)]))
    assert found["top_5"] == pytest.approx(
        np.mean([b in t or r < 5 for b, t, r in zip(best, truth, rank, strict=True)])
    )
    assert found["no_input"] == best.count(None)
    assert found["log_loss"] == pytest.approx(np.mean([0.5 * value for value in rank]))


@given(st.lists(st.tuples(st.sampled_from(LABELS), st.sampled_from(LABELS)), min_size=1, max_size=40))
def test_single_label_scores_are_those_of_scikit_learn(pairs):
    pairs = [*pairs, ("ant", "bee")]  # scikit-learn warns about a single class
    truth, guess = zip(*pairs, strict=True)
    counts = count([([t], [g], g, 0 if t == g else 9) for t, g in pairs])
    found = {name: value for name, (value, _) in scores(counts, multi_label=False).items()}
    for average in ("micro", "macro", "weighted"):
        expected = sk.f1_score(truth, guess, average=average, zero_division=0)
        assert found[f"f1_{average}"] == pytest.approx(expected), average
    assert found["accuracy"] == found["p_at_1"] == found["f1_samples"] == pytest.approx(sk.accuracy_score(truth, guess))
    seen = sorted({*truth, *guess})
    matrix = [[counts.confusion[t, g] for g in seen] for t in seen]
    assert matrix == sk.confusion_matrix(truth, guess, labels=seen).tolist()
    precision, recall, f1, support = sk.precision_recall_fscore_support(truth, guess, labels=seen, zero_division=0)
    rows = class_scores(counts)
    assert [row.label for row in rows] == seen
    np.testing.assert_allclose([row.precision for row in rows], precision)
    np.testing.assert_allclose([row.recall for row in rows], recall)
    np.testing.assert_allclose([row.f1 for row in rows], f1)
    assert [row.support for row in rows] == support.tolist()


@given(ROWS, st.integers(0, 30))
def test_tallies_of_parts_add_to_the_tally_of_all(rows, cut):
    parts = [part for part in (rows[:cut], rows[cut:]) if part]
    total = sum((count(part) for part in parts), Tally())
    whole = count(rows)
    assert total.f1 == pytest.approx(whole.f1)
    assert (total.n, total.first, total.fifth, total.exact) == (whole.n, whole.first, whole.fifth, whole.exact)
    assert (total.true, total.predicted, total.hit) == (whole.true, whole.predicted, whole.hit)
    assert total.confusion == whole.confusion


def test_log_loss_is_that_of_scikit_learn_from_probabilities():
    probabilities = np.array([[0.7, 0.2, 0.1], [0.3, 0.3, 0.4], [0.05, 0.9, 0.05]])
    truth = [0, 0, 1]
    loss = -np.log(probabilities[np.arange(3), truth])
    names = pa.array([["a"], ["a"], ["b"]], STRINGS)
    counts = tally(
        names, names, best=pa.array(["a", "a", "b"]), rank=pa.array([0, 1, 0], pa.int32()), loss=pa.array(loss)
    )
    assert scores(counts, multi_label=False)["log_loss"] == (
        pytest.approx(sk.log_loss(truth, probabilities, labels=[0, 1, 2])),
        3,
    )


def test_a_label_unseen_in_training_is_wrong_counted_and_out_of_the_loss():
    counts = tally(
        pa.array([["new"], ["ant"]], STRINGS),
        pa.array([["ant"], ["ant"]], STRINGS),
        best=pa.array(["ant", "ant"]),
        rank=pa.array([None, 0], pa.int32()),
        loss=pa.array([None, 0.25], pa.float32()),
    )
    found = scores(counts, multi_label=False)
    assert found["accuracy"] == (0.5, 2)
    assert found["unknown_label"] == (1.0, 2)
    assert found["log_loss"] == (0.25, 1)
    assert found["top_5"] == (0.5, 2)


def test_no_input_is_wrong_and_not_an_unknown_label():
    counts = tally(
        pa.array([["ant"]], STRINGS),
        pa.array([[]], STRINGS),
        best=pa.array([None], pa.string()),
        rank=pa.array([None], pa.int32()),
        loss=pa.array([None], pa.float32()),
    )
    found = scores(counts, multi_label=False)
    assert (found["accuracy"], found["no_input"], found["unknown_label"]) == ((0.0, 1), (1.0, 1), (0.0, 1))
    assert "log_loss" not in found
    assert counts.confusion == {("ant", NOTHING): 1}


def test_a_document_with_several_labels_is_right_when_the_best_is_one_of_them():
    counts = count([(["ant", "bee"], ["bee"], "bee", 0), (["ant", "bee"], ["cat"], "cat", 6)])
    assert scores(counts, multi_label=False)["accuracy"] == (0.5, 2)
    assert counts.confusion == {("bee", "bee"): 1, ("ant", "cat"): 1}


def test_an_unlabelled_document_is_refused():
    with pytest.raises(ValueError, match="leave unlabelled documents out"):
        count([([], ["ant"], "ant", 0)])


def test_no_documents_have_no_scores():
    empty = {
        "best": pa.array([], pa.string()),
        "rank": pa.array([], pa.int32()),
        "loss": pa.array([], pa.float32()),
    }
    assert scores(tally(pa.array([], STRINGS), pa.array([], STRINGS), **empty), multi_label=False) == {}


def test_the_bootstrap_interval_is_that_of_drawing_documents():
    right, n = 70, 100
    outcomes = np.repeat([1, 0], [right, n - right])
    rng = np.random.default_rng(5)
    means = outcomes[rng.integers(0, n, size=(20_000, n))].mean(axis=1)
    low, high = bootstrap(right, n, rng=np.random.default_rng(1), draws=20_000)
    np.testing.assert_allclose([low, high], np.quantile(means, [0.025, 0.975]), atol=0.011)
    deviation = 1.96 * math.sqrt(0.7 * 0.3 / n)
    np.testing.assert_allclose([low, high], [0.7 - deviation, 0.7 + deviation], atol=0.011)


def test_the_bootstrap_repeats_with_its_seed_and_refuses_nothing():
    first, second = (bootstrap(3, 9, rng=np.random.default_rng(7)) for _ in range(2))
    assert first == second
    assert bootstrap(9, 9, rng=np.random.default_rng(0)) == (1.0, 1.0)
    with pytest.raises(ValueError, match="at least 1 document"):
        bootstrap(0, 0, rng=np.random.default_rng(0))
