"""The metrics against scikit-learn, and the law that tallies add."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest
from sklearn import metrics as sk
from sklearn.preprocessing import MultiLabelBinarizer

from fuseline.models.metrics.registry import scores
from fuseline.models.metrics.scores import NOTHING, Tally, class_scores, f1_interval, share_interval, tally

LABELS = ["ant", "bee", "cat", "dog", "eel"]
STRINGS = pa.list_(pa.string())
SETS = st.lists(st.sampled_from(LABELS), unique=True, max_size=3)
ROWS = st.lists(
    st.tuples(SETS.filter(bool), SETS, st.sampled_from([*LABELS, None]), st.integers(1, 8)), min_size=1, max_size=30
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
        np.mean([b in t or r <= 5 for b, t, r in zip(best, truth, rank, strict=True)])
    )
    assert found["no_input"] == best.count(None)
    assert found["log_loss"] == pytest.approx(np.mean([0.5 * value for value in rank]))


@given(st.lists(st.tuples(st.sampled_from(LABELS), st.sampled_from(LABELS)), min_size=1, max_size=40))
def test_single_label_scores_are_those_of_scikit_learn(pairs):
    pairs = [*pairs, ("ant", "bee")]  # scikit-learn warns about a single class
    truth, guess = zip(*pairs, strict=True)
    counts = count([([t], [g], g, 1 if t == g else 9) for t, g in pairs])
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
        names, names, best=pa.array(["a", "a", "b"]), rank=pa.array([1, 2, 1], pa.int32()), loss=pa.array(loss)
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
        rank=pa.array([None, 1], pa.int32()),
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
    counts = count([(["ant", "bee"], ["bee"], "bee", 1), (["ant", "bee"], ["cat"], "cat", 6)])
    assert scores(counts, multi_label=False)["accuracy"] == (0.5, 2)
    assert counts.confusion == {("bee", "bee"): 1, ("ant", "cat"): 1}


def test_a_label_that_comes_twice_counts_once():
    assert count([(["ant", "ant"], ["ant", "ant", "bee"], "ant", 1)]) == count([(["ant"], ["ant", "bee"], "ant", 1)])
    apart = (["ant", "bee", "ant"], ["bee", "ant", "bee"], "ant", 1)
    assert count([apart]) == count([(["ant", "bee"], ["ant", "bee"], "ant", 1)])


@pytest.mark.parametrize("others", [[], [(["ant"], ["ant"], "ant", 1)]])
def test_an_unlabelled_document_is_refused(others):
    with pytest.raises(ValueError, match="leave unlabelled documents out"):
        count([*others, ([], ["ant"], "ant", 1)])


def test_no_documents_have_no_scores():
    empty = {
        "best": pa.array([], pa.string()),
        "rank": pa.array([], pa.int32()),
        "loss": pa.array([], pa.float32()),
    }
    assert scores(tally(pa.array([], STRINGS), pa.array([], STRINGS), **empty), multi_label=False) == {}


@pytest.mark.parametrize(("right", "n"), [(70, 100), (3, 3), (0, 3), (1, 1), (1, 2), (49_999, 70_000)])
def test_the_interval_of_a_share_is_that_of_scipy(right, n):
    expected = binomtest(right, n).proportion_ci(method="wilson")
    found = share_interval(right / n, n)
    assert found == pytest.approx((expected.low, expected.high), abs=1e-12)
    assert 0 <= found.low < found.high <= 1
    assert found.low - 1e-12 <= right / n <= found.high + 1e-12


def test_no_documents_have_no_interval():
    with pytest.raises(ValueError, match="at least 1 document"):
        share_interval(0, 0)


def test_the_interval_of_the_micro_f1_is_that_of_drawing_documents():
    rng = np.random.default_rng(3)
    truth = [sorted(rng.choice(LABELS, 2, replace=False)) for _ in range(400)]
    guess = [t[: rng.integers(0, 3)] if rng.random() < 0.7 else ["eel", "ant"] for t in truth]
    rows = [(t, g, g[0] if g else None, 1) for t, g in zip(truth, guess, strict=True)]
    found = f1_interval(count(rows))
    hits = np.array([len({*t} & {*g}) for t, g in zip(truth, guess, strict=True)])
    sizes = np.array([len(t) + len(g) for t, g in zip(truth, guess, strict=True)])
    drawn = rng.integers(0, 400, size=(4000, 400))
    expected = np.quantile(2 * hits[drawn].sum(axis=1) / sizes[drawn].sum(axis=1), [0.025, 0.975])
    np.testing.assert_allclose(found, expected, atol=0.006)
    alike = [(["ant", "bee"], ["ant"], "ant", 1)] * 3
    assert f1_interval(count(alike)) == share_interval(2 / 3, 3)
    assert f1_interval(count([(["ant"], ["ant"], "ant", 1)] * 3)) == share_interval(1, 3)
    assert f1_interval(count([(["ant"], [], None, 1)] * 3)) == share_interval(0, 3)
