"""Shards as Parquet files: for everything ragged or scalar."""

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

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

ROW_GROUP_BYTES = 64 << 20
SUFFIX = ".parquet"


class ParquetStore:
    """One zstd-compressed file per shard, in row groups of at most 64 MiB."""

    def __init__(self, folder: Root) -> None:
        self.folder = folder

    def write(self, name: str, table: pa.Table) -> dict[str, FileRecord]:
        """Write a shard as `<name>.parquet`."""
        put_table(self.folder, self.file(name), table)
        return {self.file(name): record_file(self.folder, self.file(name))}

    def read(self, name: str, files: dict[str, FileRecord], columns: tuple[str, ...] | None) -> pa.Table:
        """Read columns of a shard after its digest was checked."""
        check_files(self.folder, files)
        table = get_table(self.folder, self.file(name), columns)
        return table if columns is None else table.select(list(columns))

    def has(self, files: dict[str, FileRecord]) -> bool:
        """Return whether the shard's file is there with its size."""
        return have_sizes(self.folder, files)

    def damaged(self, files: dict[str, FileRecord]) -> list[str]:
        """Re-read the file and return its name when it differs."""
        return damaged_files(self.folder, files)

    def delete(self, name: str) -> None:
        """Remove the shard's file."""
        self.folder.delete(self.file(name))

    def names(self) -> list[str]:
        """Return the stems of all Parquet files here."""
        return shards_among(self.folder, SUFFIX)

    def files(self, name: str) -> dict[str, FileRecord]:
        """Return the shard's file as it is."""
        file = self.file(name)
        return {file: record_file(self.folder, file)} if self.folder.exists(file) else {}

    def written(self, name: str) -> int:
        """Return when the file was written."""
        return last_written(self.folder, [self.file(name)])

    def file(self, name: str) -> str:
        """Return the name of the shard's file."""
        return f"{name}{SUFFIX}"


def put_table(root: Root, name: str, table: pa.Table) -> None:
    """Write a table as one Parquet file, atomically; raises StorageError."""
    with root.writing(name) as path:
        write_table(path, table)


def get_table(root: Root, name: str, columns: Sequence[str] | None = None) -> pa.Table:
    """Read a Parquet file, or columns of it; raises FileNotFoundError."""
    with root.reading(name) as path:
        return pq.read_table(path, columns=None if columns is None else list(columns), partitioning=None)


def write_table(path: Path, table: pa.Table) -> None:
    """Write one Parquet file in row groups of bounded size; equal tables give equal bytes."""
    per_row = max(1, table.nbytes // max(1, table.num_rows))
    rows = max(1, min(1 << 17, ROW_GROUP_BYTES // per_row))
    with pq.ParquetWriter(path, table.schema, compression="zstd") as writer:
        for start in range(0, max(1, table.num_rows), rows):
            # whole chunks, so that the same rows give the same bytes, but never a copy of all
            writer.write_table(table.slice(start, rows).combine_chunks(), row_group_size=rows)
