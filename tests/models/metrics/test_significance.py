"""The paired bootstrap: sums by hand, an exact law it must follow, and what it must not depend on."""

import numpy as np
import pytest
from sklearn.metrics import f1_score

from fuseline.models.metrics.scores import Outcomes
from fuseline.models.metrics.significance import difference, per_document, resampled, statistic


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
