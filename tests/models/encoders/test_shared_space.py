"""Shared spaces: against scikit-learn's canonical correlations, matched and unmatched inputs, and missing ones."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pydantic import ValidationError
from sklearn.cross_decomposition import CCA

from fuseline.models.columns import Dense
from fuseline.models.encoders.shared_space import SharedSpace, SharedSpaceConfig
from fuseline.models.errors import CheckpointError
from fuseline.models.features import Block
from tests.models.synthetic import Blocks


def block(n: int = 300, *, present: Any = None, third: bool = False) -> Block:
    """Two inputs that share two numbers, among others of their own."""
    rng = np.random.default_rng(0)
    z, here = rng.normal(size=(n, 2)), np.ones(n, bool)
    parts = {"image": 6, "text": 4, **({"other": 3} if third else {})}
    columns = {
        f"embed/{name}": Dense(
            (z @ rng.normal(size=(2, D)) + 0.5 * rng.normal(size=(n, D)) + 3).astype(np.float32),
            here if present is None or name != "image" else present,
        )
        for name, D in parts.items()
    }
    return Block(pa.array([f"d{i}" for i in range(n)]), pa.array([[]] * n, pa.list_(pa.string())), columns)


def fitted(data: Block, *, rows: int = 10_000, **options: Any) -> SharedSpace:
    return SharedSpace(SharedSpaceConfig(**options)).fit(Blocks(data, rows))


def test_correlations_are_scikit_learns() -> None:
    data = block()
    space = fitted(data, dimensions=2, ridge=1e-9)
    A, B = (data.columns[f"embed/{name}"].values for name in ("image", "text"))
    u, v = CCA(2, max_iter=2000, tol=1e-10).fit_transform(A, B)
    expected = [np.corrcoef(u[:, k], v[:, k])[0, 1] for k in (0, 1)]
    (found,) = space.correlations.values()
    assert found == pytest.approx(expected, abs=1e-4)
    one = next(iter(space.projections.values()))
    x = (A - one.means[0]) @ one.maps[0]
    np.testing.assert_allclose(np.cov(x.T, bias=True), np.eye(2), atol=1e-4)
    for k in (0, 1):
        assert abs(np.corrcoef(x[:, k], u[:, k])[0, 1]) == pytest.approx(1, abs=1e-3)


def test_inputs_of_one_document_are_more_alike_than_of_two() -> None:
    data, space = block(), fitted(block(), dimensions=2)
    own = space.similarities(data)[:, 0]
    text = data.columns["embed/text"]
    shifted = Block(data.ids, data.labels, {**data.columns, "embed/text": text.at(np.roll(np.arange(300), 7))})
    assert own.mean() > 0.7
    assert abs(space.similarities(shifted)[:, 0].mean()) < 0.2
    one = next(iter(space.projections.values()))
    u, v = (
        (data.columns[f"embed/{name}"].values - one.means[i]) @ one.maps[i] for i, name in enumerate(("image", "text"))
    )
    by_hand = (u * v).sum(1) / np.linalg.norm(u, axis=1) / np.linalg.norm(v, axis=1)
    np.testing.assert_allclose(own, by_hand, rtol=1e-5)


def test_a_pair_that_a_document_lacks_is_not_a_number() -> None:
    has = np.arange(300) % 4 > 0
    data = block(present=has, third=True)
    space = fitted(data, inputs=("image", "text", "other"))
    found = space.similarities(data)
    assert found.shape == (300, 3)  # image and text, image and other, text and other
    np.testing.assert_array_equal(np.isnan(found), np.stack([~has, ~has, np.zeros(300, bool)], axis=1))
    other = block(present=has, third=True)
    other.columns["embed/image"].values[~has] = 99
    np.testing.assert_allclose(fitted(other, inputs=("image", "text", "other")).similarities(data), found)


def test_shards_change_nothing() -> None:
    one, other = fitted(block()), fitted(block(), rows=17)
    np.testing.assert_allclose(one.similarities(block()), other.similarities(block()), atol=1e-5)


def test_constant_and_few_numbers_do_no_harm() -> None:
    data = block(4)
    data.columns["embed/text"].values[:] = 1
    assert np.isfinite(fitted(data).similarities(data)).all()


def test_a_checkpoint_gives_the_same(tmp_path) -> None:
    space = fitted(block(), dimensions=3)
    space.save(tmp_path)
    np.testing.assert_array_equal(SharedSpace.load(tmp_path).similarities(block()), space.similarities(block()))
    text = (tmp_path / "model.json").read_text()
    (tmp_path / "model.json").write_text(text.replace('"text"', '"text", "more"'))
    with pytest.raises(CheckpointError):
        SharedSpace.load(tmp_path)


def test_what_cannot_be_compared_is_refused() -> None:
    with pytest.raises(ValueError, match="expected 3 training documents with both embed/image and embed/text, got 0"):
        fitted(block(present=np.zeros(300, bool)))
    with pytest.raises(ValidationError, match="inputs"):
        SharedSpaceConfig(inputs=("image",))
    wide = Block(
        pa.array(["a"]),
        pa.array([[]], pa.list_(pa.string())),
        {f"embed/{name}": Dense(np.zeros((1, 9000), np.float32), np.ones(1, bool)) for name in ("image", "text")},
    )
    with pytest.raises(ValueError, match="at most 8192 numbers, got 9000 of embed/image"):
        fitted(wide)
