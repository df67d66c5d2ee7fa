"""Who is right, by hand and beside plain Python."""

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from fuseline.tasks.evaluation.answers import hits, right_models

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
