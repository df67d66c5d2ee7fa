"""What is told of decisions, counted by hand."""

import numpy as np
import pyarrow as pa
import pytest

from fuseline.models.classifiers.soft_policy import SoftPolicy
from fuseline.tasks.evaluation.decisions import (
    DecisionsConfig,
    Judged,
    decision_row,
    is_between,
    joined,
    names_of,
    quadrant_rows,
)


def judged() -> Judged:
    """Four documents: both right, the first alone, the second alone, none; the second decides on the last two."""
    right = np.array([[True, True], [True, False], [False, True], [False, False]])
    called, wish = np.array([False, False, True, True]), np.array([0.1, 0.2, 0.9, 0.8], np.float32)
    labels = pa.array([["x"], ["x"], ["y"], ["x", "y"]])
    return Judged(right, np.array([True, True, True, False]), called, wish, wish, labels)


def test_a_decision_beside_its_models_and_their_oracle() -> None:
    row = decision_row(judged(), ["text", "image"], best=0, chooses=True)
    assert (row["accuracy"], row["first_accuracy"], row["others_accuracy"]) == (0.75, 0.5, [0.5])
    assert (row["oracle_accuracy"], row["best"], row["best_accuracy"]) == (0.75, "text", 0.5)
    assert (row["better"], row["worse"], row["p"]) == (1, 0, 1.0)
    assert (row["should_call"], row["called"], row["choice_accuracy"]) == (0.25, 0.5, 0.75)
    assert (row["choice_precision"], row["choice_recall"], row["choice_auc"]) == (0.5, 1.0, 1.0)
    assert row["choice_balanced"] == pytest.approx((1 + 2 / 3) / 2)
    assert "called" not in decision_row(judged(), ["text", "image"], best=1, chooses=False)


def test_quadrants_of_all_and_of_each_label() -> None:
    one = joined([judged(), judged()])
    rows = [(row["label"], tuple(row["right"]), row["n"]) for row in quadrant_rows(one, ["text", "image"])]
    assert sorted(row for row in rows if row[0] is None) == [
        (None, (), 2), (None, ("image",), 2), (None, ("text",), 2), (None, ("text", "image"), 2)
    ]  # fmt: skip
    assert sorted(row for row in rows if row[0]) == [
        ("x", (), 2), ("x", ("text",), 2), ("x", ("text", "image"), 2), ("y", (), 2), ("y", ("image",), 2)
    ]  # fmt: skip


def test_networks_that_a_decision_trains_itself_are_not_taken_for_models_of_that_name() -> None:
    fixed = {"model": "soft", "kind": "soft_policy", "splits": (), "half": None, "first": True, "spares": False}
    for models, expected in (((), ("text of soft", "image of soft")), (("text", "image"), ("text", "image"))):
        config = DecisionsConfig.model_validate({**fixed, "models": models, "calibrated": (), "others": ()})
        assert names_of(SoftPolicy(), config) == expected


def test_which_kinds_are_between_models() -> None:
    assert [kind for kind in ("policy", "fixed_max", "ensemble", "soft_policy", "text", "gmu") if is_between(kind)] == [
        "policy", "fixed_max", "ensemble", "soft_policy"
    ]  # fmt: skip
