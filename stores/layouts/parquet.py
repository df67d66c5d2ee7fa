"""Shards as Parquet files: for everything ragged or scalar."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from fuseline.stores.atomic import atomic_file
from fuseline.stores.layouts.files import check_files, damaged_files, have_sizes, record_file
from fuseline.stores.manifest import FileRecord

ROW_GROUP_BYTES = 64 << 20


class ParquetStore:
    """One zstd-compressed file per shard, in row groups of at most 64 MiB."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, name: str, table: pa.Table) -> dict[str, FileRecord]:
        """Write a shard as `<name>.parquet`."""
        path = self.folder / f"{name}.parquet"
        with atomic_file(path) as partial:
            write_table(partial, table)
        return {path.name: record_file(path)}

    def read(self, name: str, files: dict[str, FileRecord], columns: tuple[str, ...] | None) -> pa.Table:
        """Read columns of a shard after its digest was checked."""
        check_files(self.folder, files)
        names = None if columns is None else list(columns)
        table = pq.read_table(self.folder / f"{name}.parquet", columns=names, partitioning=None)
        return table if names is None else table.select(names)

    def has(self, files: dict[str, FileRecord]) -> bool:
        """Return whether the shard's file is there with its size."""
        return have_sizes(self.folder, files)

    def damaged(self, files: dict[str, FileRecord]) -> list[str]:
        """Re-read the file and return its name when it differs."""
        return damaged_files(self.folder, files)

    def delete(self, name: str) -> None:
        """Remove the shard's file."""
        (self.folder / f"{name}.parquet").unlink(missing_ok=True)

    def names(self) -> list[str]:
        """Return the stems of all Parquet files here."""
        return sorted(path.stem for path in self.folder.glob("*.parquet"))

    def files(self, name: str) -> dict[str, FileRecord]:
        """Return the shard's file as it is."""
        path = self.folder / f"{name}.parquet"
        return {path.name: record_file(path)} if path.is_file() else {}

    def written(self, name: str) -> int:
        """Return the file's modification time."""
        return (self.folder / f"{name}.parquet").stat().st_mtime_ns


def write_table(path: Path, table: pa.Table) -> None:
    """Write one Parquet file in row groups of bounded size; equal tables give equal bytes."""
    per_row = max(1, table.nbytes // max(1, table.num_rows))
    rows = max(1, min(1 << 17, ROW_GROUP_BYTES // per_row))
    with pq.ParquetWriter(path, table.schema, compression="zstd") as writer:
        for start in range(0, max(1, table.num_rows), rows):
            # whole chunks, so that the same rows give the same bytes, but never a copy of all
            writer.write_table(table.slice(start, rows).combine_chunks(), row_group_size=rows)
