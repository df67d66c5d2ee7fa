"""The classes found in the Huffman tree are those of the scan of all of them, to the last bit."""

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from fuseline.models.classifier import tuned_threshold
from fuseline.models.errors import TrainingError
from fuseline.models.fasttext.kernels import model as kernels
from fuseline.models.fasttext.output_tables import huffman, paths, way
from fuseline.models.fasttext.ranked_leaves import RankedLeaves
from fuseline.models.ranked import LogitMatrix
from fuseline.models.registry import MODELS
from fuseline.models.scoring import count, score
from tests.models.synthetic import Blocks, documents


@dataclass
class Case:
    """Documents and a tree, and the logits of a scan of all classes."""

    found: RankedLeaves
    scanned: LogitMatrix


def scan(W: NDArray[np.float32], Z: NDArray[np.float32], counts: NDArray[np.int64]) -> Case:
    tree = huffman(counts)
    nodes, logits = np.zeros((len(Z), len(W)), np.float32), np.zeros((len(Z), len(W)), np.float32)
    kernels.scores(W, Z, nodes)
    kernels.leaf_log_probabilities(nodes, tree.parent, tree.right, logits)
    return Case(RankedLeaves(W, Z, tree), LogitMatrix(logits, np.exp(logits)))


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Draw skewed and even counts; weights so small that classes tie, and so large that probabilities are 0 or 1."""
    C, n, width = draw(st.integers(1, 70)), draw(st.integers(1, 4)), 8 * draw(st.integers(1, 14))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    counts = rng.integers(1, draw(st.sampled_from([2, 10, 10_000])), C)
    if draw(st.booleans()):
        counts = np.maximum(1, 2.0 ** np.arange(40, 40 - C, -1)).astype(np.int64)
    W, Z = rng.normal(size=(C, width)), rng.normal(size=(n, width))
    if draw(st.booleans()):
        W, Z = np.sign(W), np.round(Z)
    return scan(np.float32(W * draw(st.sampled_from([0, 1e-3, 1, 30]))), np.float32(Z), counts)


@settings(max_examples=150, deadline=None)
@given(cases(), st.data())
def test_classes_are_those_of_the_full_scan(case: Case, data: st.DataObject) -> None:
    n, C = case.scanned.logits.shape
    k = data.draw(st.integers(1, C))
    for found, expected in zip(case.found.top(k), case.scanned.top(k), strict=True):
        np.testing.assert_array_equal(found, expected)
    rows, classes = np.divmod(np.arange(n * C), C)
    for found, expected in zip(case.found.of(rows, classes), case.scanned.of(rows, classes), strict=True):
        np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(case.found.ranks(rows, classes), case.scanned.ranks(rows, classes))
    thresholds = [0.0, 1e-6, 0.5, 1.0, *case.scanned.probabilities.ravel()[:: max(1, n * C // 5)].tolist()]
    for threshold in thresholds:
        for found, expected in zip(case.found.at_least(threshold), case.scanned.at_least(threshold), strict=True):
            np.testing.assert_array_equal(found, expected)


def test_ranks_are_places_in_the_order_of_the_matrix() -> None:
    case = scan(np.zeros((4, 8), np.float32), np.ones((1, 8), np.float32), np.array([5, 5, 5, 5]))
    assert case.found.top(4)[0].tolist() == [[0, 1, 2, 3]]  # all equal: by number
    assert case.found.ranks(np.zeros(4, np.int64), np.arange(4)).tolist() == [1, 2, 3, 4]


def test_only_nodes_on_the_way_to_the_best_are_read() -> None:
    rng = np.random.default_rng(0)
    W, Z = np.float32(rng.normal(size=(5000, 16))), np.float32(rng.normal(size=(1, 16)))
    case = scan(W, Z, np.maximum(1, 20_000 // np.arange(1, 5001)))
    best, probabilities = case.scanned.top(5)
    kept = np.zeros(len(W), np.bool_)
    tree = case.found.tree
    log_p = np.zeros(len(tree.parent))
    for node in range(len(tree.parent) - 2, -1, -1):  # from the root down
        score = float(W[tree.parent[node] - len(W)] @ Z[0]) * (1 if tree.right[node] else -1)
        log_p[node] = log_p[tree.parent[node]] - np.logaddexp(0, -score)
    kept[:-1] = log_p[len(W) :] >= np.log(probabilities[0, -1]) - 1e-4  # inner nodes that could hide a better class
    W[~kept] = np.nan
    assert kept.sum() < 500
    np.testing.assert_array_equal(RankedLeaves(W, Z, tree).top(5)[0], best)


@pytest.mark.parametrize("row", [0, 2])
def test_a_score_that_is_not_a_number_is_refused(row: int) -> None:
    case = scan(np.ones((4, 8), np.float32), np.ones((1, 8), np.float32), np.array([5, 5, 5, 5]))
    case.found.W[row] = np.nan
    with pytest.raises(TrainingError, match="logits: expected finite"):
        case.found.top(4)
    with pytest.raises(TrainingError, match="logits: expected finite"):
        case.found.of(np.zeros(4, np.int64), np.arange(4))


def test_the_way_of_one_class_is_that_among_all() -> None:
    tree = huffman(np.array([9, 4, 4, 2, 1, 1]))
    indptr, nodes, turns = paths(tree)
    for leaf in range(6):
        own = slice(indptr[leaf], indptr[leaf + 1])
        np.testing.assert_array_equal(way(tree, leaf)[0], nodes[own])
        np.testing.assert_array_equal(way(tree, leaf)[1], turns[own])


@pytest.mark.parametrize("kind", ["text", "additive", "bilinear", "pq"])
@pytest.mark.parametrize("task", ["single", "multi"])
def test_scores_are_those_of_the_full_scan_and_no_matrix_is_made(
    kind: str, task: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = MODELS[kind].Config(dim=6, epochs=3, lr=0.3, deterministic=True, loss="hs", task=task)
    train, valid = Blocks(documents(300, second_label=True), 70), Blocks(documents(150, seed=2, second_label=True), 40)
    with monkeypatch.context() as patch:
        patch.setattr(MODELS[kind], "ranker", lambda self: None)
        scanned = MODELS[kind](config).fit(train, valid, seed=0)
        expected, parts = count(scanned, valid), list(score(scanned, documents(90, seed=3), k=3))
    monkeypatch.setattr(MODELS[kind], "predict_logits", lambda *_: pytest.fail("a matrix of documents by classes"))
    found = MODELS[kind](config).fit(train, valid, seed=0)
    assert found.threshold == scanned.threshold == tuned_threshold(found, valid) or task == "single"
    np.testing.assert_equal(vars(count(found, valid)), vars(expected))
    for part, other in zip(score(found, documents(90, seed=3), k=3), parts, strict=True):
        for name in ("seen", "top", "top_probabilities"):
            np.testing.assert_array_equal(getattr(part, name), getattr(other, name))
        assert (part.predicted, part.rank, part.loss) == (other.predicted, other.rank, other.loss)


def test_other_losses_compute_every_class() -> None:
    for loss in ("softmax", "ns", "ova"):
        assert MODELS["text"](MODELS["text"].Config(loss=loss)).ranker() is None
