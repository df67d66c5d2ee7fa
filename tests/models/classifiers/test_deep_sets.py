"""Sets of elements: by hand in numpy, order and number of elements, empty sets, sizes, and what decided."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from fuseline.models.classifiers.concat_sets import ConcatPadded, ConcatPlaceholder
from fuseline.models.classifiers.deep_sets import DeepSets
from fuseline.models.columns import Column, Dense, Ragged, Sequence
from fuseline.models.element_shares import ElementShares
from fuseline.models.errors import CheckpointError
from fuseline.models.features import Block
from fuseline.models.sets import SetClassifier, SetsConfig, used
from tests.models.synthetic import Blocks

F32 = NDArray[np.float32]
D = 5
INPUTS = {"vectors": ["image"], "elements": ["faces"], "indices": ["labels"], "sequences": ["words"]}
QUICK = {**INPUTS, "dim": 16, "index_dim": 4, "maps": 3, "head": [8], "epochs": 2, "lr": 0.01, "batch": 16}
FAMILIES: tuple[type[SetClassifier], ...] = (DeepSets, ConcatPlaceholder, ConcatPadded)
POOLINGS = ("max", "sum", "min", "mean", "median")
family = pytest.mark.parametrize("kind", FAMILIES, ids=lambda kind: kind.kind)


def ragged(rows: list[F32]) -> Ragged:
    offsets = np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int64)
    values = np.concatenate([np.zeros((0, D), np.float32), *rows]).astype(np.float32)
    return Ragged(offsets, values, np.array([len(row) > 0 for row in rows], np.bool_))


def sequence(rows: list[list[int]], vocabulary: int = 6) -> Sequence:
    offsets = np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int64)
    values = np.array([one for row in rows for one in row], np.int32)
    return Sequence(offsets, values, np.array([len(row) > 0 for row in rows], np.bool_), vocabulary)


def documents(n: int = 120, seed: int = 0, most: int = 4) -> Block:
    """Return documents of three classes, told by each of the inputs that they have."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 3, n)
    y[:3] = np.arange(3)[:n]
    centres = np.random.default_rng(7).normal(size=(3, D)) * 2

    def near(c: int, count: int) -> F32:
        return np.asarray(centres[c] + rng.normal(size=(count, D)), np.float32)

    def indices(c: int) -> list[int]:
        return [int(1 + 2 * c + k) for k in rng.integers(0, 2, rng.integers(0, most))]

    columns: dict[str, Column] = {
        "embed/image": Dense(np.concatenate([near(c, 1) for c in y]), rng.random(n) > 0.2),
        "crops/faces": ragged([near(c, rng.integers(0, most)) for c in y]),
        "embed/labels": sequence([indices(c) for c in y]),
        "embed/words": sequence([indices(c) for c in y]),
    }
    ids = pa.array([f"d{row}" for row in range(n)])
    return Block(ids, pa.array([[f"c{c}"] for c in y], pa.list_(pa.string())), columns)


def fitted(kind: type[SetClassifier], train: Block | None = None, **options: Any) -> Any:
    config = kind.Config.model_validate({**QUICK, **options})
    return kind(config).fit(Blocks(train or documents(), 50), None, seed=0)


def right(model: SetClassifier, block: Block) -> float:
    best = np.array(model.labels)[model.predict_logits(block).argmax(axis=1)]
    return float((best == np.array([row[0] for row in block.labels.to_pylist()])).mean())


def encoded_by_hand(model: SetClassifier, name: str, X: Any) -> Any:
    arrays = {key: array.astype(np.float64) for key, array in model._arrays().items()}
    h = X @ arrays[f"branches.{name}.linear.weight"].T + arrays[f"branches.{name}.linear.bias"]
    return np.where(h > 0, h, np.expm1(np.minimum(h, 0)))


def head_by_hand(model: SetClassifier, pooled: Any) -> Any:
    arrays = {key: array.astype(np.float64) for key, array in model._arrays().items()}
    h = np.maximum(0, pooled @ arrays["layers.0.0.weight"].T + arrays["layers.0.0.bias"])
    return h @ arrays["last.weight"].T + arrays["last.bias"]


OF_A_SET: dict[str, Any] = {"max": np.max, "min": np.min, "sum": np.sum, "mean": np.mean, "median": np.median}


@pytest.mark.parametrize("pooling", POOLINGS)
def test_logits_by_hand(pooling: str) -> None:
    block = documents(9)
    model = fitted(DeepSets, pooling=pooling, indices=[], sequences=[])
    image, faces = block.columns["embed/image"], block.columns["crops/faces"]
    assert isinstance(image, Dense)
    assert isinstance(faces, Ragged)
    expected = []
    for row in range(9):
        rows = [image.values[row][None]] if image.present[row] else []
        faces_of = faces.values[faces.offsets[row] : faces.offsets[row + 1]]
        parts = [
            encoded_by_hand(model, name, X / np.linalg.norm(X, axis=1, keepdims=True))
            for name, X in (("image", rows[0] if rows else np.zeros((0, D))), ("crops/faces", faces_of))
        ]
        elements = np.concatenate(parts)
        pooled = OF_A_SET[pooling](elements, axis=0) if len(elements) else np.zeros(16)
        expected.append(head_by_hand(model, pooled))
    np.testing.assert_allclose(model.predict_logits(block), expected, rtol=1e-4, atol=1e-5)


@family
def test_it_learns_from_every_input_by_itself(kind: type[SetClassifier]) -> None:
    train, test = documents(300), documents(150, 1)
    for option, names in INPUTS.items():
        alone = {other: names if other == option else [] for other in INPUTS}
        model = fitted(kind, train, **alone, epochs=15)
        has = test.present({one.name for one in model.inputs(model.config)})
        assert right(model, test.at(np.flatnonzero(has))) > 0.75, option


@pytest.mark.parametrize("pooling", POOLINGS)
def test_all_inputs_together_are_better(pooling: str) -> None:
    assert right(fitted(DeepSets, documents(300), epochs=15, pooling=pooling), documents(150, 1)) > 0.85


@pytest.mark.parametrize("pooling", POOLINGS)
@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 50))
def test_the_order_of_elements_changes_nothing(pooling: str, seed: int) -> None:
    model, block = fitted_once(pooling), documents(20, seed)
    rng = np.random.default_rng(seed)
    columns = dict(block.columns)
    for name in ("crops/faces", "embed/labels"):
        column: Any = columns[name]
        order = np.concatenate([lo + rng.permutation(hi - lo) for lo, hi in pairwise(column.offsets)])
        columns[name] = type(column)(column.offsets, column.values[order.astype(np.int64)], *rest(column))
    shuffled = Block(block.ids, block.labels, columns)
    np.testing.assert_allclose(model.predict_logits(shuffled), model.predict_logits(block), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("pooling", POOLINGS)
@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 50), cuts=st.lists(st.integers(0, 20), max_size=3))
def test_documents_are_scored_by_themselves(pooling: str, seed: int, cuts: list[int]) -> None:
    model, block = fitted_once(pooling), documents(20, seed)
    ends = [0, *sorted(cuts), 20]
    parts = [model.predict_logits(block.at(slice(lo, hi))) for lo, hi in pairwise(ends)]
    np.testing.assert_allclose(np.concatenate(parts), model.predict_logits(block), rtol=1e-4, atol=1e-5)


MODELS: dict[str, Any] = {}


def fitted_once(pooling: str) -> Any:
    if pooling not in MODELS:
        MODELS[pooling] = fitted(DeepSets, pooling=pooling)
    return MODELS[pooling]


def rest(column: Any) -> tuple[Any, ...]:
    return (column.present, column.vocabulary) if isinstance(column, Sequence) else (column.present,)


@family
def test_an_empty_set_has_zeros_and_a_modality_without_elements_is_learned_with(kind: type[SetClassifier]) -> None:
    train = documents()
    nobody = Block(
        train.ids, train.labels, {**train.columns, "crops/faces": ragged([np.zeros((0, D), np.float32)] * 120)}
    )
    model = fitted(kind, nobody)
    nothing = train.masked(frozenset(train.columns))
    logits = model.predict_logits(nothing)
    width = 0 if kind is DeepSets else model.network.body.width
    expected = head_by_hand(model, np.zeros(16 if kind is DeepSets else width))
    np.testing.assert_allclose(logits, np.tile(expected, (120, 1)), rtol=1e-4, atol=1e-5)
    empty = fitted(kind, nothing)
    assert np.isfinite(empty.predict_logits(train)).all()


@family
def test_five_hundred_elements_and_one(kind: type[SetClassifier]) -> None:
    rng = np.random.default_rng(0)
    many = [rng.normal(size=(500, D)).astype(np.float32), rng.normal(size=(1, D)).astype(np.float32)]
    block = documents(2)
    block = Block(block.ids, block.labels, {**block.columns, "crops/faces": ragged(many)})
    assert np.isfinite(fitted(kind).predict_logits(block)).all()


def test_the_number_of_parameters_does_not_depend_on_the_number_of_elements() -> None:
    sizes = {
        kind: [fitted(kind, documents(most=most)).describe()["parameters"] for most in (2, 9)] for kind in FAMILIES
    }
    assert sizes[DeepSets][0] == sizes[DeepSets][1]
    assert sizes[ConcatPlaceholder][0] == sizes[ConcatPlaceholder][1]
    added = (8 - 1) * 2 * 16 * 8  # places of faces and of labels, numbers of an element, units above
    assert sizes[ConcatPadded][1] - sizes[ConcatPadded][0] == added


def test_padding_keeps_as_many_elements_as_training_documents_have() -> None:
    model = fitted(ConcatPadded, documents(most=3))
    assert model.facts["places"] == {"embed/image": 1, "crops/faces": 2, "embed/labels": 2, "embed/words": 1}
    block = documents(20, most=3)
    faces = block.columns["crops/faces"]
    assert isinstance(faces, Ragged)
    more = [np.concatenate([faces.values[lo:hi], np.ones((3, D))]) if hi - lo == 2 else faces.values[lo:hi]
            for lo, hi in pairwise(faces.offsets)]  # fmt: skip
    longer = Block(block.ids, block.labels, {**block.columns, "crops/faces": ragged(more)})
    np.testing.assert_array_equal(model.predict_logits(longer), model.predict_logits(block))


def test_the_placeholder_keeps_the_first_element_of_each_input() -> None:
    model, block = fitted(ConcatPlaceholder), documents(20)
    faces = block.columns["crops/faces"]
    assert isinstance(faces, Ragged)
    first = ragged([faces.values[lo : min(lo + 1, hi)] for lo, hi in pairwise(faces.offsets)])
    shorter = Block(block.ids, block.labels, {**block.columns, "crops/faces": first})
    np.testing.assert_allclose(model.predict_logits(shorter), model.predict_logits(block), rtol=1e-5, atol=1e-6)


def test_vectors_that_are_not_finite_are_no_elements() -> None:
    column = ragged([np.full((2, D), np.nan, np.float32), np.ones((1, D), np.float32), np.zeros((0, D), np.float32)])
    column.values[0] = 3
    held = used(column)
    np.testing.assert_array_equal(held.column.lengths, [1, 1, 0])
    np.testing.assert_allclose(held.column.values, np.full((2, D), D**-0.5))
    dense = used(Dense(np.array([[np.inf, 1], [3, 4], [1, 1]], np.float32), np.array([True, True, False])))
    np.testing.assert_array_equal(dense.column.lengths, [0, 1, 0])
    np.testing.assert_allclose(dense.column.values, [[0.6, 0.8]])


def test_columns_of_another_size_are_refused() -> None:
    block = documents(5)
    wider = Dense(np.ones((5, D + 1), np.float32), np.ones(5, np.bool_))
    with pytest.raises(ValueError, match=r"embed/image: expected Size.*width=5.* got Size.*width=6"):
        fitted_once("max").predict_logits(Block(block.ids, block.labels, {**block.columns, "embed/image": wider}))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"vectors": []}, "vectors: expected an input here"),
        ({"indices": ["words"], "sequences": ["words"]}, "inputs: expected each once"),
        ({"vectors": ["a.b"], "indices": ["a_b"]}, "differ in more than"),
        ({"vectors": ["image", "image"]}, "expected each name once"),
        ({"loss": "softmax", "bias": "rare"}, "bias: expected zero or frequencies under softmax"),
    ],
)
def test_impossible_options_are_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        SetsConfig.model_validate(options)


def test_the_bias_starts_where_one_document_in_a_hundred_has_a_class() -> None:
    model = fitted(DeepSets, loss="sigmoid", bias="rare", groups=[{"match": "last.bias", "lr": 0}], epochs=1)
    np.testing.assert_allclose(model._arrays()["last.bias"], -np.log(99), rtol=1e-6)
    with pytest.raises(ValueError, match="bias: expected zero or frequencies under softmax"):
        fitted(DeepSets, bias="rare")


# What decided.
def told(model: DeepSets, block: Block) -> ElementShares:
    logits, shares = model.explained(block)
    np.testing.assert_allclose(logits, model.predict_logits(block), rtol=1e-5, atol=1e-6)
    assert shares is not None
    return shares


@pytest.mark.parametrize("pooling", ["max", "min"])
def test_shares_are_the_dimensions_that_elements_won(pooling: str) -> None:
    block = documents(30)
    model = fitted(DeepSets, pooling=pooling, indices=[], sequences=[])
    shares = told(model, block)
    image, faces = (used(block.columns[name]) for name in ("embed/image", "crops/faces"))
    for row in range(30):
        parts = [
            encoded_by_hand(model, name, held.column.at(np.array([row])).values)
            for name, held in (("image", image), ("crops/faces", faces))
        ]
        elements = np.concatenate(parts)
        if not len(elements):
            assert shares.dead[row] == 1
            continue
        winner = elements.argmax(axis=0) if pooling == "max" else elements.argmin(axis=0)
        counts = np.bincount(winner, minlength=len(elements)) / 16
        got = np.concatenate([
            np.split(one.values, np.cumsum(one.lengths)[:-1])[row]
            for one in (shares.inputs["embed/image"], shares.inputs["crops/faces"])
        ])  # fmt: skip
        np.testing.assert_allclose(got, counts, atol=1e-6)


def test_shares_per_input_add_up_to_one_and_name_the_elements() -> None:
    model, block = fitted_once("max"), documents(40)
    shares = told(model, block)
    assert set(shares.inputs) == {"embed/image", "crops/faces", "embed/labels", "embed/words"}
    faces, words = shares.inputs["crops/faces"], shares.inputs["embed/words"]
    assert faces.places.tolist() == [k for n in faces.lengths for k in range(n)]
    assert words.lengths.max() == 1
    assert words.places.tolist() == [0] * int(words.lengths.sum())
    total = sum(one.by_document() for one in shares.inputs.values()) + shares.dead
    np.testing.assert_allclose(total, 1, rtol=1e-5)
    importance = model.importance(block, np.zeros(40, np.int64))
    assert set(importance) == {"image", "crops/faces", "labels", "words"}
    has = shares.dead < 1
    np.testing.assert_allclose(sum(importance.values())[has], 1, rtol=1e-5)


def test_two_equal_elements_share_what_they_win() -> None:
    block = documents(1)
    twice = np.tile(np.arange(1, D + 1, dtype=np.float32), (2, 1))
    column = {"crops/faces": ragged([np.concatenate([twice, -twice[:1]])])}
    model = fitted(DeepSets, vectors=[], indices=[], sequences=[])
    shares = told(model, Block(block.ids, block.labels, column)).inputs["crops/faces"].values
    assert shares[0] == shares[1] > 0
    only_equal = told(model, Block(block.ids, block.labels, {"crops/faces": ragged([twice])}))
    assert only_equal.dead.tolist() == [1]
    assert only_equal.inputs["crops/faces"].values.tolist() == [0, 0]


@pytest.mark.parametrize("pooling", ["sum", "mean", "median"])
def test_other_poolings_do_not_tell(pooling: str) -> None:
    block = documents(5)
    assert fitted_once(pooling).explained(block)[1] is None
    assert fitted_once(pooling).importance(block, np.zeros(5, np.int64)) == {}


def test_the_shares_of_no_documents_and_of_parts() -> None:
    model, block = fitted_once("max"), documents(40)
    none = told(model, block.at(slice(0, 0)))
    assert {len(one.values) for one in none.inputs.values()} == {0}
    whole = told(model, block)
    joined = ElementShares.join([told(model, block.at(slice(0, 13))), told(model, block.at(slice(13, 40)))])
    for name, one in whole.inputs.items():
        np.testing.assert_array_equal(joined.inputs[name].lengths, one.lengths)
        np.testing.assert_array_equal(joined.inputs[name].places, one.places)
        np.testing.assert_allclose(joined.inputs[name].values, one.values, atol=1e-6)
    np.testing.assert_array_equal(joined.dead, whole.dead)


def test_damaged_places_of_a_checkpoint_are_refused(tmp_path: Path) -> None:
    model = fitted(ConcatPadded)
    for damaged in ({}, {**model.facts["places"], "crops/faces": -1}, {**model.facts["places"], "crops/faces": "2"}):
        model.facts = {**model.facts, "places": damaged}
        with pytest.raises(CheckpointError):
            ConcatPadded.restored(model.checkpoint())


def test_a_new_kind_of_element_needs_its_name_alone() -> None:
    """What a package's stage makes is read, pooled and told of like the rest (R-27)."""
    block = documents(200)
    sounds = Block(block.ids, block.labels, {"embed/sounds": block.columns["crops/faces"]})
    model = fitted(DeepSets, sounds, vectors=[], elements=["embed/sounds"], indices=[], sequences=[], epochs=15)
    has = sounds.columns["embed/sounds"].present
    assert right(model, sounds.at(np.flatnonzero(has))) > 0.8
    shares = told(model, sounds)
    assert set(shares.inputs) == {"embed/sounds"}
    np.testing.assert_allclose(shares.inputs["embed/sounds"].by_document() + shares.dead, 1, rtol=1e-5)
