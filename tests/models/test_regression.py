"""A regression: beside scikit-learn's, its loss beside torch's, saved and loaded, bad input."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pytest
import torch
from sklearn.linear_model import LinearRegression
from sklearn.metrics import r2_score

from fuseline.models.checkpoint import CheckpointError
from fuseline.models.columns import Dense, Size
from fuseline.models.encoders.known_numbers import Moments
from fuseline.models.features import Block
from fuseline.models.regression import Regressor, RegressorConfig, ValueTask, decoded, encoded

T = "targets/cost"
LINEAR = {"layers": 1, "dropout": 0.0, "epochs": 200, "lr": 0.02, "vectors": ["a", "b"]}


@dataclass
class Given:
    parts: list[Block]

    @property
    def n_rows(self):
        return sum(map(len, self.parts))

    def blocks(self):
        yield from self.parts


def block(n, *, seed=0, noise=0.1, has=None, known=None, log=False):
    rng = np.random.default_rng(seed)
    A, B = rng.normal(3, 2, size=(n, 4)).astype(np.float32), rng.normal(-1, 5, size=(n, 3)).astype(np.float32)
    y = A @ [1.0, -2, 0, 0.5] + B @ [0.2, 0, 0.3] + 7 + noise * rng.normal(size=n)
    y = np.expm1(0.3 * y + 3).clip(0) if log else y
    has, known = (np.ones(n, bool) if mask is None else mask for mask in (has, known))
    columns = {
        "embed/a": Dense(np.where(has[:, None], A, 0).astype(np.float32), has),
        "embed/b": Dense(np.where(has[:, None], B, 0).astype(np.float32), has),
        T: Dense(np.where(known, y, 0).astype(np.float32)[:, None], known),
    }
    return Block(pa.array([f"d{i}" for i in range(n)]), pa.array([[]] * n, pa.list_(pa.string())), columns)


def with_column(one, name, values):
    column = Dense(np.asarray(values, np.float32), np.ones(len(values), bool))
    return Block(one.ids, one.labels, {**one.columns, name: column})


def of(one):
    return one.columns[T].values[:, 0].astype(np.float64)


def fitted(train, **options):
    return Regressor(RegressorConfig(**{**LINEAR, **options})).fit(Given(train), T, seed=1)


def test_a_linear_one_is_that_of_scikit_learn():
    train, test = [block(150, seed=1), block(150, seed=2)], block(200, seed=3)
    X = [np.hstack([one.columns[name].values for name in ("embed/a", "embed/b")]) for one in (*train, test)]
    least = LinearRegression().fit(np.concatenate(X[:2]), np.concatenate([of(one) for one in train])).predict(X[2])
    found = fitted(train).estimate(test)
    assert np.abs(found - least).max() < 0.02 * np.ptp(least)
    assert r2_score(of(test), found) > 0.99


def test_a_logarithm_is_learnt_and_taken_back():
    train, test = [block(400, seed=1, log=True)], block(200, seed=3, log=True)
    found = fitted(train, transform="log").estimate(test)
    assert (found >= 0).all()
    assert r2_score(np.log1p(of(test)), np.log1p(found)) > 0.97
    y = np.array([0.0, 1.0, 1e6])
    np.testing.assert_allclose(decoded(encoded(y, "log"), "log"), y)
    assert decoded(np.array([-3.0, 1e9]), "log").tolist() == [0, np.expm1(700.0)]


def test_a_hidden_layer_learns_what_no_line_can():
    def bent(seed):
        one = block(600, seed=seed)
        A = one.columns["embed/a"].values
        return with_column(one, T, np.abs(A[:, :1] - 3))

    test = bent(9)
    options = {"layers": 2, "dim": 32, "epochs": 60, "lr": 0.01}
    assert r2_score(of(test), fitted([bent(1)], **options).estimate(test)) > 0.8
    assert r2_score(of(test), fitted([bent(1)]).estimate(test)) < 0.3


@pytest.mark.parametrize(("error", "expected"), [("mse", (0.25 + 4) / 2), ("huber", (0.125 + 0.5 * (2 - 0.25)) / 2)])
def test_losses_by_hand(error, expected):
    moments = Moments(1)
    moments.add(np.array([[0.0], [2.0]], np.float32), np.ones((2, 1), bool))
    config = RegressorConfig(error=error, delta=0.5)
    task = ValueTask(config, T, {"embed/a"}, moments)
    assert (task.center, task.scale, task.documents, task.outputs) == (1.0, 1.0, 2, 1)
    loss = task.objective(torch.device("cpu"))
    assert float(loss(torch.tensor([[0.5], [2.0]]), torch.zeros(2, 1))) == pytest.approx(expected)


def test_documents_without_number_or_input_teach_nothing_and_an_input_alone_may_be_missing():
    has, known = np.arange(300) % 3 > 0, np.arange(300) % 4 > 0
    part = block(300, seed=1, has=has, known=known)
    one = fitted([part])
    assert one.facts["documents"] == (has & known).sum()
    other = fitted([part.at(np.flatnonzero(has & known))])
    np.testing.assert_allclose(one.estimate(part), other.estimate(part), rtol=1e-4, atol=1e-4)
    assert one.present(part).tolist() == has.tolist()
    assert one.estimate(part.at(np.flatnonzero(~has)))[0] == pytest.approx(one.origin, abs=0.05)
    assert len(one.estimate(part.at(np.zeros(0, np.int64)))) == 0


def test_it_is_saved_and_loaded_with_equal_bytes(tmp_path):
    one, test = fitted([block(100, log=True)], epochs=3, transform="log", error="huber"), block(30, seed=5)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    one.save(tmp_path / "a")
    again = Regressor.load(tmp_path / "a")
    np.testing.assert_array_equal(one.estimate(test), again.estimate(test))
    again.save(tmp_path / "b")
    assert {p.name: p.read_bytes() for p in (tmp_path / "a").iterdir()} == {
        p.name: p.read_bytes() for p in (tmp_path / "b").iterdir()
    }
    assert fitted([block(100, log=True)], epochs=3, transform="log", error="huber").estimate(test).tolist() == (
        one.estimate(test).tolist()
    )
    meta = tmp_path / "a" / "model.json"
    meta.write_text(meta.read_text().replace('"embed/a"', '"embed/c"'))
    with pytest.raises(CheckpointError):
        Regressor.load(tmp_path / "a")


def test_what_cannot_be_is_refused():
    for options, message in (
        ({"loss": "softmax"}, "loss: expected 'auto' for a number, got 'softmax'; leave it out"),
        ({"select": "accuracy"}, "select: expected None for a number"),
        ({"vectors": ["a.b", "a_b"]}, "vectors: expected names that differ"),
    ):
        with pytest.raises(ValueError, match=message):
            RegressorConfig(**options)
    with pytest.raises(ValueError, match="targets/cost: expected training documents with a number"):
        fitted([block(20, known=np.zeros(20, bool))])
    one, test = fitted([block(50)], epochs=1), block(5)
    wide = Block(
        test.ids, test.labels, {**test.columns, "embed/a": Dense(np.zeros((5, 9), np.float32), np.ones(5, bool))}
    )
    assert one.sizes["embed/a"] == Size("dense", 4)
    with pytest.raises(ValueError, match=r"embed/a: expected .*got .*; estimate with"):
        one.estimate(wide)


def test_equal_numbers_and_a_single_document_are_estimated_as_they_are():
    for n in (1, 40):
        same = block(n)
        same = Block(
            same.ids, same.labels, {**same.columns, T: Dense(np.full((n, 1), 5.0, np.float32), np.ones(n, bool))}
        )
        one = fitted([same], epochs=40)
        assert np.abs(one.estimate(same) - 5).max() < 0.5
        assert one.origin == 5
