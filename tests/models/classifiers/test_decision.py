"""Fixed decisions between classifiers, by hand on three documents."""

import numpy as np
import pyarrow as pa
import pytest

from fuseline.models.classifiers.decision import Decision, DecisionConfig, FixedMax, FixedMean
from fuseline.models.columns import Logits
from fuseline.models.features import Block
from tests.models.synthetic import Blocks

LABELS = ("x", "y")
A = np.log(np.array([[0.9, 0.1], [0.4, 0.6], [0.5, 0.5]], np.float32))
B = np.log(np.array([[0.2, 0.8], [0.3, 0.7], [0.5, 0.5]], np.float32))
ASKED = (np.array([True, True, False]), np.array([True, False, False]))


def block(second: tuple[str, ...] = LABELS, link: str = "softmax") -> Block:
    columns = {"logits/a": Logits(A, ASKED[0], LABELS), "logits/b": Logits(B, ASKED[1], second, link)}
    return Block(pa.array(["1", "2", "3"]), pa.array([["x"], ["y"], ["y"]]), columns)


def fitted(kind: type[Decision], over: str = "probabilities", **more: object) -> Decision:
    config = DecisionConfig.model_validate({"models": ("a", "b"), "over": over, **more})
    return kind(config).fit(Blocks(block(), 2), None, seed=0)


def probabilities(kind: type[Decision], over: str = "probabilities") -> list[list[float]]:
    model = fitted(kind, over)
    found: list[list[float]] = model.probabilities(model.predict_logits(block())).round(6).tolist()
    return found


def test_the_mean_leaves_out_who_has_nothing_to_read() -> None:
    # Both; the first alone; nobody, so all.
    assert np.allclose(probabilities(FixedMean), [[0.55, 0.45], [0.4, 0.6], [0.5, 0.5]])


def test_the_most_confident_decides_among_those_that_are_asked() -> None:
    assert np.allclose(probabilities(FixedMax), [[0.9, 0.1], [0.4, 0.6], [0.5, 0.5]])


def test_logits_are_combined_as_they_are() -> None:
    mean = fitted(FixedMean, "logits").predict_logits(block())
    assert np.allclose(mean[0], (A[0] + B[0]) / 2)
    assert np.allclose(
        probabilities(FixedMean, "logits")[0], np.array([0.18**0.5, 0.08**0.5]) / (0.18**0.5 + 0.08**0.5)
    )
    # log 0.9 is the highest logit of the first document, log 0.6 that of the second, where b is not asked.
    assert np.allclose(fitted(FixedMax, "logits").predict_logits(block())[:2], A[:2])


def test_probabilities_are_made_by_the_link_of_each_model() -> None:
    model = fitted(FixedMean)
    assert np.allclose(np.exp(model.predict_logits(block(link="exp")))[0], [0.55, 0.45])
    assert np.allclose(np.exp(model.predict_logits(block(link="sigmoid")))[0, 0], (0.9 + 1 / (1 + 5)) / 2)


def test_models_of_other_classes_are_refused_by_name() -> None:
    config = DecisionConfig(models=("a", "b"))
    message = r"labels of logits/b: expected \['x', 'y'\], got \['x', 'z'\]; combine models"
    with pytest.raises(ValueError, match=message):
        FixedMean(config).fit(Blocks(block(("x", "z")), 2), None, seed=0)
    with pytest.raises(ValueError, match=message):
        fitted(FixedMean).predict_logits(block(("x", "z")))


def test_one_model_and_the_same_twice_are_refused() -> None:
    for models in (("a",), ("a", "a")):
        with pytest.raises(ValueError, match="models"):
            DecisionConfig(models=models)
