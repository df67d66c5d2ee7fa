"""Scales, bins and vocabularies by hand; fitted on training rows, saved and read."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.preprocessing import KBinsDiscretizer, MinMaxScaler

from fuseline.models.encoders.tabular import Tabular, TabularConfig
from fuseline.models.errors import CheckpointError


def table(**columns: list[Any]) -> pa.Table:
    types = {"num": pa.float64(), "cat": pa.string()}
    return pa.table({name: pa.array(values, types[name[:3]]) for name, values in columns.items()})


TRAIN = table(num_age=[1.0, 3.0, None, 5.0], cat_breed=["pug", "lab", "pug", None])


def test_one_hot_and_min_max_by_hand() -> None:
    encoder = Tabular.fit([TRAIN], TabularConfig(), seed=0)
    assert encoder.names() == ["cat_breed=pug", "cat_breed=lab", "cat_breed missing", "num_age", "num_age missing"]
    new = table(num_age=[2.0, 99.0, None, float("inf")], cat_breed=["lab", "poodle", None, "pug"])
    vectors, present = encoder.encode(new)
    assert vectors.dtype == np.float32
    np.testing.assert_array_equal(vectors, [[0, 1, 0, 0.25, 0], [0, 0, 1, 1, 0], [0, 0, 1, 0, 1], [1, 0, 0, 0, 1]])
    np.testing.assert_array_equal(present, [True, True, False, True])
    np.testing.assert_array_equal(encoder.indices(new), [[2, 1], [0, 1], [0, 0], [1, 0]])


def test_flags_may_be_left_out_and_columns_chosen() -> None:
    encoder = Tabular.fit([TRAIN], TabularConfig(columns=("cat_breed",), flag_missing=False), seed=0)
    assert encoder.names() == ["cat_breed=pug", "cat_breed=lab"]
    assert encoder.dim == 2
    with pytest.raises(ValueError, match=r"tabular columns: expected \['num_none'\] in the training rows"):
        Tabular.fit([TRAIN], TabularConfig(columns=("num_none",)), seed=0)


@pytest.mark.parametrize("kind", ["quantile", "uniform"])
def test_bins_agree_with_scikit_learn(kind: Any) -> None:
    values = np.random.default_rng(0).exponential(size=(500, 1))
    encoder = Tabular.fit([table(num_x=values[:, 0].tolist())], TabularConfig(numeric=kind, bins=7), seed=0)
    peer = KBinsDiscretizer(7, encode="ordinal", strategy=kind, quantile_method="linear", subsample=None)
    expected = peer.fit_transform(values)[:, 0].astype(int)
    np.testing.assert_array_equal(encoder.indices(table(num_x=values[:, 0].tolist()))[:, 0] - 1, expected)
    vectors, _ = encoder.encode(table(num_x=values[:, 0].tolist()))
    np.testing.assert_array_equal(vectors[:, :7].argmax(axis=1), expected)
    assert (vectors.sum(axis=1) == 1).all()


def test_min_max_agrees_with_scikit_learn() -> None:
    values = np.random.default_rng(1).normal(size=(50, 1))
    encoder = Tabular.fit([table(num_x=values[:, 0].tolist())], TabularConfig(flag_missing=False), seed=0)
    vectors, _ = encoder.encode(table(num_x=values[:, 0].tolist()))
    np.testing.assert_allclose(vectors, MinMaxScaler().fit_transform(values), atol=1e-6)


def test_rare_and_many_values_are_unknown() -> None:
    train = table(cat_x=["a"] * 3 + ["b"] * 2 + ["c"] * 2 + ["d"])
    assert Tabular.fit([train], TabularConfig(min_count=2), seed=0).columns[0].values == ("a", "b", "c")
    assert Tabular.fit([train], TabularConfig(categories=2), seed=0).columns[0].values == ("a", "b")


def test_constant_and_empty_columns() -> None:
    train = table(num_same=[4.0, 4.0], num_none=[None, None], cat_none=[None, None])
    for kind in ("minmax", "quantile", "uniform"):
        encoder = Tabular.fit([train], TabularConfig(numeric=kind), seed=0)  # type: ignore[arg-type]
        assert [column.name for column in encoder.columns] == ["num_same"]
        vectors, present = encoder.encode(train)
        assert np.isfinite(vectors).all()
        assert present.all()
    nothing = Tabular.fit([], TabularConfig(), seed=0)
    assert nothing.encode(train)[0].shape == (2, 0)
    assert not nothing.encode(train)[1].any()


def test_absent_columns_are_missing_values() -> None:
    encoder = Tabular.fit([TRAIN], TabularConfig(), seed=0)
    vectors, present = encoder.encode(pa.table({"id": ["a", "b"]}))
    np.testing.assert_array_equal(vectors, [[0, 0, 1, 0, 1]] * 2)
    assert not present.any()


def test_quantiles_of_a_stream_are_sampled_fairly() -> None:
    values = np.arange(20_000.0)
    shards = [table(num_x=part.tolist()) for part in np.array_split(values, 20)]
    config = TabularConfig(numeric="quantile", bins=4, sample=2_000)
    encoder = Tabular.fit(shards, config, seed=3)
    np.testing.assert_allclose(encoder.columns[0].edges, [0, 5_000, 10_000, 15_000, 19_999], atol=700)
    assert Tabular.fit(shards, config, seed=3).columns == encoder.columns
    assert Tabular.fit(shards, config, seed=4).columns != encoder.columns


@given(
    st.lists(st.one_of(st.none(), st.floats(allow_nan=True)), min_size=1, max_size=30),
    st.sampled_from(["minmax", "quantile", "uniform"]),
)
def test_any_numbers_give_finite_vectors(values: list[float | None], kind: Any) -> None:
    data = table(num_x=values)
    with np.errstate(over="ignore", invalid="ignore"):
        vectors, present = Tabular.fit([data], TabularConfig(numeric=kind), seed=0).encode(data)
    assert np.isfinite(vectors).all()
    assert present.sum() == sum(value is not None and np.isfinite(value) for value in values)


def test_save_and_load(tmp_path: Path) -> None:
    for number, kind in enumerate(("minmax", "quantile", "uniform")):
        encoder = Tabular.fit([TRAIN], TabularConfig(numeric=kind, bins=3), seed=0)  # type: ignore[arg-type]
        folder = tmp_path / str(number)
        folder.mkdir()
        encoder.save(folder)
        again = Tabular.load(folder)
        assert again.columns == encoder.columns
        np.testing.assert_array_equal(again.encode(TRAIN)[0], encoder.encode(TRAIN)[0])
    (folder / "model.json").write_text('{"format": 1, "kind": "tabular"}')
    with pytest.raises(CheckpointError, match="tabular checkpoint: expected config and columns"):
        Tabular.load(folder)
