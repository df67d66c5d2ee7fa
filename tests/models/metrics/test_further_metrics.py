"""Hits at k, calibration and kappa: against scikit-learn, and what they are where it has no answer."""

import math

import numpy as np
import pyarrow as pa
import pytest
from sklearn import metrics as sk
from sklearn.calibration import calibration_curve

from fuseline.models.metrics.calibration import BINS
from fuseline.models.metrics.registry import Documents, counted, scores
from fuseline.models.metrics.scores import Tally

STRINGS = pa.list_(pa.string())


def counts_of(truth, probabilities, names, *, parts=1) -> Tally:
    """Count documents with own labels (n lists of names) and probabilities (n, C), in some parts that add."""
    total, C = Tally(), len(names)
    for rows in np.array_split(np.arange(len(truth)), parts):
        order = np.argsort(-probabilities[rows], axis=1, kind="stable")
        own = [truth[row] for row in rows]
        known = [[names.index(label) for label in labels if label in names] for labels in own]
        rank = [min((list(o).index(c) + 1 for c in k), default=None) for o, k in zip(order, known, strict=True)]
        best = [names[o[0]] for o in order]
        total += counted(
            Documents(
                pa.array(own, STRINGS), pa.array([[b] for b in best], STRINGS), pa.array(best, pa.string()),
                pa.array(probabilities[rows].max(axis=1), pa.float32()), pa.array(rank, pa.int32()),
                pa.array([0.5] * len(rows), pa.float32()),
                pa.array(list(probabilities[rows]), pa.list_(pa.float32(), C)),
                pa.array(known, pa.list_(pa.int32())),
            )
        )  # fmt: skip
    return total


def made_up(n, C, *, several=False):
    rng = np.random.default_rng(n)
    probabilities = rng.dirichlet(np.ones(C), n).astype(np.float32)
    names = [str(2 * c) for c in range(C)]
    size = rng.integers(1, 4 if several else 2, n)
    return [[names[c] for c in rng.choice(C, k, replace=False)] for k in size], probabilities, names


def found(tally, *, multi_label=False):
    return {name: value for name, (value, _) in scores(tally, multi_label=multi_label).items()}


@pytest.mark.parametrize("parts", [1, 4])
def test_hits_are_the_top_k_accuracy_of_scikit_learn(parts):
    truth, probabilities, names = made_up(120, 14)
    values = found(counts_of(truth, probabilities, names, parts=parts))
    numbers = [names.index(label) for (label,) in truth]
    for k in (3, 10):
        expected = sk.top_k_accuracy_score(numbers, probabilities, k=k, labels=range(14))
        assert values[f"hit_at_{k}"] == pytest.approx(expected)
    assert values["p_at_1"] <= values["hit_at_3"] <= values["top_5"] <= values["hit_at_10"]


def test_any_own_label_among_the_first_k_is_a_hit():
    truth, probabilities, names = made_up(90, 14, several=True)
    order = np.argsort(-probabilities, axis=1)
    values = found(counts_of(truth, probabilities, names), multi_label=True)
    for k in (3, 10):
        first = [{names[c] for c in row[:k]} for row in order]
        hits = [bool(some & {*own}) for some, own in zip(first, truth, strict=True)]
        assert values[f"hit_at_{k}"] == pytest.approx(np.mean(hits))


def test_a_label_that_is_unknown_is_no_hit():
    truth, probabilities, names = made_up(4, 5)
    values = found(counts_of([["yak"], *truth[1:]], probabilities, names))
    assert values["hit_at_10"] == pytest.approx(3 / 4)


@pytest.mark.parametrize("parts", [1, 5])
def test_calibration_error_is_that_of_the_bins_of_scikit_learn(parts):
    truth, probabilities, names = made_up(400, 3)
    tally = counts_of(truth, probabilities, names, parts=parts)
    top = probabilities.max(axis=1).astype(np.float64)
    right = np.array([names[p.argmax()] == t for p, (t,) in zip(probabilities, truth, strict=True)])
    share, mean = calibration_curve(right, top, n_bins=BINS)
    sizes = np.bincount(np.searchsorted(np.linspace(0, 1, BINS + 1)[1:-1], top), minlength=BINS)
    assert found(tally)["ece"] == pytest.approx((np.abs(share - mean) * sizes[sizes > 0]).sum() / 400)
    assert scores(tally, multi_label=False)["ece"][1] == 400


def test_who_is_as_often_right_as_it_says_has_no_calibration_error():
    probabilities = np.tile(np.array([[0.75, 0.25]], np.float32), (4, 1))
    tally = counts_of([["a"], ["a"], ["a"], ["b"]], probabilities, ["a", "b"])
    assert found(tally)["ece"] == pytest.approx(0)
    sure = np.tile(np.array([[1.0, 0.0]], np.float32), (4, 1))
    assert found(counts_of([["b"]] * 4, sure, ["a", "b"]))["ece"] == 1


@pytest.mark.parametrize("parts", [1, 3])
def test_kappa_is_that_of_scikit_learn(parts):
    truth, probabilities, names = made_up(150, 12)
    best = [int(names[p.argmax()]) for p in probabilities]
    tally = counts_of(truth, probabilities, names, parts=parts)
    expected = sk.cohen_kappa_score([int(label) for (label,) in truth], best, weights="quadratic")
    assert found(tally)["quadratic_kappa"] == pytest.approx(expected)


def test_classes_are_ordered_as_numbers():
    names = ["1", "2", "10"]
    probabilities = np.eye(3, dtype=np.float32)[[0, 2, 1, 0]]
    tally = counts_of([["1"], ["10"], ["10"], ["2"]], probabilities, names)
    expected = sk.cohen_kappa_score([1, 10, 10, 2], [1, 10, 2, 1], weights="quadratic")
    assert found(tally)["quadratic_kappa"] == pytest.approx(expected)


def test_classes_without_an_order_have_no_kappa():
    tally = counts_of([["a"], ["b"]], np.eye(2, dtype=np.float32), ["a", "b"])
    assert "quadratic_kappa" not in found(tally)
    tally = counts_of([["1"], ["nan"]], np.eye(2, dtype=np.float32), ["1", "nan"])
    assert "quadratic_kappa" not in found(tally)


@pytest.mark.parametrize("several", [False, True])
def test_one_document_and_equal_scores_have_finite_scores(several):
    for n in (1, 7):
        even = np.full((n, 4), 0.25, np.float32)
        values = found(counts_of([["0"]] * n, even, ["0", "2", "4", "6"]), multi_label=several)
        assert all(math.isfinite(value) for value in values.values())
        assert (values["quadratic_kappa"], values["ece"]) == (0, pytest.approx(0.75))
        assert values["hit_at_3"] == 1


def test_documents_without_input_have_no_calibration_nor_kappa():
    documents = Documents(
        pa.array([["1"]] * 2, STRINGS), pa.array([[]] * 2, STRINGS), *(pa.nulls(2, kind) for kind in (
            pa.string(), pa.float32(), pa.int32(), pa.float32(), pa.list_(pa.float32(), 3), pa.list_(pa.int32()),
        ))
    )  # fmt: skip
    values = scores(counted(documents), multi_label=False)
    assert "ece" not in values
    assert "quadratic_kappa" not in values
    assert "auc" not in values
    assert values["hit_at_3"] == (0, 2)


def areas(truth, probabilities, names):
    """Return the mean area of the classes that some documents have and some have not, by scikit-learn."""
    true = np.array([[name in own for name in names] for own in truth])
    defined = [c for c in range(len(names)) if 0 < true[:, c].sum() < len(truth)]
    return np.mean([sk.roc_auc_score(true[:, c], probabilities[:, c]) for c in defined])


@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize("parts", [1, 7])
def test_auc_is_that_of_scikit_learn_to_the_last_digit(several, parts):
    truth, probabilities, names = made_up(200, 6, several=several)
    probabilities = np.round(probabilities, 2)  # ties
    tally = counts_of(truth, probabilities, names, parts=parts)
    found = scores(tally, multi_label=several)["auc"]
    assert found == (pytest.approx(areas(truth, probabilities, names), abs=1e-12), 200)
    if not several:
        numbers = [names.index(label) for (label,) in truth]
        # One class against the rest needs no probabilities that add up to 1, scikit-learn's check does.
        even = probabilities / probabilities.sum(axis=1, keepdims=True)
        expected = sk.roc_auc_score(numbers, even, multi_class="ovr", average="macro")
        assert scores(counts_of(truth, even, names), multi_label=False)["auc"][0] == pytest.approx(expected, abs=1e-6)


def test_classes_without_positives_or_without_negatives_have_no_area():
    truth, probabilities, names = made_up(60, 5)
    truth = [own if own != ["8"] else ["0"] for own in truth]
    assert found(counts_of(truth, probabilities, names))["auc"] == pytest.approx(areas(truth, probabilities, names))
    assert "auc" not in found(counts_of([["0"]] * 3, probabilities[:3], names))
    both = [["0", own[0]] if own != ["0"] else own for own in truth]  # every document has "0"
    assert found(counts_of(both, probabilities, names))["auc"] == pytest.approx(areas(both, probabilities, names))


def test_equal_scores_have_half_the_area():
    even = np.full((6, 2), 0.5, np.float32)
    assert found(counts_of([["0"], ["2"]] * 3, even, ["0", "2"]))["auc"] == 0.5


def test_a_label_that_is_unknown_is_a_negative_of_every_class():
    probabilities = np.array([[0.9, 0.1], [0.2, 0.8], [0.95, 0.05]], np.float32)
    assert found(counts_of([["0"], ["2"], ["yak"]], probabilities, ["0", "2"]))["auc"] == pytest.approx(0.75)


def test_many_scores_are_rounded_as_little_as_memory_wants_whatever_the_order(monkeypatch):
    truth, probabilities, names = made_up(300, 4)
    exact = found(counts_of(truth, probabilities, names, parts=5))["auc"]
    monkeypatch.setattr("fuseline.models.metrics.ranking.LIMIT", 500)
    values = []
    for order in (np.arange(300), np.arange(300)[::-1]):
        for parts in (1, 3, 12):
            tally = counts_of([truth[i] for i in order], probabilities[order], names, parts=parts)
            assert len(tally.sums["auc"].keys) <= 500 or parts == 1
            values.append(found(tally)["auc"])
    assert len({*values}) == 1
    assert values[0] == pytest.approx(exact, abs=0.01)
    assert values[0] != exact
