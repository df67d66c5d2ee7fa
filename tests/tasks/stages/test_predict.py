"""Predictions of models that tell what single elements had in them."""

import numpy as np

from fuseline.models.element_shares import ElementShares, ElementValues
from fuseline.models.scoring import score
from fuseline.stores.schemas import PREDICTIONS
from fuseline.tasks.stages.predict import element_lists, no_elements
from tests.models.classifiers.test_deep_sets import documents, fitted


def values(lengths: list[int], places: list[int], numbers: list[float]) -> ElementValues:
    return ElementValues(np.array(lengths), np.array(places), np.array(numbers, np.float32))


def test_elements_are_listed_by_document_input_after_input() -> None:
    faces = values([2, 0, 1], [0, 1, 0], [0.25, 0.5, 0.75])
    image = values([1, 0, 1], [0, 0], [0.25, 0.125])
    told = ElementShares({"crops/faces": faces, "embed/image": image}, np.array([0, 1, 0.125], np.float32))
    lists = element_lists(told)
    assert lists.type == PREDICTIONS.field("element_shares").type == no_elements(2).type
    assert [[tuple(one.values()) for one in row] for row in lists.to_pylist()] == [
        [("crops/faces", 0, 0.25), ("crops/faces", 1, 0.5), ("embed/image", 0, 0.25)],
        [],
        [("crops/faces", 0, 0.75), ("embed/image", 0, 0.125)],
    ]


def test_scores_are_the_same_with_and_without_being_explained() -> None:
    from fuseline.models.classifiers.deep_sets import DeepSets

    model, block = fitted(DeepSets), documents(40)
    plain, explained = (next(score(model, block, k=3, explain=explain)) for explain in (False, True))
    assert plain.told is None
    assert explained.told is not None
    np.testing.assert_array_equal(plain.top, explained.top)
    np.testing.assert_allclose(plain.top_probabilities, explained.top_probabilities, rtol=1e-5)
    summing = fitted(DeepSets, pooling="sum")
    assert next(score(summing, block, explain=True)).told is None
