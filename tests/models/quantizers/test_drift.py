"""Drift: nothing on the same data, a refit on other data, hand numbers."""

import numpy as np
import pytest

from models.quantizers import PQ, PQConfig
from models.quantizers.drift import DriftConfig, drift, jensen_shannon, usage

BOOK = PQ(PQConfig(parts=2, codewords=16, iterations=5, unit=False)).fit(
    np.random.default_rng(0).normal(size=(4000, 8)).astype(np.float32), seed=0
)


def of(rows: np.ndarray, config: DriftConfig | None = None):  # type: ignore[no-untyped-def]
    codes, present = BOOK.encode(rows.astype(np.float32))
    counts = usage(codes, present, codewords=16)
    error = float(BOOK.errors(rows.astype(np.float32), codes).mean())
    return drift(BOOK.usage, BOOK.train_error, new=counts, new_error=error, config=config or DriftConfig())


def test_data_of_the_same_kind_do_not_drift() -> None:
    found = of(np.random.default_rng(1).normal(size=(2000, 8)))
    assert found.error_ratio == pytest.approx(1, abs=0.1)
    assert found.divergence.max() < 0.02
    assert found.empty.tolist() == [0, 0]
    assert not found.refit


def test_data_far_away_ask_for_a_refit() -> None:
    found = of(np.random.default_rng(1).normal(size=(2000, 8)) * 0.1 + 3)
    assert found.error_ratio > 1.25
    assert found.empty.min() > 10
    assert found.hot.min() >= 1
    assert found.divergence.min() > 0.5
    assert found.refit


def test_few_rows_say_nothing() -> None:
    assert not of(np.random.default_rng(1).normal(size=(50, 8)) + 9).refit


def test_absent_rows_are_not_counted() -> None:
    codes = np.array([[0, 1], [0, 0], [2, 1]], np.uint8)
    counts = usage(codes, np.array([True, False, True]), codewords=3)
    assert counts.tolist() == [[1, 0, 1], [0, 2, 0]]


def test_divergence_by_hand() -> None:
    p, q = np.array([[1.0, 0.0], [0.5, 0.5], [1, 0]]), np.array([[0.0, 1.0], [0.5, 0.5], [0.5, 0.5]])
    # third: (log2(1/.75) + .5 log2(.5/.75) + .5 log2(.5/.25)) / 2
    np.testing.assert_allclose(jensen_shannon(p, q), [1, 0, (0.4150375 - 0.2924813 + 0.5) / 2], atol=1e-6)
