"""Digests of keys, files and Arrow columns: the same content gives the same digest on every machine."""

from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import blake3
import numpy as np
import orjson
import pyarrow as pa
import xxhash
from numpy.typing import NDArray

from fuseline.plain import Json
from fuseline.stores.errors import DataError, mismatch

CELL_BYTES = 16


def key_digest(parts: Json) -> str:
    """Return the dataset key of plain JSON values: 20 hex characters, independent of the order of mapping keys."""
    return blake3.blake3(orjson.dumps(parts, option=orjson.OPT_SORT_KEYS)).hexdigest()[:20]


def file_digest(path: Path) -> str:
    """Return "blake3:<hex>" of a file's bytes."""
    hasher = blake3.blake3()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            hasher.update(chunk)
    return f"blake3:{hasher.hexdigest()}"


def bytes_digest(data: bytes) -> str:
    """Return "blake3:<hex>" of bytes in memory."""
    return f"blake3:{blake3.blake3(data).hexdigest()}"


def cell_digests(column: pa.Array | pa.ChunkedArray) -> NDArray[np.uint8]:
    """Return one digest per cell, (n, 16) uint8 (XXH3-128); null differs from every value.

    Covers strings, binary, booleans, numbers, dictionaries, structs and (fixed-size) lists of these, whatever
    the chunks, offsets and validity bitmaps that hold them; raises DataError for any other type.
    """
    if isinstance(column, pa.ChunkedArray):  # chunk by chunk: images may be in it
        return np.concatenate([np.zeros((0, CELL_BYTES), np.uint8), *map(cell_digests, column.chunks)])
    array = column.dictionary_decode() if pa.types.is_dictionary(column.type) else column
    if array.null_count == len(array):  # as most columns of most data sets are
        return np.tile(_NULL, (len(array), 1))
    digests = _digests_of(array)
    if array.null_count:
        digests[np.asarray(array.is_null())] = _NULL
    return digests


def row_digests(table: pa.Table, columns: Sequence[str]) -> NDArray[np.uint8]:
    """Return one digest per row over the named columns, (n, 16) uint8."""
    return _join([cell_digests(table[name]) for name in columns], table.num_rows)


def column_digest(column: pa.Array | pa.ChunkedArray) -> str:
    """Return "xxh3:<hex>" of a column's type-independent content, in order."""
    return cells_digest(cell_digests(column))


def cells_digest(cells: NDArray[np.uint8]) -> str:
    """Return "xxh3:<hex>" of cell digests (n, 16), in order."""
    return f"xxh3:{xxhash.xxh3_128_hexdigest(cells.tobytes())}"


def combine(digests: Iterable[str]) -> str:
    """Return one digest of several, in order."""
    return f"xxh3:{xxhash.xxh3_128_hexdigest(chr(10).join(digests).encode())}"


def _digests_of(array: pa.Array) -> NDArray[np.uint8]:
    kind = array.type
    if pa.types.is_null(kind):
        return np.tile(_NULL, (len(array), 1))
    if pa.types.is_fixed_size_list(kind):
        return _rows_of_vectors(array)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        lengths = np.asarray(array.value_lengths().fill_null(0), dtype=np.int64)
        return _grouped(cell_digests(array.flatten()), np.concatenate([[0], np.cumsum(lengths)]))
    if pa.types.is_struct(kind):
        fields = [cell_digests(array.field(i)) for i in range(kind.num_fields)]
        # Digested even when there is one field: a struct of a null is not null.
        return _rows_of_bytes(np.concatenate([np.zeros((len(array), 1), np.uint8), *fields], axis=1))
    if pa.types.is_string(kind) or pa.types.is_binary(kind) or _is_large(kind):
        return _rows_of_views(array)
    if pa.types.is_fixed_size_binary(kind):
        return _rows_of_views(array.cast(pa.binary()))
    if not (pa.types.is_primitive(kind) or pa.types.is_boolean(kind)):
        raise DataError(mismatch(f"column of type {kind}", "strings, numbers, structs or lists", str(kind), "cast it"))
    return _rows_of_bytes(_numbers(array).reshape(len(array), 1))


def _numbers(array: pa.Array) -> NDArray[Any]:
    if pa.types.is_boolean(array.type):
        array = array.cast(pa.uint8())
    return np.asarray(array.fill_null(0) if array.null_count else array)


def _rows_of_vectors(array: pa.Array) -> NDArray[np.uint8]:
    n, width = len(array), array.type.list_size
    child = array.values.slice(array.offset * width, n * width)
    bounds = np.arange(n + 1) * width
    if not pa.types.is_primitive(array.type.value_type):
        return _grouped(cell_digests(child), bounds)
    digests = _rows_of_bytes(_numbers(child).reshape(n, width))
    if child.null_count:
        # Only these rows, so that a row's digest never depends on its neighbours.
        holes = np.asarray(child.is_null()).reshape(n, width).any(axis=1)
        digests[holes] = _grouped(cell_digests(child), bounds)[holes]
    return digests


def _is_large(kind: pa.DataType) -> bool:
    return bool(pa.types.is_large_string(kind) or pa.types.is_large_binary(kind))


def _rows_of_bytes(values: NDArray[Any]) -> NDArray[np.uint8]:
    rows = np.ascontiguousarray(values)
    digest, view, width = xxhash.xxh3_128_digest, memoryview(rows.tobytes()), rows.itemsize * rows.shape[1]
    return _packed([digest(view[i * width : (i + 1) * width]) for i in range(len(rows))])


def _rows_of_views(array: pa.Array) -> NDArray[np.uint8]:
    large = _is_large(array.type)
    _, offsets, data = array.buffers()
    bounds = np.frombuffer(offsets, np.int64 if large else np.int32)[
        array.offset : array.offset + len(array) + 1
    ].tolist()
    view = memoryview(data) if data is not None else memoryview(b"")
    digest = xxhash.xxh3_128_digest
    return _packed([digest(view[a:b]) for a, b in pairwise(bounds)])


def _grouped(cells: NDArray[np.uint8], bounds: NDArray[np.int64]) -> NDArray[np.uint8]:
    view, digest, edges = memoryview(cells.tobytes()), xxhash.xxh3_128_digest, (bounds * CELL_BYTES).tolist()
    return _packed([digest(view[a:b]) for a, b in pairwise(edges)])


def _join(columns: list[NDArray[np.uint8]], n: int) -> NDArray[np.uint8]:
    if not columns:
        return np.zeros((n, CELL_BYTES), np.uint8)
    return columns[0].copy() if len(columns) == 1 else _rows_of_bytes(np.concatenate(columns, axis=1))


def _packed(digests: list[bytes]) -> NDArray[np.uint8]:
    return np.frombuffer(b"".join(digests), np.uint8).reshape(-1, CELL_BYTES).copy()


_NULL = np.frombuffer(xxhash.xxh3_128_digest(b"\x00fuseline: null"), np.uint8)
