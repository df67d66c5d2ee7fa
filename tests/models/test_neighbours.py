"""Nearest words: hand numbers, ties and refusals."""

import numpy as np
import pytest

from fuseline.models.neighbours import nearest

KEYS = np.float32([[1, 0], [0, 2], [3, 3], [-1, 0], [2, 0]])


def test_cosines_by_hand_and_ties_by_index() -> None:
    found = nearest(np.float32([[5, 0], [1, 1]]), KEYS, k=3)
    assert found.rows.tolist() == [[0, 4, 2], [2, 0, 1]]
    half = 0.5**0.5
    np.testing.assert_allclose(found.cosine, [[1, 1, half], [1, half, half]], rtol=1e-6)
    # pairs of (0, 4, 2): 1, half, half; of (2, 0, 1): half, half, 0
    np.testing.assert_allclose(found.coherence, [(1 + 2 * half) / 3, 2 * half / 3], rtol=1e-6)


def test_many_queries_equal_one_by_one() -> None:
    rng = np.random.default_rng(0)
    queries, keys = rng.normal(size=(2100, 6)).astype(np.float32), rng.normal(size=(300, 6)).astype(np.float32)
    whole = nearest(queries, keys, k=5)
    cosine = (queries @ keys.T) / np.outer(np.linalg.norm(queries, axis=1), np.linalg.norm(keys, axis=1))
    np.testing.assert_array_equal(whole.rows, np.argsort(-cosine, axis=1)[:, :5])


def test_zero_rows_and_too_many_neighbours() -> None:
    np.testing.assert_array_equal(nearest(np.zeros((1, 2), np.float32), KEYS, k=2).cosine, 0)
    with pytest.raises(ValueError, match=r"expected 1..5, got 6"):
        nearest(KEYS, KEYS, k=6)
