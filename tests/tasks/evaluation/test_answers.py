"""Who is right, by hand and beside plain Python."""

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from fuseline.tasks.evaluation.answers import disagreement, hits, right_models

NAMES = st.sampled_from(["a", "b", "c"])
ROWS = st.lists(st.tuples(st.lists(NAMES, max_size=3), st.none() | NAMES), max_size=20)


@given(ROWS)
def test_a_hit_is_a_label_of_the_document(rows):
    labels = pa.array([own for own, _ in rows], pa.list_(pa.string()))
    best = pa.array([guessed for _, guessed in rows], pa.string())
    assert hits(labels, best).tolist() == [guessed in own for own, guessed in rows]
    part = slice(1, None, None)
    assert hits(labels[part], best[part]).tolist() == [guessed in own for own, guessed in rows][1:]


def test_those_that_are_right_are_named_in_order():
    right = np.array([[True, False, True], [False, False, False], [True, True, True]])
    assert right_models(right, ["x", "y", "z"]).to_pylist() == [["x", "z"], [], ["x", "y", "z"]]


def top(*rows):
    return pa.array(
        [[{"label": label, "score": score} for label, score in row] for row in rows],
        pa.list_(pa.struct([("label", pa.string()), ("score", pa.float32())])),
    )


def test_models_disagree_by_what_their_best_labels_do_not_share():
    one = top([("a", 0.75), ("b", 0.25)], [("a", 0.5), ("b", 0.25)], [("a", 1.0)], [], [("a", 0.9), ("b", 0.9)])
    other = top(
        [("b", 0.5), ("a", 0.5)], [("c", 0.5), ("a", 0.25)], [("c", 1.0)], [("a", 1.0)], [("a", 0.9), ("b", 0.9)]
    )
    assert disagreement(one, other).round(6).tolist() == [0.25, 0.75, 1, 1, 0]
    assert disagreement(one[1:], other[1:]).round(6).tolist() == [0.75, 1, 1, 0]
    assert disagreement(top(), top()).tolist() == []


@given(st.lists(st.tuples(*2 * [st.lists(st.integers(1, 50), min_size=4, max_size=4)]), min_size=1, max_size=9))
def test_over_all_classes_it_is_the_total_variation_distance(pairs):
    p, q = (np.array(side, float) / np.sum(side, axis=1, keepdims=True) for side in zip(*pairs, strict=True))
    lists = [top(*(list(zip("abcd", row, strict=True))[::rng] for row in side)) for side, rng in ((p, 1), (q, -1))]
    np.testing.assert_allclose(disagreement(*lists), np.abs(p - q).sum(axis=1) / 2, atol=1e-6)
