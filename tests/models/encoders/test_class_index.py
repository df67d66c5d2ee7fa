"""Vocabularies by hand: order, unknown values, bounds, saved and read."""

from pathlib import Path

import pyarrow as pa
import pytest

from fuseline.models.encoders.class_index import ClassIndex, ClassIndexConfig
from fuseline.models.errors import CheckpointError

LISTS = pa.array([["dog", "Cat"], [], ["cat", "car", "cat"], None], pa.list_(pa.string()))


def test_indices_by_hand() -> None:
    vocabulary = ClassIndex.fit([LISTS], ClassIndexConfig())
    assert vocabulary.values == ("cat", "car", "dog")
    found = vocabulary.encode(pa.array([["Dog", "bus", "cat"], None, []], pa.list_(pa.string())))
    assert found.type == pa.list_(pa.int32())
    assert found.to_pylist() == [[3, 0, 1], [], []]
    assert vocabulary.encode(LISTS.slice(2, 1)).to_pylist() == [[1, 2, 1]]


def test_rare_values_case_and_long_values() -> None:
    assert ClassIndex.fit([LISTS], ClassIndexConfig(min_count=2)).values == ("cat",)
    assert ClassIndex.fit([LISTS], ClassIndexConfig(size=2)).values == ("cat", "car")
    assert ClassIndex.fit([LISTS], ClassIndexConfig(lower=False)).values == ("cat", "Cat", "car", "dog")
    endless = pa.array([["x" * 1_000_000]], pa.list_(pa.string()))
    assert ClassIndex.fit([endless], ClassIndexConfig()).values == ("x" * 100,)


def test_counting_is_bounded_and_keeps_what_is_frequent() -> None:
    many = (
        pa.array([[f"v{n}" for n in range(k, k + 100)] + ["often"]], pa.list_(pa.string())) for k in range(0, 4000, 100)
    )
    vocabulary = ClassIndex.fit(many, ClassIndexConfig(size=4, min_count=2))
    assert vocabulary.values == ("often",)


def test_save_and_load(tmp_path: Path) -> None:
    vocabulary = ClassIndex.fit([LISTS], ClassIndexConfig())
    vocabulary.save(tmp_path)
    again = ClassIndex.load(tmp_path)
    assert (again.values, again.config) == (vocabulary.values, vocabulary.config)
    (tmp_path / "model.json").write_text('{"format": 1, "kind": "vocabulary"}')
    with pytest.raises(CheckpointError, match="vocabulary checkpoint: expected config and values"):
        ClassIndex.load(tmp_path)
