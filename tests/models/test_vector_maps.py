"""Maps of vectors: t-SNE that repeats itself, purity by hand, the silhouette of scikit-learn."""

import numpy as np
import pytest
from sklearn.metrics import silhouette_samples
from sklearn.neighbors import NearestNeighbors

from fuseline.models.maps import FEW, coordinates, purity, side_by_side, silhouette


def clusters(n, *, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, n)
    centres = np.eye(3, 8) * 6
    return (centres[labels] + rng.normal(size=(n, 8))).astype(np.float32), labels


def test_a_map_shows_what_lies_together_and_is_the_same_again():
    X, labels = clusters(90)
    found = coordinates(X, seed=3)
    assert (found.shape, found.dtype) == ((90, 2), np.float32)
    np.testing.assert_array_equal(found, coordinates(X, seed=3))
    assert silhouette_samples(found, labels).mean() > 0.5
    np.testing.assert_array_equal(coordinates(X * 4, seed=3), found)  # directions alone count


@pytest.mark.parametrize("n", [0, 1, FEW - 1])
def test_a_few_vectors_and_equal_ones_lie_at_the_origin(n):
    X, _ = clusters(n)
    assert coordinates(X, seed=0).tolist() == [[0, 0]] * n
    assert coordinates(np.ones((40, 3), np.float32), seed=0).tolist() == [[0, 0]] * 40


def test_the_smallest_map_has_a_perplexity_that_fits():
    X, _ = clusters(FEW)
    assert np.isfinite(coordinates(X, seed=0)).all()


def test_purity_is_the_share_of_the_nearest_others():
    X, labels = clusters(80)
    rows = NearestNeighbors(n_neighbors=6, metric="cosine").fit(X).kneighbors(X, return_distance=False)[:, 1:]
    np.testing.assert_allclose(purity(X, labels, k=5), (labels[rows] == labels[:, None]).mean(axis=1))


def test_purity_of_equal_and_of_few_vectors():
    same = np.ones((6, 2), np.float32)
    found = purity(same, np.array([0, 0, 0, 1, 1, 1]), k=2)
    assert ((found >= 0) & (found <= 1)).all()
    assert found.tolist() == [1, 1, 1, 0, 0, 0]  # ties go to the first ones
    assert purity(same[:2], np.array([0, 1]), k=10).tolist() == [0, 0]
    assert np.isnan(purity(same[:1], np.array([0]), k=10)).all()
    assert len(purity(same[:0], np.zeros(0, int), k=10)) == 0


def test_the_silhouette_is_that_of_scikit_learn_where_it_has_one():
    X, labels = clusters(50)
    X[3] = 0
    np.testing.assert_allclose(silhouette(X, labels), silhouette_samples(X, labels, metric="cosine"))
    for undefined in (np.zeros(50, int), np.arange(50)):
        assert np.isnan(silhouette(X, undefined)).all()
    assert np.isnan(silhouette(X[:1], labels[:1])).all()


def test_what_is_alike_stands_side_by_side():
    kinds = np.array([0, 1, 2, 0, 1, 2, 0, 1])
    X = np.eye(3)[kinds] + np.random.default_rng(2).normal(scale=0.05, size=(8, 3))
    order = side_by_side(np.corrcoef(X))
    assert sorted(order.tolist()) == list(range(8))
    assert np.count_nonzero(np.diff(kinds[order])) == 2  # each kind is one run
    assert [side_by_side(np.ones((n, n))).tolist() for n in (0, 1, 2)] == [[], [0], [0, 1]]
    assert sorted(side_by_side(np.ones((4, 4))).tolist()) == [0, 1, 2, 3]
