"""Shards as Zarr v3 groups: for dense vectors and pictures, one per document."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import zarr
from numpy.typing import NDArray

from fuseline.stores.atomic import sync
from fuseline.stores.digests import file_digest
from fuseline.stores.errors import DataError
from fuseline.stores.layouts.files import (
    check_files,
    damaged_files,
    have_sizes,
    last_written,
    record_file,
    shards_among,
)
from fuseline.stores.manifest import FileRecord
from fuseline.stores.root import Root
from fuseline.stores.schemas import COMMENT

CHUNK_BYTES = 64 << 20
SUFFIX = ".zarr"


class ZarrStore:
    """One group per shard and one array per column; numbers and vectors uncompressed, written whole by one writer.

    Holds non-null columns of numbers, booleans, strings, fixed-size binary and fixed-size lists of numbers, with what
    their fields say. Columns of bytes, pictures above all, are mapped into memory: only what is taken of one is read.
    """

    def __init__(self, folder: Root) -> None:
        self.folder = folder

    def write(self, name: str, table: pa.Table) -> dict[str, FileRecord]:
        """Write a shard as the folder `<name>.zarr`."""
        with self.folder.writing_folder(self.file(name)) as partial:
            group = zarr.open_group(str(partial), mode="w", zarr_format=3)
            group.attrs["columns"] = {field.name: str(field.type) for field in table.schema}
            if metadata := {field.name: kept for field in table.schema if (kept := _metadata(field))}:
                group.attrs["metadata"] = metadata
            for field in table.schema:
                _write_array(group, field, table[field.name].combine_chunks())
            files = [file for file in sorted(partial.rglob("*")) if file.is_file()]
            # The disk takes the bytes while they are digested.
            with ThreadPoolExecutor(1) as pool:
                synced = pool.map(sync, files)
                records = {f"{self.file(name)}/{file.relative_to(partial).as_posix()}": _record(file) for file in files}
                list(synced)
        return records

    def read(self, name: str, files: dict[str, FileRecord], columns: tuple[str, ...] | None) -> pa.Table:
        """Read columns of a shard after their digests were checked; what is mapped outlives its files."""
        wanted = files if columns is None else {f: r for f, r in files.items() if _column_of(f) in (*columns, "")}
        check_files(self.folder, wanted)
        with self.folder.reading(self.file(name)) as path:
            group = zarr.open_group(str(path), mode="r")
            types: dict[str, str] = group.attrs["columns"]
            names = list(types) if columns is None else list(columns)
            metadata: dict[str, dict[str, str]] = group.attrs.get("metadata", {})
            arrays = [_read_column(path / column, group[column], types[column]) for column in names]
        fields = [
            pa.field(column, array.type, metadata=metadata.get(column))
            for column, array in zip(names, arrays, strict=True)
        ]
        return pa.Table.from_arrays(arrays, schema=pa.schema(fields))

    def has(self, files: dict[str, FileRecord]) -> bool:
        """Return whether every file of the group is there with its size."""
        return have_sizes(self.folder, files)

    def damaged(self, files: dict[str, FileRecord]) -> list[str]:
        """Re-read every file of the group and return those that differ."""
        return damaged_files(self.folder, files)

    def delete(self, name: str) -> None:
        """Remove the shard's group."""
        self.folder.remove(self.file(name))

    def names(self) -> list[str]:
        """Return the stems of all groups here."""
        return shards_among(self.folder, SUFFIX)

    def files(self, name: str) -> dict[str, FileRecord]:
        """Return the group's files as they are."""
        return {file: record_file(self.folder, file) for file in self.folder.list(self.file(name))}

    def written(self, name: str) -> int:
        """Return when the last of its files was written."""
        return last_written(self.folder, self.folder.list(self.file(name)))

    def file(self, name: str) -> str:
        """Return the name of the shard's folder."""
        return f"{name}{SUFFIX}"


def _record(path: Path) -> FileRecord:
    return FileRecord(path.stat().st_size, file_digest(path))


def _metadata(field: pa.Field) -> dict[str, str]:
    """Return what a field says that readers need; its comment is the same in every shard, and stands in the schemas."""
    return {key.decode(): value.decode() for key, value in (field.metadata or {}).items() if key != COMMENT}


def _column_of(file: str) -> str:
    parts = file.split("/")
    return parts[1] if len(parts) > 2 else ""


def _write_array(group: zarr.Group, field: pa.Field, column: pa.Array) -> None:
    if column.null_count:
        raise DataError(f"column {field.name}: a Zarr shard holds no nulls, got {column.null_count}")
    if pa.types.is_string(field.type):
        text = group.create_array(field.name, shape=(len(column),), dtype=str, chunks=(max(1, len(column)),))
        text[:] = np.array(column.to_pylist(), dtype=object)
        return
    values = _to_numpy(column)
    per_row = max(1, values[:1].nbytes)
    rows = max(1, min(len(values), CHUNK_BYTES // per_row))
    array = group.create_array(
        field.name, shape=values.shape, dtype=values.dtype, chunks=(rows, *values.shape[1:]), compressors=None
    )
    array[:] = values


def _to_numpy(column: pa.Array) -> NDArray[Any]:
    kind = column.type
    if pa.types.is_fixed_size_list(kind):
        return np.asarray(column.flatten()).reshape(len(column), kind.list_size)
    if pa.types.is_fixed_size_binary(kind):
        data = np.frombuffer(column.buffers()[1], np.uint8)
        rows = data[column.offset * kind.byte_width : (column.offset + len(column)) * kind.byte_width]
        return rows.reshape(len(column), kind.byte_width)
    return np.asarray(column.to_numpy(zero_copy_only=False))


def _read_column(path: Path, array: Any, kind: str) -> pa.Array | pa.ChunkedArray:
    if array.dtype != np.uint8 or array.ndim != 2 or not array.size:
        return _read_array(np.asarray(array[:]), kind)
    return pa.chunked_array([_read_array(rows, kind) for rows in _mapped(path, array)])


def _mapped(path: Path, array: Any) -> Iterator[NDArray[np.uint8]]:
    """Yield the chunks (m, width) of an array of bytes, whose files hold nothing but them."""
    n, width = array.shape
    rows = array.chunks[0]
    for number, start in enumerate(range(0, n, rows)):
        file, shape = path / array.metadata.encode_chunk_key((number, 0)), (min(rows, n - start), width)
        # Zarr writes no file for a chunk of zeros.
        yield np.asarray(np.memmap(file, np.uint8, "r", shape=shape)) if file.exists() else np.zeros(shape, np.uint8)


def _read_array(values: NDArray[Any], kind: str) -> pa.Array:
    if kind == "string":
        return pa.array(values.tolist(), pa.string())
    if kind.startswith("fixed_size_binary"):
        width = values.shape[1]
        data = pa.py_buffer(np.ascontiguousarray(values))
        return pa.Array.from_buffers(pa.binary(width), len(values), [None, data])
    if values.ndim == 2:
        return pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), values.shape[1])
    return pa.array(values)
