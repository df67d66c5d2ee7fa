"""Shards in memory: for tests and for stages that need no disk."""

from pathlib import Path

import pyarrow as pa

from fuseline.stores.digests import bytes_digest
from fuseline.stores.errors import DamagedError
from fuseline.stores.manifest import FileRecord


class MemoryStore:
    """Shards as Arrow IPC bytes in a dictionary."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder
        self.shards: dict[str, bytes] = {}

    def write(self, name: str, table: pa.Table) -> dict[str, FileRecord]:
        """Keep a shard."""
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
        self.shards.pop(name, None)
        self.shards[name] = sink.getvalue().to_pybytes()
        return self.files(name)

    def read(self, name: str, files: dict[str, FileRecord], columns: tuple[str, ...] | None) -> pa.Table:
        """Read columns of a shard after its digest was checked."""
        if self.damaged(files):
            raise DamagedError(f"{name}: is missing or differs from its digest; run `fuseline repair`")
        table = pa.ipc.open_stream(self.shards[name]).read_all()
        return table if columns is None else table.select(list(columns))

    def has(self, files: dict[str, FileRecord]) -> bool:
        """Return whether the shard is kept with its size."""
        return all(len(self.shards.get(name, b"")) == file.size for name, file in files.items())

    def damaged(self, files: dict[str, FileRecord]) -> list[str]:
        """Return the shards that are missing or differ."""
        return [n for n, file in files.items() if n not in self.shards or bytes_digest(self.shards[n]) != file.digest]

    def delete(self, name: str) -> None:
        """Forget a shard."""
        self.shards.pop(name, None)

    def names(self) -> list[str]:
        """Return the names of all shards."""
        return sorted(self.shards)

    def files(self, name: str) -> dict[str, FileRecord]:
        """Return the shard as it is."""
        return {name: _file(self.shards[name])} if name in self.shards else {}

    def written(self, name: str) -> int:
        """Return the shard's place among those written."""
        return list(self.shards).index(name)


def _file(data: bytes) -> FileRecord:
    return FileRecord(len(data), bytes_digest(data))
