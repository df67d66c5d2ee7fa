"""The paired bootstrap: sums by hand, an exact law it must follow, and what it must not depend on."""

import math

import numpy as np
import pytest
from scipy.stats import bootstrap, permutation_test
from sklearn.metrics import f1_score

from fuseline.models.metrics.scores import Outcomes
from fuseline.models.metrics.significance import (
    difference,
    interval,
    mcnemar,
    per_document,
    permutation,
    resampled,
    statistic,
)


def outcomes(first, true, predicted, hit):
    return Outcomes(np.array(first, bool), *(np.array(column, np.int64) for column in (true, predicted, hit)))


FOUND = outcomes([1, 0, 1, 1], [1, 2, 3, 1], [1, 1, 3, 2], [1, 0, 3, 1])


@pytest.mark.parametrize(
    ("metric", "multi_label", "value"),
    [
        ("p_at_1", True, 3 / 4),
        ("accuracy", False, 3 / 4),
        ("accuracy", True, 2 / 4),
        ("f1_samples", True, (1 + 0 + 1 + 2 / 3) / 4),
        ("f1_micro", True, 2 * 5 / (7 + 7)),
    ],
)
def test_a_metric_is_a_function_of_sums_over_documents(metric, multi_label, value):
    sums = per_document(metric, FOUND, multi_label=multi_label).sum(axis=0)
    assert statistic(metric, sums) == pytest.approx(value)


def test_micro_f1_is_that_of_scikit_learn():
    rng = np.random.default_rng(1)
    truth, guess = rng.random((50, 6)) < 0.3, rng.random((50, 6)) < 0.4
    found = outcomes(truth[:, 0], truth.sum(1), guess.sum(1), (truth & guess).sum(1))
    sums = per_document("f1_micro", found, multi_label=True).sum(axis=0)
    assert statistic("f1_micro", sums) == pytest.approx(f1_score(truth, guess, average="micro"))


def test_nothing_predicted_has_micro_f1_zero():
    assert statistic("f1_micro", np.zeros((3, 4))).tolist() == [0, 0, 0]


def test_a_metric_that_is_no_sum_is_refused():
    with pytest.raises(ValueError, match=r"metric: expected one of .*got 'f1_macro'"):
        per_document("f1_macro", FOUND, multi_label=True)


def test_draws_take_the_same_documents_for_all_and_do_not_depend_on_the_block_size(monkeypatch):
    values = np.random.default_rng(0).random((30, 2))
    a, b = resampled([values, 2 * values], rng=np.random.default_rng(5), draws=40)
    assert a.shape == (40, 2)
    assert np.allclose(2 * a, b)
    monkeypatch.setattr("fuseline.models.metrics.significance.CELLS", 70)  # two draws at a time
    (again,) = resampled([values], rng=np.random.default_rng(5), draws=40)
    assert np.allclose(again, a)
    ones, _ = resampled([np.ones((30, 1)), values], rng=np.random.default_rng(5), draws=40)
    assert (ones == 30).all()  # as many documents as there are


def test_the_draws_of_a_share_follow_the_binomial_law():
    """Each draw of 200 documents of which 30 % are right is Binomial(200, 0.3) / 200."""
    right = (np.arange(200) < 60)[:, None] / 200
    (draws,) = resampled([right], rng=np.random.default_rng(2), draws=4000)
    assert draws.mean() == pytest.approx(0.3, abs=0.002)
    assert draws.std() == pytest.approx(np.sqrt(0.3 * 0.7 / 200), rel=0.05)


def test_a_difference_by_hand():
    draws = np.linspace(-0.01, 0.09, 101)  # 11 of 101 are not above 0
    found = difference(0.54, 0.5, draws, np.zeros(101))
    assert (found.value, found.low, found.high) == (pytest.approx(0.04), pytest.approx(-0.0075), pytest.approx(0.0875))
    assert found.p == pytest.approx(2 * (11 + 1) / 102)
    assert difference(0.5, 0.5, draws * 0, draws * 0).p == 1
    swapped = difference(0.5, 0.54, np.zeros(101), draws)
    assert swapped[:3] == pytest.approx((-found.value, -found.high, -found.low))
    assert swapped.p == found.p


def test_p_is_small_only_for_true_differences():
    """Of 200 pairs of equally good models about one in twenty is called different."""
    rng = np.random.default_rng(3)
    called = 0
    for _ in range(200):
        a, b = (rng.random((2, 300)) < 0.7)[:, :, None] / 300
        a_draws, b_draws = resampled([a, b], rng=rng, draws=300)
        called += difference(a.sum(), b.sum(), a_draws[:, 0], b_draws[:, 0]).p < 0.05
    assert 2 <= called <= 22


@pytest.mark.parametrize(("both", "only_a", "only_b"), [(5, 9, 2), (0, 1, 0), (100, 30, 31), (3, 0, 8)])
def test_mcnemar_is_the_sign_test_of_the_documents_that_differ(both, only_a, only_b):
    a = np.array([1] * both + [1] * only_a + [0] * only_b + [0] * 4, bool)
    b = np.array([1] * both + [0] * only_a + [1] * only_b + [0] * 4, bool)
    n, k = only_a + only_b, min(only_a, only_b)
    by_hand = min(1.0, 2 * sum(math.comb(n, i) for i in range(k + 1)) / 2**n)
    assert mcnemar(a, b) == pytest.approx(by_hand)
    assert mcnemar(b, a) == mcnemar(a, b)


def test_models_that_never_differ_are_not_different():
    right = np.array([1, 0, 1], bool)
    assert mcnemar(right, right) == 1
    assert mcnemar(right[:0], right[:0]) == 1
    same = per_document("f1_micro", FOUND, multi_label=True)
    assert permutation("f1_micro", same, same, rng=np.random.default_rng(0)) == 1


def test_permutations_agree_with_scipy_and_with_mcnemar():
    rng = np.random.default_rng(4)
    a, b = rng.random(80) < 0.7, rng.random(80) < 0.55
    ours = permutation("accuracy", a[:, None] / 80, b[:, None] / 80, rng=rng, draws=20_000)
    theirs = permutation_test(
        (a.astype(float), b.astype(float)), lambda x, y, axis: x.mean(axis=axis) - y.mean(axis=axis),
        permutation_type="samples", n_resamples=20_000, vectorized=True, rng=np.random.default_rng(0),
    )  # fmt: skip
    assert ours == pytest.approx(theirs.pvalue, abs=0.015)
    assert ours == pytest.approx(mcnemar(a, b), abs=0.015)


def test_permutations_of_micro_f1_exchange_whole_answers(monkeypatch):
    rng = np.random.default_rng(6)
    truth = rng.random((60, 4)) < 0.4
    truth[:, 0] |= ~truth.any(axis=1)
    guesses = [np.where(rng.random((60, 4)) < share, truth, ~truth) for share in (0.9, 0.75)]
    a, b = (
        per_document("f1_micro", outcomes(g[:, 0], truth.sum(1), g.sum(1), (truth & g).sum(1)), multi_label=True)
        for g in guesses
    )
    seen = abs(statistic("f1_micro", a.sum(0)) - statistic("f1_micro", b.sum(0)))
    beyond = 0
    for _ in range(4000):
        swap = rng.random(60)[:, None] < 0.5
        gap = statistic("f1_micro", np.where(swap, b, a).sum(0)) - statistic("f1_micro", np.where(swap, a, b).sum(0))
        beyond += abs(gap) >= seen - 1e-12
    found = permutation("f1_micro", a, b, rng=np.random.default_rng(1), draws=4000)
    assert found == pytest.approx((beyond + 1) / 4001, abs=0.02)
    monkeypatch.setattr("fuseline.models.metrics.significance.CELLS", 100)  # a draw or two at a time
    again = permutation("f1_micro", a, b, rng=np.random.default_rng(1), draws=300)
    assert 1 / 301 <= again <= 1


def test_the_interval_of_drawn_values_is_that_of_scipy():
    right = np.random.default_rng(8).random(300) < 0.4
    (draws,) = resampled([right[:, None] / 300], rng=np.random.default_rng(0), draws=6000)
    theirs = bootstrap((right,), np.mean, method="percentile", n_resamples=6000, rng=np.random.default_rng(1))
    np.testing.assert_allclose(interval(draws[:, 0]), theirs.confidence_interval, atol=0.007)
