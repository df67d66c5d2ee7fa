"""Checkpoints: equal bytes for equal values, and refusals."""

import json
from pathlib import Path

import numpy as np
import pytest

from models.checkpoint import ARRAYS, META, load_checkpoint, save_checkpoint
from models.errors import CheckpointError


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
