"""Checkpoints: equal bytes for equal values, and refusals."""

import json
import math
import re
from pathlib import Path

import numpy as np
import pytest

from fuseline.models.checkpoint import (
    ARRAYS,
    META,
    Checkpoint,
    checked_number,
    checked_texts,
    load_checkpoint,
    nested,
    save_checkpoint,
)  # fmt: skip
from fuseline.models.errors import CheckpointError


def test_round_trip_and_equal_bytes(tmp_path: Path) -> None:
    arrays = {"b": np.arange(6, dtype=np.int64).reshape(2, 3).T, "a": np.float32([1.5])}
    save_checkpoint(tmp_path, "x", meta={"labels": ["ö", "a"], "z": None}, arrays=arrays)
    first = (tmp_path / META).read_bytes(), (tmp_path / ARRAYS).read_bytes()
    saved = load_checkpoint(tmp_path, "x")
    np.testing.assert_array_equal(saved.arrays["b"], arrays["b"])
    assert saved.meta["labels"] == ["ö", "a"]
    save_checkpoint(tmp_path, "x", meta={"z": None, "labels": ["ö", "a"]}, arrays=dict(reversed(arrays.items())))
    assert ((tmp_path / META).read_bytes(), (tmp_path / ARRAYS).read_bytes()) == first
    assert str(tmp_path).encode() not in first[0] + first[1]


def test_what_it_is_can_be_read_line_by_line(tmp_path: Path) -> None:
    """These bytes decide the digest of a checkpoint, and with it the name of its folder."""
    save_checkpoint(tmp_path, "x", meta={"labels": ["ö"], "z": None}, arrays={})
    lines = ["{", ' "format": 1,', ' "kind": "x",', ' "labels": [', '  "ö"', " ],", ' "z": null', "}", ""]
    assert (tmp_path / META).read_text("utf-8").split("\n") == lines


@pytest.mark.parametrize("version", [0, 2, None, "1"])
def test_unknown_format_version_is_refused(tmp_path: Path, version: object) -> None:
    save_checkpoint(tmp_path, "x", meta={}, arrays={})
    meta = json.loads((tmp_path / META).read_text()) | {"format": version}
    (tmp_path / META).write_text(json.dumps(meta))
    with pytest.raises(CheckpointError, match="train again"):
        load_checkpoint(tmp_path)


def test_damage_and_the_wrong_kind_are_refused(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, "x", meta={}, arrays={"a": np.zeros(3)})
    with pytest.raises(CheckpointError, match="expected 'y', got 'x'"):
        load_checkpoint(tmp_path, "y")
    (tmp_path / ARRAYS).write_bytes((tmp_path / ARRAYS).read_bytes()[:-1])
    with pytest.raises(CheckpointError, match="safetensors"):
        load_checkpoint(tmp_path)
    (tmp_path / META).write_text("{")
    with pytest.raises(CheckpointError, match="JSON"):
        load_checkpoint(tmp_path)


def test_no_number_that_json_lacks(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        save_checkpoint(tmp_path, "x", meta={"threshold": float("nan")}, arrays={})


@pytest.mark.parametrize(
    ("shape", "ok"), [((2, 3), True), ((None, 3), True), ((None, None), True), ((2,), False), ((2, 3, 1), False),
                      ((2, 2), False), ((None, 2), False), ((3, 2), False)],
)  # fmt: skip
def test_an_array_has_exactly_the_shape_asked_for(shape: tuple[int | None, ...], ok: bool) -> None:
    saved = Checkpoint({}, {"a": np.zeros((2, 3), np.int64)})
    if ok:
        assert saved.array("a", np.int64, *shape) is saved.counts("a", *shape) is saved.arrays["a"]
    else:
        with pytest.raises(CheckpointError, match=re.escape("got int64 (2, 3)")):
            saved.array("a", np.int64, *shape)


def test_an_array_has_exactly_the_type_asked_for() -> None:
    with pytest.raises(CheckpointError, match=r"expected float32.*got float64"):
        Checkpoint({}, {"a": np.zeros(2)}).array("a", np.float32, 2)
    with pytest.raises(CheckpointError, match="got none"):
        Checkpoint({}, {}).array("a", np.float32, 2)


@pytest.mark.parametrize("values", [[-1], [3, -1], [-1, 3]])
def test_counts_are_not_below_zero(values: list[int]) -> None:
    with pytest.raises(CheckpointError, match="no number below 0, got -1"):
        Checkpoint({}, {"a": np.array(values)}).counts("a", None)
    assert Checkpoint({}, {"a": np.array([], np.int64)}).counts("a", None).size == 0


@pytest.mark.parametrize("value", [True, False, "1", None, [1], -0.1, 1.1, math.nan, math.inf, -math.inf])
def test_a_number_lies_within_its_bounds(value: object) -> None:
    with pytest.raises(CheckpointError, match=r"a number within 0\.\.1"):
        checked_number("share", value, low=0, high=1)
    assert [checked_number("share", v, low=0, high=1) for v in (0, 0.5, 1)] == [0, 0.5, 1]


def test_no_number_is_endless() -> None:
    with pytest.raises(CheckpointError, match="got inf"):
        checked_number("share", math.inf)
    assert checked_number("share", 1e300) == 1e300


@pytest.mark.parametrize("values", [None, "ab", ("a",), {"a": 1}, [1], ["a", 1], [1, "a"], ["a", "b", "a"]])
def test_labels_are_a_list_of_different_strings(values: object) -> None:
    with pytest.raises(CheckpointError, match="labels of a checkpoint"):
        checked_texts("labels", values)
    assert checked_texts("labels", ["b", "a"]) == ["b", "a"]


def test_half_a_character_is_no_label() -> None:
    with pytest.raises(ValueError, match="surrogates"):
        checked_texts("labels", ["a", "\ud800"])


@pytest.mark.parametrize("head", [[], "x", None, {"format": True, "kind": "x"}, {"kind": "x"}])
def test_a_head_that_is_none_is_refused(tmp_path: Path, head: object) -> None:
    save_checkpoint(tmp_path, "x", meta={}, arrays={})
    (tmp_path / META).write_text(json.dumps(head))
    with pytest.raises(CheckpointError, match="train again"):
        load_checkpoint(tmp_path)


def test_nested_without_end_is_no_json(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, "x", meta={}, arrays={})
    (tmp_path / META).write_text("[" * 100_000)
    with pytest.raises(CheckpointError, match="JSON"):
        load_checkpoint(tmp_path)


def test_checkpoints_nest_with_arrays_and_files_at_any_depth(tmp_path: Path) -> None:
    leaf = Checkpoint({"labels": ["a"]}, {"W": np.float32([1, 2])}, {"trees.txt": b"tree\n", "v.json": b"[1]"})
    middle = nested(Checkpoint({"x": 1}, {}), {"left": leaf, "right": Checkpoint({}, {"W": np.float32([3])})})
    outer = nested(Checkpoint({"x": 2}, {"b": np.int64([7])}), {"part": middle})
    save_checkpoint(tmp_path, "x", meta=outer.meta, arrays=outer.arrays, files=outer.files)
    assert all(path.is_file() for path in tmp_path.iterdir())
    saved = load_checkpoint(tmp_path, "x")
    again = saved.part("part").part("left")
    assert (again.meta, again.files) == (leaf.meta, leaf.files)
    assert again.json("v.json") == [1]
    np.testing.assert_array_equal(again.arrays["W"], leaf.arrays["W"])
    assert saved.part("part").part("right").files == {}
    assert nested(leaf, {}) is leaf
    with pytest.raises(KeyError):
        saved.part("other")
