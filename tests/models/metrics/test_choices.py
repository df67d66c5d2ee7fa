"""Scores of choices are scikit-learn's, and the curve is counted by hand."""

import numpy as np
import pytest
from sklearn import metrics

from fuseline.models.metrics.choices import call_curve, choice_scores


def test_choice_scores_equal_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    for share in (0.05, 0.5, 0.9):
        should = rng.random(300) < share
        wish = np.round(rng.random(300) + 0.3 * should, 1).astype(np.float32)  # with ties
        called = wish > 0.6
        found = choice_scores(should, called, wish)
        assert found.accuracy == pytest.approx(metrics.accuracy_score(should, called))
        assert found.balanced == pytest.approx(metrics.balanced_accuracy_score(should, called))
        assert found.auc == pytest.approx(metrics.roc_auc_score(should, wish))
        assert found.precision == pytest.approx(metrics.precision_score(should, called))
        assert found.recall == pytest.approx(metrics.recall_score(should, called))


def test_one_kind_of_answer_alone() -> None:
    no, wish = np.zeros(4, np.bool_), np.array([0.1, np.inf, -np.inf, 0.2], np.float32)
    assert choice_scores(no, no, wish) == (1.0, 1.0, None, 0.0, 0.0)
    assert choice_scores(~no, no, wish) == (0.0, 0.0, None, 0.0, 0.0)


def test_the_curve_asks_those_first_that_are_most_wished_for() -> None:
    gains, wish = np.array([1, -1, 1, 0]), np.array([0.9, 0.1, 0.8, 0.5], np.float32)
    assert call_curve(gains, wish, np.array([0, 0.25, 0.5, 0.75, 1.0])).tolist() == [0, 1, 2, 2, 1]
