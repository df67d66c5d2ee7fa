"""A digest depends on values and their order alone."""

import decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fuseline.stores.digests import (
    bytes_digest,
    cell_digests,
    column_digest,
    combine,
    file_digest,
    key_digest,
    row_digests,
)
from fuseline.stores.errors import DataError

texts = st.none() | st.text(max_size=4)
floats = st.floats(width=32, allow_nan=False).map(lambda x: x + 0.0)
POINT = pa.struct([("a", pa.string()), ("b", pa.list_(pa.int8()))])
KINDS: dict[str, tuple[pa.DataType, Any]] = {
    "string": (pa.string(), st.text(max_size=4)),
    "large_string": (pa.large_string(), st.text(max_size=4)),
    "binary": (pa.binary(), st.binary(max_size=4)),
    "fixed_binary": (pa.binary(2), st.binary(min_size=2, max_size=2)),
    "bool": (pa.bool_(), st.booleans()),
    "int64": (pa.int64(), st.integers(-3, 3)),
    "float32": (pa.float32(), floats),
    "list": (pa.list_(pa.string()), st.lists(texts, max_size=3)),
    "nested": (pa.list_(pa.list_(pa.int32())), st.lists(st.none() | st.lists(st.integers(0, 2), max_size=2))),
    "vector": (pa.list_(pa.float32(), 2), st.lists(st.none() | floats, min_size=2, max_size=2)),
    "words": (pa.list_(pa.string(), 2), st.lists(texts, min_size=2, max_size=2)),
    "flags": (pa.list_(pa.bool_(), 2), st.lists(st.booleans(), min_size=2, max_size=2)),
    "struct": (POINT, st.fixed_dictionaries({"a": texts, "b": st.none() | st.lists(st.integers(0, 2), max_size=2)})),
    "thin": (pa.struct([("a", pa.string())]), st.fixed_dictionaries({"a": texts})),
    "structs": (
        pa.list_(pa.struct([("label", pa.string()), ("score", pa.float32())])),
        st.lists(st.fixed_dictionaries({"label": texts, "score": st.none() | floats}), max_size=2),
    ),
    "dictionary": (pa.dictionary(pa.int32(), pa.string()), st.text(max_size=3)),
}
columns = st.sampled_from(sorted(KINDS)).flatmap(
    lambda name: st.tuples(st.just(KINDS[name][0]), st.lists(st.none() | KINDS[name][1], max_size=6))
)


def made(values: list[Any], kind: pa.DataType) -> pa.Array:
    if pa.types.is_dictionary(kind):
        return pa.array(values, kind.value_type).dictionary_encode()
    return pa.array(values, kind)


@settings(max_examples=300)
@given(columns, st.data())
def test_chunks_offsets_and_neighbours_make_no_difference(column, data):
    kind, values = column
    alone = [cell_digests(made([value], kind))[0].tobytes() for value in values]
    whole = cell_digests(made(values, kind))
    assert whole.shape == (len(values), 16)
    assert [row.tobytes() for row in whole] == alone
    cut = data.draw(st.integers(0, len(values)))
    chunks = pa.chunked_array([made(values[:cut], kind), made(values[cut:], kind)])
    assert np.array_equal(cell_digests(chunks), whole)
    before = data.draw(st.lists(st.sampled_from([None, *values]), max_size=3))
    sliced = made([*before, *values, *before], kind).slice(len(before), len(values))
    assert np.array_equal(cell_digests(sliced), whole)
    assert column_digest(sliced) == column_digest(chunks)


@settings(max_examples=300)
@given(columns)
def test_different_values_have_different_digests(column):
    kind, values = column
    array = made(values, kind)
    seen = {repr(value): digest.tobytes() for value, digest in zip(array.to_pylist(), cell_digests(array), strict=True)}
    assert len(set(seen.values())) == len(seen)


@given(columns)
def test_hidden_values_under_nulls_make_no_difference(column):
    kind, values = column
    array = made(values, kind)
    if pa.types.is_dictionary(kind) or pa.types.is_nested(kind):
        return
    mask = np.arange(len(values)) % 2 == 0
    clean = pa.array([None if hide else value for hide, value in zip(mask, values, strict=True)], kind)
    bitmap = pa.array(~mask & ~np.asarray(array.is_null(), dtype=bool)).buffers()[1]
    dirty = pa.Array.from_buffers(kind, len(array), [bitmap, *array.buffers()[1:]])
    assert np.array_equal(cell_digests(dirty), cell_digests(clean))


def test_null_empty_and_zero_differ():
    texts = cell_digests(pa.array([None, "", "0", "\x00"]))
    numbers = cell_digests(pa.array([None, 0, 1]))
    lists = cell_digests(pa.array([None, [], [None], [""], ["", ""]], pa.list_(pa.string())))
    for cells in (texts, numbers, lists):
        assert len({cell.tobytes() for cell in cells}) == len(cells)
    assert column_digest(pa.nulls(2)) == column_digest(pa.nulls(2, pa.string()))


def test_a_null_struct_is_no_struct_of_nulls():
    kind = pa.struct([("a", pa.int8())])
    null, hollow = cell_digests(pa.array([None, {"a": None}], kind))
    assert null.tobytes() != hollow.tobytes()


def test_a_vector_has_the_same_digest_beside_a_vector_with_a_hole():
    kind = pa.list_(pa.float32(), 2)
    alone = cell_digests(pa.array([[3.0, 4.0]], kind))
    beside = cell_digests(pa.array([[1.0, None], [3.0, 4.0]], kind))
    assert np.array_equal(alone[0], beside[1])


@pytest.mark.parametrize(
    "column",
    [
        pa.array([decimal.Decimal("1.5")]),
        pa.array(["a"], pa.string_view()),
        pa.array([[("a", 1)]], pa.map_(pa.string(), pa.int8())),
    ],
    ids=["decimal", "string_view", "map"],
)
def test_a_type_that_has_no_stable_bytes_is_refused(column):
    with pytest.raises(DataError, match=r"column of type .*cast"):
        cell_digests(column)


@given(st.lists(st.text(max_size=3), min_size=2, max_size=5, unique=True))
def test_order_matters(values):
    assert column_digest(pa.array(values)) != column_digest(pa.array(values[::-1]))


@given(st.lists(st.tuples(texts, st.none() | st.integers(0, 3)), max_size=5), st.integers(0, 5))
def test_rows_are_digested_one_by_one(rows, cut):
    table = pa.table(
        {
            "a": pa.array([row[0] for row in rows], pa.string()),
            "b": pa.array([row[1] for row in rows], pa.int64()),
        }
    )
    whole = row_digests(table, ["a", "b"])
    parts = [row_digests(part, ["a", "b"]) for part in (table.slice(0, cut), table.slice(cut))]
    assert np.array_equal(np.concatenate(parts), whole)
    assert len({row.tobytes() for row in whole}) == len(set(rows))


def test_columns_of_a_row_do_not_run_together():
    table = pa.table({"a": ["ab", "a"], "b": ["c", "bc"]})
    first, second = row_digests(table, ["a", "b"])
    assert first.tobytes() != second.tobytes()
    assert not np.array_equal(row_digests(table, ["a", "b"]), row_digests(table, ["b", "a"]))


@given(st.lists(st.text(st.characters(codec="ascii", exclude_characters="\n"), max_size=3), max_size=4))
def test_combine_keeps_the_order_and_the_borders(parts):
    assert combine(parts) == combine(iter(parts))
    if parts != parts[::-1]:
        assert combine(parts) != combine(parts[::-1])
    assert combine([*parts, "x"]) != combine([*parts[:-1], (parts[-1] if parts else "") + "x", "y"])


def test_keys_do_not_depend_on_the_order_of_a_mapping():
    assert key_digest({"a": 1, "b": {"c": 2, "d": 3}}) == key_digest({"b": {"d": 3, "c": 2}, "a": 1})
    assert key_digest({"a": 1}) != key_digest({"a": "1"})
    assert key_digest({"a": [1, 2]}) != key_digest({"a": [2, 1]})
    assert key_digest({"a": None}) != key_digest({})


def test_files_and_bytes_have_the_same_digest(tmp_path):
    data = bytes(range(256)) * 8200
    (tmp_path / "f").write_bytes(data)
    assert file_digest(tmp_path / "f") == bytes_digest(data)
    assert file_digest(tmp_path / "f") != bytes_digest(data + b"\x00")


def test_digests_are_pinned():
    """Every dataset on every disk is addressed by these: a change here makes all of them stale."""
    assert key_digest({"stage": "clean", "version": 1, "config": {"b": [1, None], "a": 0.5}}) == "82ad4105f6ecfac27d6e"
    assert bytes_digest(b"fuseline") == "blake3:e6bcea882b76279a448f46f988566bcd77664b62062504410888dfc97d1f3931"
    assert combine(["a", "b"]) == "xxh3:dfee833252d71d99c60f8ba575c1ad36"
    assert column_digest(pa.array(["", None, "é"])) == "xxh3:fa1cbdc23e5aad4053b4c7a2c50c89c2"
    assert column_digest(pa.array([0.5, None], pa.float32())) == "xxh3:54288eb2ed92f43e631ff5de689a4c55"
    assert column_digest(pa.array([[1, 2], [3, 4]], pa.list_(pa.uint8(), 2))) == "xxh3:f71a281f076e29386cd94a006c33096d"
    assert column_digest(pa.array([{"a": "x", "b": [1]}, None], POINT)) == "xxh3:6606855d226695655b4b31c143ac2206"
    assert column_digest(pa.array([["x", None], []], pa.list_(pa.string()))) == "xxh3:4c41222a0d9fe6a9b154b70a571cf2f6"
