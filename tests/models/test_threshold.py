"""The threshold of the best micro-F1, and how far down the probabilities it has to look for it."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from fuseline.models.classifier import FEW, tuned_threshold
from fuseline.models.features import Block
from fuseline.models.metrics.thresholds import CANDIDATES, FLOORS
from fuseline.models.ranked import LogitMatrix
from tests.models.synthetic import Blocks

C = 5000
NAMES = [f"t{y}" for y in range(C)]


class Oracle:
    """A classifier with given probabilities (n, C) that finds the likely classes first, or knows no quicker way."""

    labels, multi_label = NAMES, True

    def __init__(self, probabilities: NDArray[np.float32], *, quick: bool = True) -> None:
        self.given, self.quick, self.asked = probabilities, quick, set[float]()
        self.passes = 0

    def ranker(self) -> Any:
        return self._ranked if self.quick else None

    def _ranked(self, block: Block) -> Any:
        p, asked = self.predict_logits(block), self.asked

        class Noting(LogitMatrix):
            def at_least(self, probability: float) -> Any:
                asked.add(probability)
                return super().at_least(probability)

        return Noting(p, p)

    def predict_logits(self, block: Block) -> NDArray[np.float32]:
        self.passes += 1
        return self.given[np.array(block.ids.to_pylist(), np.int64)]

    def probabilities(self, logits: NDArray[np.float32]) -> NDArray[np.float32]:
        return logits


def documents(labels: list[list[int]]) -> Blocks:
    names = pa.array([[NAMES[y] for y in own] for own in labels], pa.list_(pa.string()))
    return Blocks(Block(pa.array(np.arange(len(labels))).cast(pa.string()), names))


def best_of_all(p: NDArray[np.float32], labels: list[list[int]]) -> float:
    """Return the threshold by its definition: every candidate tried on the whole matrix."""
    truth = np.zeros(p.shape, np.bool_)
    for row, own in enumerate(labels):
        truth[row, own] = True
    f1 = [2 * (truth & (p >= t)).sum() / max(1, (p >= t).sum() + truth.sum()) for t in CANDIDATES]
    return float(CANDIDATES[len(f1) - 1 - int(np.argmax(f1[::-1]))]) if max(f1) and truth.any() else 0.5


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([0.0, 0.5, 1.0, 2.0, 4.0]), st.integers(0, 5), st.booleans())
def test_the_threshold_is_the_best_of_all(seed: int, skew: float, own: int, quick: bool) -> None:
    rng = np.random.default_rng(seed)
    p = rng.random((2, C)) ** 3 * np.arange(1, C + 1) ** -skew
    p = (p / p.sum(axis=1, keepdims=True)).astype(np.float32)
    labels = [list({int(y) for y in rng.integers(0, C, own) ** rng.choice([0.3, 0.6, 1.0])}) for _ in range(2)]
    assert tuned_threshold(Oracle(p, quick=quick), documents(labels)) == best_of_all(p, labels)  # type: ignore[arg-type]


@pytest.mark.parametrize(("own", "asked"), [(0.4, 1), (5e-4, 2), (3e-6, 4)])
def test_improbable_classes_are_asked_for_only_where_they_could_help(own: float, asked: int) -> None:
    p = np.full((3, C), 1e-7, np.float32)
    p[:, :40], p[:, 7] = 0.01, own
    oracle, valid = Oracle(p), documents([[7], [7], [7]])
    assert tuned_threshold(oracle, valid) == best_of_all(p, [[7]] * 3)  # type: ignore[arg-type]
    assert len(oracle.asked) == min(asked, sum(floor * C > FEW for floor in FLOORS[:-1]) + 1)


def test_labels_that_are_no_class_count_as_missed() -> None:
    p = np.full((1, C), 1e-7, np.float32)
    p[0, :3] = 0.3
    valid = documents([[0]])
    valid = Blocks(Block(valid.block.ids, pa.array([["t0", "unknown"]])))
    assert tuned_threshold(Oracle(p), valid) == pytest.approx(0.3, rel=0.02)  # type: ignore[arg-type]
    nothing = documents([[]])
    assert tuned_threshold(Oracle(p), nothing) == 0.5  # type: ignore[arg-type]


@pytest.mark.parametrize(("own", "passes"), [(0.4, 1), (5e-4, 2), (3e-6, 2)])
def test_without_a_quicker_way_improbable_classes_are_counted_in_one_more_pass_at_most(own: float, passes: int) -> None:
    """To count every class of every document cost three times what a score of the same documents does."""
    p = np.full((3, C), 1e-7, np.float32)
    p[:, :40], p[:, 7] = 0.01, own
    oracle = Oracle(p, quick=False)
    assert tuned_threshold(oracle, documents([[7], [7], [7]])) == best_of_all(p, [[7]] * 3)  # type: ignore[arg-type]
    assert oracle.passes == passes
