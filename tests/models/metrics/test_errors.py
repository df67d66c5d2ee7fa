"""Errors of estimates: equal to scikit-learn, however the documents are divided."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

from fuseline.models.metrics.errors import Errors

VALUES = st.lists(st.tuples(st.floats(-1e4, 1e4), st.floats(-1e4, 1e4)), min_size=2, max_size=30)


@given(VALUES, st.integers(0, 30), st.floats(-1e4, 1e4))
def test_they_are_those_of_scikit_learn_and_add(pairs, cut, origin):
    y, x = (np.array(one, float) for one in zip(*pairs, strict=True))
    parts = [Errors.of(y[part], x[part], origin=origin) for part in (slice(cut), slice(cut, None))]
    whole = parts[0].plus(parts[1])
    assert whole.n == len(y)
    assert whole.mae == pytest.approx(mean_absolute_error(y, x), abs=1e-9)
    assert whole.rmse == pytest.approx(root_mean_squared_error(y, x), abs=1e-6)
    assert whole.constant_mae == pytest.approx(mean_absolute_error(y, np.full(len(y), origin)), abs=1e-9)
    if np.ptp(y) > 1:
        assert whole.r2 == pytest.approx(r2_score(y, x), rel=1e-6, abs=1e-6)


def test_equal_numbers_and_a_single_one_have_no_r2():
    assert Errors.of(np.full(5, 3.0), np.arange(5.0), origin=0.0).r2 is None
    assert Errors.of(np.array([3.0]), np.array([2.0]), origin=3.0).r2 is None
    assert Errors.of(np.array([1.0, 3.0]), np.array([2.0, 2.0]), origin=2.0).r2 == 0
