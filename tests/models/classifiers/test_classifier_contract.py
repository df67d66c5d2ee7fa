"""What every classifier of the registry promises; one that a package registers is tested by being installed."""

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pytest

from fuseline.models.attribution import left_out, times_gradient
from fuseline.models.columns import Codes, Column, Dense, Logits, Pixels, Sequence, Text
from fuseline.models.config import FrozenConfig
from fuseline.models.errors import CheckpointError
from fuseline.models.features import Block, Classifier, Input
from fuseline.models.registry import MODELS
from tests.models.synthetic import Blocks

CALM = {
    "preset": "fasttext",
    "threads": 1,
    "deterministic": True,
    "epochs": 2,
    "rounds": 3,
    "min_rows": 5,
    "dim": 6,
    "steps": 1,
    "architecture": "mobilenet_v2",
}

every = pytest.mark.parametrize("name", sorted(MODELS))


def config(name: str) -> Any:
    """Return options that make a fit small and the same on every machine."""
    kind = MODELS[name].Config
    return kind.model_validate({key: value for key, value in CALM.items() if key in kind.model_fields})


def column(one: Input, y: np.ndarray[Any, np.dtype[np.int64]], rng: np.random.Generator) -> Column:
    """Return a column of a kind that tells the classes apart."""
    if one.kind is Text:
        return Text(pa.array([f"word{c} other{rng.integers(5)}" if rng.random() > 0.1 else None for c in y]))
    present = rng.random(len(y)) > 0.1
    if one.kind is Dense:
        X = (np.eye(8)[y] * 3 + rng.normal(size=(len(y), 8))).astype(np.float32)
        X[~present] = 0
        return Dense(X, present)
    if one.kind is Logits:
        logits = (np.eye(3)[y] * 2 + rng.normal(size=(len(y), 3))).astype(np.float32)
        return Logits(np.where(present[:, None], logits, 0), present, ("c0", "c1", "c2"))
    if one.kind is Codes:
        return Codes(np.stack([y * 4 + rng.integers(0, 3, len(y)) for _ in range(4)], axis=1).astype(np.uint8), present)
    if one.kind is Sequence:
        words = [[1 + c, 5 + rng.integers(5), *([0] if rng.random() < 0.3 else [])] if here else []
                 for c, here in zip(y, present, strict=True)]  # fmt: skip
        offsets = np.concatenate([[0], np.cumsum([len(row) for row in words])])
        return Sequence(offsets, np.array([word for row in words for word in row], np.int32), present, 9)
    if one.kind is Pixels:
        pictures = rng.integers(0, 60, (len(y), 8, 8, 3)).astype(np.uint8)
        pictures[np.arange(len(y)), :, :, y] += 150
        return Pixels((8, 8, 3), pictures.__getitem__, np.arange(len(y)), present)
    pytest.skip(f"no documents with {one.kind.kind} here")


def documents(name: str, n: int = 240, seed: int = 0) -> Block:
    """Return documents with the columns that a classifier declares, of three classes."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 3, n)
    labels = pa.array([[f"c{c}"] for c in y], pa.list_(pa.string()))
    columns = {one.name: column(one, y, rng) for one in MODELS[name].inputs(config(name))}
    return Block(pa.array([f"d{i}" for i in range(n)]), labels, columns)


def fit(name: str) -> Classifier:
    train, valid = Blocks(documents(name), 100), Blocks(documents(name, 90, 1))
    return MODELS[name](config(name)).fit(train, valid, seed=0)


fitted = cache(fit)


def saved(classifier: Classifier, folder: Path) -> dict[str, bytes]:
    folder.mkdir()
    classifier.save(folder)
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


@every
def test_a_classifier_says_what_it_is(name: str) -> None:
    classifier = MODELS[name]
    assert classifier.kind == name
    assert len(classifier.summary) > 15
    assert issubclass(classifier.Config, FrozenConfig)
    names = [one.name for one in classifier.inputs(classifier.Config())]
    assert len(names) == len(set(names)) > 0


@every
def test_logits_and_probabilities_belong_to_the_labels(name: str) -> None:
    classifier, block = fitted(name), documents(name, 60, 2)
    assert sorted(classifier.labels) == ["c0", "c1", "c2"]
    logits = classifier.predict_logits(block)
    assert (logits.shape, logits.dtype) == ((60, 3), np.float32)
    assert np.isfinite(logits).all()
    probabilities = classifier.probabilities(logits)
    assert ((probabilities >= 0) & (probabilities <= 1)).all()
    np.testing.assert_array_equal(probabilities.argmax(axis=1), logits.argmax(axis=1))
    np.testing.assert_allclose(classifier.predict_logits(block.at(slice(7, 9))), logits[7:9], rtol=1e-5, atol=1e-6)
    shares = classifier.importance(block, logits.argmax(axis=1))
    assert all(share.shape == (60,) for share in shares.values())
    assert set(classifier.sizes) == {one.name for one in classifier.inputs(classifier.config)}
    orjson.dumps(classifier.describe())


@every
def test_what_inputs_had_in_scores_can_be_told(name: str) -> None:
    classifier, block = fitted(name), documents(name, 30, 2)
    chosen = classifier.predict_logits(block).argmax(axis=1)
    names = {one.name for one in classifier.inputs(classifier.config)}
    falls, terms = left_out(classifier, block, chosen), times_gradient(classifier, block, chosen)
    assert falls.keys() == names >= terms.keys()
    for one in (*falls.values(), *terms.values()):
        assert one.values.shape == one.places.shape == (one.lengths.sum(),)
        assert np.isfinite(one.values).all()
    assert left_out(classifier, block.at(slice(0, 0)), chosen[:0]).keys() == names


@every
def test_documents_without_any_input_and_none_at_all_are_scored(name: str) -> None:
    classifier, block = fitted(name), documents(name, 5, 3)
    assert np.isfinite(classifier.predict_logits(block.masked(frozenset(block.columns)))).all()
    assert classifier.predict_logits(block.at(slice(0, 0))).shape == (0, 3)


@every
def test_a_checkpoint_is_whole_and_a_fit_repeats(name: str, tmp_path: Path) -> None:
    classifier, block = fitted(name), documents(name, 60, 2)
    first = saved(classifier, tmp_path / "first")
    back = MODELS[name].load(tmp_path / "first")
    np.testing.assert_array_equal(back.predict_logits(block), classifier.predict_logits(block))
    assert saved(back, tmp_path / "loaded") == first
    assert saved(fit(name), tmp_path / "again") == first
    other = MODELS["text" if name != "text" else "gmu"]
    with pytest.raises(CheckpointError):
        other.load(tmp_path / "first")
