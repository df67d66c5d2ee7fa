"""Losses against their definitions, in numpy and float64."""

import numpy as np
import pytest
import torch

from fuseline.models.training.losses import LOSSES, class_weights

RNG = np.random.default_rng(0)
X = RNG.normal(size=(7, 4)) * 3
Y = np.array([[1, 0, 0, 0], [0, 1, 1, 0], [1, 1, 1, 0], [0, 0, 0, 1], [0, 0, 1, 0], [1, 0, 0, 1], [0, 1, 0, 0]], float)
W = np.array([0.5, 1.0, 2.0, 3.0])
NONE = np.ones(4)


def loss(name: str, x=X, y=Y, weights=None, positive: float = 1.0) -> float:
    w = None if weights is None else torch.from_numpy(weights)
    return float(LOSSES[name].mean(torch.from_numpy(x), torch.from_numpy(y), w, positive))


@pytest.mark.parametrize("weights", [None, W])
def test_labels_of_a_document_share_the_softmax_evenly(weights):
    log_p = X - np.log(np.exp(X).sum(1, keepdims=True))
    share = Y / Y.sum(1, keepdims=True)
    expected = -(share * log_p * (NONE if weights is None else weights)).sum(1).mean()
    assert loss("softmax", weights=weights) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("weights", [None, W])
@pytest.mark.parametrize("q", [1.0, 30.0])
def test_weighted_sigmoid_is_its_definition(weights, q):
    p = 1 / (1 + np.exp(-X))
    each = -q * Y * np.log(p) - (1 - Y) * np.log(1 - p)
    expected = (each * (NONE if weights is None else weights)).sum(1).mean()
    assert loss("sigmoid", weights=weights, positive=q) == pytest.approx(expected, rel=1e-9)
    stable = (1 - Y) * X + (1 + (q - 1) * Y) * np.log1p(np.exp(-X))
    np.testing.assert_allclose(each, stable, rtol=1e-7)


def test_sigmoid_overflows_nowhere():
    """The printed form of the paper does at -200 (Z-04)."""
    x = np.array([[-200.0, 200.0], [1e4, -1e4]])
    expected = ((30 * 200 + 200) + (1e4 + 30 * 1e4)) / 2
    assert loss("sigmoid", x, np.eye(2), positive=30.0) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("weights", [None, W])
@pytest.mark.parametrize("q", [1.0, 5.0])
def test_squared(weights, q):
    expected = ((X - Y) ** 2 * np.where(Y == 1, q, 1) * (NONE if weights is None else weights)).sum(1).mean()
    assert loss("squared", weights=weights, positive=q) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("name", LOSSES)
def test_the_least_of_label_frequencies_is_that_of_their_logits(name):
    y = np.repeat(np.eye(4), [500, 300, 150, 50], axis=0)
    n, documents = y.sum(0), float(len(y))
    logits = np.tile(LOSSES[name].bias(n, documents), (len(y), 1))
    assert LOSSES[name].least(n, documents) == pytest.approx(loss(name, logits, y), rel=1e-4)
    shifted = logits + 0.1 * RNG.normal(size=4)
    assert LOSSES[name].least(n, documents) < loss(name, shifted, y)


@pytest.mark.parametrize("name", LOSSES)
def test_parts_of_a_batch_add_up(name):
    whole = loss(name, weights=W)
    parts = [loss(name, X[lo : lo + 3], Y[lo : lo + 3], W) * len(X[lo : lo + 3]) for lo in (0, 3, 6)]
    assert sum(parts) / 7 == pytest.approx(whole, rel=1e-12)


def test_class_weights_by_hand():
    counts = np.array([8, 4, 2, 2])
    assert class_weights("none", counts, 16) is None
    np.testing.assert_allclose(class_weights("balanced", counts, 16), [0.5, 1, 2, 2])
    np.testing.assert_allclose(class_weights("sqrt", counts, 16), np.sqrt([0.5, 1, 2, 2]), rtol=1e-6)


def test_biases_are_what_frequencies_would_give():
    n, documents = np.array([8.0, 4.0, 2.0]), 14.0
    np.testing.assert_allclose(np.exp(LOSSES["softmax"].bias(n, documents)), n / 14)
    np.testing.assert_allclose(LOSSES["squared"].bias(n, documents), n / 14)
    odds = np.exp(LOSSES["sigmoid"].bias(n, documents))
    np.testing.assert_allclose(odds, (n + 0.5) / (14 - n + 0.5))
    assert np.isfinite(LOSSES["sigmoid"].bias(np.array([14.0, 1.0]), 14.0)).all()
