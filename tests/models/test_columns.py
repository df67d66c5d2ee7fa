"""What holds of every kind of column: rows picked, joined, cut and masked, and the table of a stage read back."""

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fuseline.models.columns import KINDS, Codes, Column, Dense, Logits, Pixels, Ragged, Sequence, Text
from fuseline.models.features import Block


def text(rng: np.random.Generator, n: int) -> Text:
    return Text(pa.array([rng.choice(["", "a b", "ü"]) if rng.random() > 0.2 else None for _ in range(n)], pa.string()))


def mask(rng: np.random.Generator, n: int) -> np.ndarray:
    return rng.random(n) > 0.3


def dense(rng: np.random.Generator, n: int) -> Dense:
    missing = rng.random((n, 3)) > 0.8 if rng.random() > 0.5 else None
    return Dense(rng.normal(size=(n, 3)).astype(np.float32), mask(rng, n), missing)


def codes(rng: np.random.Generator, n: int) -> Codes:
    return Codes(rng.integers(0, 256, (n, 4)).astype(np.uint8), mask(rng, n))


def lengths(rng: np.random.Generator, present: np.ndarray) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(rng.integers(0, 4, len(present)) * present)])


def ragged(rng: np.random.Generator, n: int) -> Ragged:
    present = mask(rng, n)
    offsets = lengths(rng, present)
    return Ragged(offsets, rng.normal(size=(offsets[-1], 2)).astype(np.float32), present)


def sequence(rng: np.random.Generator, n: int) -> Sequence:
    present = mask(rng, n)
    offsets = lengths(rng, present)
    return Sequence(offsets, rng.integers(0, 99, offsets[-1]).astype(np.int32), present)


def pixels(rng: np.random.Generator, n: int) -> Pixels:
    pictures = rng.integers(0, 256, (n + 2, 2, 3, 3)).astype(np.uint8)
    return Pixels((2, 3, 3), pictures.__getitem__, rng.permutation(n + 2)[:n], mask(rng, n))


def logits(rng: np.random.Generator, n: int) -> Logits:
    return Logits(rng.normal(size=(n, 2)).astype(np.float32), mask(rng, n), ("a", "b"))


MAKERS: dict[str, Callable[[np.random.Generator, int], Column]] = {
    "text": text, "dense": dense, "codes": codes, "ragged": ragged, "sequence": sequence, "pixels": pixels,
    "logits": logits,
}  # fmt: skip
kinds = pytest.mark.parametrize("kind", sorted(KINDS))


def entries(column: Any) -> list[Any]:
    """Return what a column says of each document, as plain values."""
    values: list[Any]
    if isinstance(column, Text):
        values = column.values.to_pylist()
    elif isinstance(column, Ragged):
        values = [column.values[a:b].tolist() for a, b in zip(column.offsets, column.offsets[1:], strict=False)]
    elif isinstance(column, Pixels):
        values = column.take(np.arange(len(column))).tolist()
    else:
        values = column.values.tolist()
    gaps = getattr(column, "missing", None)
    marks = np.zeros((len(column), 1), bool) if gaps is None or not gaps.any() else gaps
    return list(zip(values, column.present.tolist(), marks.any(axis=1).tolist(), strict=True))


def test_there_is_a_maker_of_every_kind() -> None:
    assert MAKERS.keys() == KINDS.keys()


@kinds
@given(seed=st.integers(0, 99), n=st.integers(0, 9), data=st.data())
def test_rows_are_picked_in_any_order(kind: str, seed: int, n: int, data: st.DataObject) -> None:
    column = MAKERS[kind](np.random.default_rng(seed), n)
    rows = data.draw(st.lists(st.integers(0, n - 1), max_size=12)) if n else []
    picked = column.at(np.array(rows, np.int64))
    assert type(picked) is KINDS[kind]
    assert entries(picked) == [entries(column)[row] for row in rows]
    lo, hi = sorted(data.draw(st.tuples(st.integers(0, n), st.integers(0, n))))
    assert entries(column.at(slice(lo, hi))) == entries(column)[lo:hi]


@kinds
@given(seed=st.integers(0, 99), cuts=st.lists(st.integers(0, 9), max_size=3))
def test_what_was_cut_joins_to_what_it_was(kind: str, seed: int, cuts: list[int]) -> None:
    column = MAKERS[kind](np.random.default_rng(seed), 9)
    ends = [0, *sorted(cuts), 9]
    parts = [column.at(slice(lo, hi)) for lo, hi in itertools.pairwise(ends)]
    joined = KINDS[kind].join(parts)
    assert entries(joined) == entries(column)
    assert joined.size == column.size
    assert entries(joined.at(np.array([8, 0, 3]))) == [entries(column)[row] for row in (8, 0, 3)]


@kinds
@given(seed=st.integers(0, 99), n=st.integers(0, 9))
def test_nothing_of_a_masked_column_is_present(kind: str, seed: int, n: int) -> None:
    column = MAKERS[kind](np.random.default_rng(seed), n)
    before = entries(column)
    masked = column.masked()
    assert len(masked) == len(column) == n
    assert not masked.present.any()
    assert masked.size == column.size
    assert entries(column) == before  # the original is as it was
    assert masked.nbytes >= 0


def fixed(values: np.ndarray) -> pa.Array:
    return pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), int(np.prod(values.shape[1:])))


def table_of(column: Any) -> pa.Table:
    """Return a column as a stage would write it, in `field`."""
    metadata = {}
    if isinstance(column, Text):
        array = column.values
    elif isinstance(column, Ragged):
        flat = fixed(column.values) if column.values.ndim > 1 else pa.array(column.values)
        array = pa.ListArray.from_arrays(pa.array(column.offsets.astype(np.int32)), flat)
    elif isinstance(column, Pixels):
        array, metadata = fixed(column.take(np.arange(len(column)))), {"shape": orjson.dumps(column.shape)}
    elif isinstance(column, Dense):
        values = column.values.copy()
        if column.missing is not None:
            values[column.missing] = np.nan
        array = fixed(values)
    else:
        array = fixed(column.values)
        metadata = {"labels": orjson.dumps(column.labels)} if isinstance(column, Logits) else {}
    schema = pa.schema([pa.field("field", array.type, metadata=metadata), pa.field("present", pa.bool_())])
    return pa.table([array, pa.array(column.present)], schema=schema)


@kinds
@given(seed=st.integers(0, 99), n=st.integers(1, 9))
def test_the_table_of_a_stage_becomes_the_column(kind: str, seed: int, n: int) -> None:
    column = MAKERS[kind](np.random.default_rng(seed), n)
    if isinstance(column, Dense) and column.missing is not None:
        column.values[column.missing] = 0
    table = table_of(column)
    assert entries(KINDS[kind].of(table, "field")) == entries(column)
    assert entries(KINDS[kind].of(table.slice(n // 2), "field")) == entries(column)[n // 2 :]


def test_a_list_that_is_null_has_no_elements() -> None:
    lists = pa.array([[1, 2], None, [], [3]], pa.list_(pa.int32()))
    column = Ragged.of(pa.table({"x": lists, "present": [True, False, False, True]}), "x")
    assert column.offsets.tolist() == [0, 2, 2, 2, 3]
    assert column.values.tolist() == [1, 2, 3]
    assert column.lengths.tolist() == [2, 0, 0, 1]


def test_pictures_are_read_when_they_are_taken_and_each_source_once() -> None:
    asked: list[list[int]] = []

    def source(rows: np.ndarray) -> np.ndarray:
        asked.append(rows.tolist())
        return np.repeat(rows, 3).reshape(-1, 1, 1, 3).astype(np.uint8)

    here = np.ones(3, bool)
    parts = [Pixels((1, 1, 3), source, np.array(places), here) for places in ([5, 6, 7], [0, 1, 2])]
    both = Pixels.join(parts).at(np.array([4, 0, 2, 4]))
    assert asked == []
    assert both.take(np.arange(4))[:, 0, 0, 0].tolist() == [1, 5, 7, 1]
    assert asked == [[5, 7], [1, 1]]
    assert both.nbytes < 100


def test_pictures_of_a_table_in_chunks_keep_their_order() -> None:
    pictures = np.arange(24, dtype=np.uint8).reshape(4, 6)
    parts = (pictures[:3], pictures[3:])
    chunks = [pa.FixedSizeListArray.from_arrays(pa.array(part.reshape(-1)), 6) for part in parts]
    field = pa.field("pixels", pa.list_(pa.uint8(), 6), metadata={"shape": "[1, 2, 3]"})
    schema = pa.schema([pa.field("present", pa.bool_()), field])
    table = pa.table([pa.array([True, False, True, True]), pa.chunked_array(chunks)], schema=schema)
    column = Pixels.of(table, "pixels")
    assert column.shape == (1, 2, 3)
    assert column.present.tolist() == [True, False, True, True]
    assert column.take(np.array([3, 0, 2])).reshape(3, 6).tolist() == pictures[[3, 0, 2]].tolist()
    none = Pixels.of(table.slice(0, 0), "pixels")
    assert none.take(np.zeros(0, np.int64)).shape == (0, 1, 2, 3)


def test_columns_that_do_not_fit_are_not_joined() -> None:
    here = np.ones(1, bool)
    numbers = np.zeros((1, 2), np.float32)
    with pytest.raises(ValueError, match="one list of labels"):
        Logits.join([Logits(numbers, here, ("a", "b")), Logits(numbers, here, ("b", "a"))])
    small, large = (
        Pixels((side, 1, 3), np.zeros((1, side, 1, 3), np.uint8).__getitem__, np.zeros(1, int), here) for side in (1, 2)
    )
    with pytest.raises(ValueError, match="pictures of one size"):
        Pixels.join([small, large])
    with pytest.raises(ValueError, match="dimension"):
        Dense.join([Dense(numbers, here), Dense(numbers[:, :1], here)])


def test_a_block_names_what_there_is() -> None:
    here = np.ones(1, bool)
    vectors, tokens = Dense(np.zeros((1, 2), np.float32), here), Codes(np.zeros((1, 2), np.uint8), here)
    block = Block(pa.array(["a"]), pa.array([["x"]]), {"embed/x": vectors, "quantize/x": tokens})
    assert block.column("embed/x", Dense) is vectors
    assert block.column("quantize/x", Codes) is tokens
    with pytest.raises(ValueError, match=r"dense: expected 'embed/y', got \['embed/x'\]; name one of these"):
        block.column("embed/y", Dense)
    with pytest.raises(ValueError, match=r"codes: expected 'embed/x', got \['quantize/x'\]"):
        block.column("embed/x", Codes)
    assert block.only({"embed/x"}).columns.keys() == {"embed/x"}
    hidden = block.masked(frozenset({"embed/x"}))
    assert hidden.present({"embed/x"}).tolist() == [False]
    assert hidden.present({"embed/x", "quantize/x"}).tolist() == [True]
    assert block.text.to_pylist() == [""]
