"""Heads over vectors: by hand in numpy, their sizes, missing inputs, importance, and what they can tell."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pydantic import ValidationError

from fuseline.models.classifiers.fusion import ConcatFrozen, CrossProducts, Fusion, FusionConfig, HighwayGate
from fuseline.models.columns import Dense
from fuseline.models.features import Block, vectors_name
from fuseline.models.registry import MODELS
from tests.models.reference import accuracy
from tests.models.synthetic import Blocks

NAMES = ("b", "hidden/net", "a")  # columns are taken in sorted order: a, b, hidden/net
WIDTHS = {"a": 3, "b": 5, "hidden/net": 4}
KINDS = ("concat_frozen", "highway_gate", "cross_product")
Arrays = dict[str, np.ndarray[Any, Any]]

every = pytest.mark.parametrize("kind", KINDS)


def documents(n: int = 200, seed: int = 0) -> Block:
    """Return documents whose class is told by the signs of the first numbers of two vectors together."""
    rng = np.random.default_rng(seed)
    columns, signs = {}, []
    for name, width in WIDTHS.items():
        X = rng.normal(size=(n, width)).astype(np.float32)
        X[:, 0] += 2 * np.sign(X[:, 0])
        present = rng.random(n) > 0.1
        signs.append(X[:, 0] > 0)
        X[~present] = np.nan
        columns[vectors_name(name)] = Dense(X, present)
    labels = [["same" if one == other else "other"] for one, other in zip(signs[0], signs[1], strict=True)]
    return Block(pa.array([f"d{i}" for i in range(n)]), pa.array(labels), columns)


def fitted(kind: str, train: Block | None = None, **options: Any) -> Fusion:
    quick = {"vectors": NAMES, "dim": 6, "epochs": 3, "lr": 0.01, "batch": 32, "dropout": 0.0, "first_length": 1.0}
    of: Any = MODELS[kind]
    model: Fusion = of(of.Config(**{**quick, **options})).fit(Blocks(train or documents(), 70), None, seed=0)
    return model


def unit(block: Block) -> list[np.ndarray[Any, Any]]:
    """Return the vectors in sorted order of their names, of length 1, zeros where they are missing."""
    found = []
    for name in sorted(WIDTHS):
        column = block.column(vectors_name(name), Dense)
        X = np.where(column.present[:, None], column.values, 0).astype(np.float64)
        found.append(X / np.maximum(np.linalg.norm(X, axis=1, keepdims=True), 1e-12))
    return found


def relu(X: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return np.maximum(X, 0)


def features(kind: str, arrays: Arrays, X: list[np.ndarray[Any, Any]], layers: int) -> np.ndarray[Any, Any]:
    """Return what the last layer reads, by the definition of each kind."""

    def linear(name: str, of: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        return of @ arrays[f"body.{name}.weight"].T + arrays.get(f"body.{name}.bias", 0)

    if kind == "concat_frozen":
        h = np.concatenate(X, axis=1)
        for number in range(layers - 1):
            h = relu(linear(f"layers.{number}.1", h))
        return h
    each = [linear(f"sum.maps.{number}", one) for number, one in enumerate(X)]
    if kind == "cross_product":
        pairs = [
            np.einsum("ni,nj->nij", each[i], each[j]).reshape(len(each[0]), -1) for i, j in ((0, 1), (0, 2), (1, 2))
        ]
        return np.concatenate([*each, *pairs], axis=1)
    h = np.sum(each, axis=0)
    for number in range(layers):
        t = 1 / (1 + np.exp(-linear(f"gates.{number}", h)))
        h = t * relu(linear(f"layers.{number}", h)) + (1 - t) * h
    return h


@pytest.mark.parametrize(
    ("kind", "layers"), [("concat_frozen", 1), ("concat_frozen", 3), ("highway_gate", 2), ("cross_product", 0)]
)
def test_features_and_logits_are_those_of_the_definition(kind: str, layers: int) -> None:
    model, block = fitted(kind, **({"layers": layers} if layers else {})), documents(30, 1)
    arrays: Arrays = {name: array.astype(np.float64) for name, array in model._arrays().items()}
    h = features(kind, arrays, unit(block), layers)
    np.testing.assert_allclose(model.hidden(block), h, rtol=1e-4, atol=1e-5)
    expected = h @ arrays["last.weight"].T + arrays["last.bias"]
    np.testing.assert_allclose(model.predict_logits(block), expected, rtol=1e-4, atol=1e-5)


@every
def test_the_first_vector_has_the_length_that_is_given(kind: str, tmp_path: Path) -> None:
    """The first that `vectors` names, b, stands second in the order in which columns are taken."""
    model, block = fitted(kind, first_length=0.3), documents(30, 1)
    arrays: Arrays = {name: array.astype(np.float64) for name, array in model._arrays().items()}
    a, b, net = unit(block)
    h = features(kind, arrays, [a, 0.3 * b, net], 1 if kind == "highway_gate" else 2)
    np.testing.assert_allclose(model.hidden(block), h, rtol=1e-4, atol=1e-5)
    model.save(tmp_path)
    np.testing.assert_array_equal(type(model).load(tmp_path).predict_logits(block), model.predict_logits(block))


def test_a_first_vector_that_says_nothing_is_made_short_by_valid() -> None:
    """Whose class is told by `a` alone, `hidden/net` is noise of the same length."""
    train, valid, test = (by_one(n, seed) for seed, n in enumerate((60, 200, 400)))
    options = {"vectors": ["hidden/net", "a"], "layers": 1, "dropout": 0.0, "lr": 0.05, "epochs": 60, "batch": 16}
    chosen = ConcatFrozen(ConcatFrozen.Config.model_validate(options)).fit(Blocks(train), Blocks(valid), seed=0)
    plain = ConcatFrozen(ConcatFrozen.Config.model_validate({**options, "first_length": 1.0}))
    assert chosen.config.first_length < 1
    assert accuracy(chosen, test) > accuracy(plain.fit(Blocks(train), Blocks(valid), seed=0), test)


def by_one(n: int, seed: int) -> Block:
    rng = np.random.default_rng(seed)
    a, noise = rng.normal(size=(n, 8)).astype(np.float32), rng.normal(size=(n, 200)).astype(np.float32)
    columns = {vectors_name("a"): a, vectors_name("hidden/net"): noise}
    own = {name: Dense(X, np.ones(n, np.bool_)) for name, X in columns.items()}
    return Block(pa.array([f"e{seed}-{i}" for i in range(n)]), pa.array([[str(x > 0)] for x in a[:, 0]]), own)


def test_sizes_are_those_of_the_formulas() -> None:
    D, H, C = sum(WIDTHS.values()), 6, 2
    sizes = {kind: fitted(kind, epochs=1).describe()["parameters"] for kind in KINDS}
    assert sizes["concat_frozen"] == (D + 1) * H + (H + 1) * C
    assert sizes["highway_gate"] == D * H + 2 * (H + 1) * H + (H + 1) * C
    assert sizes["cross_product"] == D * H + (3 * H + 3 * H * H + 1) * C
    assert fitted("concat_frozen", epochs=1, layers=1).describe()["parameters"] == (D + 1) * C
    assert fitted("concat_frozen", epochs=1, layers=3).describe()["parameters"] == (D + 1) * H + (H + 1) * (H + C)


@every
def test_two_inputs_tell_what_one_cannot(kind: str) -> None:
    model, test = fitted(kind, documents(600), epochs=40, dim=16), documents(300, 1)
    assert accuracy(model, test) > 0.8  # one in five lacks one of both
    for name in ("embed/a", "embed/b"):
        assert 0.35 < accuracy(model, test.masked(frozenset({name}))) < 0.65
    assert accuracy(model, test.masked(frozenset({"hidden/net"}))) > 0.8


@every
def test_a_missing_input_gives_nothing(kind: str) -> None:
    model, block = fitted(kind), documents(40, 1)
    masked = block.masked(frozenset({"embed/a"}))
    terms = model.importance(masked, np.zeros(40, np.int64))
    assert set(terms) == {"a", "b", "hidden/net"}
    assert not terms["a"].any()
    some = ~(terms["b"] + terms["hidden/net"] == 0)
    np.testing.assert_allclose((terms["b"] + terms["hidden/net"])[some], 1, rtol=1e-5)
    nothing = block.masked(frozenset(block.columns))
    assert not any(share.any() for share in model.importance(nothing, np.zeros(40, np.int64)).values())
    assert len(np.unique(model.predict_logits(nothing).round(5), axis=0)) == 1


def test_terms_of_a_linear_map_add_up_to_the_logit() -> None:
    model, block = fitted("concat_frozen", layers=1), documents(30, 1)
    W, chosen = model._arrays()["last.weight"], np.arange(30) % 2
    ends = np.cumsum([0, *(WIDTHS[name] for name in sorted(WIDTHS))])
    terms = [np.abs((X * W[chosen, lo:hi]).sum(axis=1)) for X, lo, hi in zip(unit(block), ends, ends[1:], strict=False)]
    shares = model.importance(block, chosen)
    total = np.maximum(np.sum(terms, axis=0), 1e-12)
    for name, term in zip(sorted(WIDTHS), terms, strict=True):
        np.testing.assert_allclose(shares[name], term / total, rtol=1e-4, atol=1e-6)


def test_one_vector_is_enough_for_a_probe_and_for_nothing_else() -> None:
    assert fitted("concat_frozen", vectors=("a",), layers=1).hidden(documents(3)).shape == (3, 3)
    for kind in (HighwayGate, CrossProducts):
        with pytest.raises(ValidationError, match="vectors"):
            kind.Config(vectors=("a",))  # type: ignore[call-arg]


def test_names_that_would_be_one_branch_are_refused() -> None:
    with pytest.raises(ValidationError, match=r"differ in more than '\.' and '_', got \['a\.b', 'a_b'\]; rename one"):
        FusionConfig(vectors=("a.b", "a_b"))
    assert ConcatFrozen.Config(vectors=("a.b", "ab"))  # type: ignore[call-arg]


@every
def test_vectors_of_another_width_are_refused_by_name(kind: str) -> None:
    model, block = fitted(kind), documents(3)
    other = Dense(np.zeros((3, 7), np.float32), np.ones(3, np.bool_))
    with pytest.raises(ValueError, match=r"embed/a: expected Size\(.*width=3.*width=7.*; predict with what"):
        model.predict_logits(Block(block.ids, block.labels, {**block.columns, "embed/a": other}))


@every
def test_of_no_documents_every_input_has_no_share(kind: str) -> None:
    """Without a batch no input had an entry, and the call ended in an error."""
    nothing = np.zeros(0, np.int64)
    shares = fitted(kind).importance(documents(3).at(nothing), nothing)
    assert sorted(map(len, shares.values())) == [0, 0, 0]
