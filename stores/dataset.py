"""One dataset under the output root: its manifest, its shard records and its store."""

import re
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from fuseline.stores.digests import cell_digests, cells_digest, combine
from fuseline.stores.errors import AlignmentError, DamagedError, DataError
from fuseline.stores.layouts.files import UNREADABLE, damaged_files
from fuseline.stores.manifest import FileRecord, Manifest, ShardRecord
from fuseline.stores.root import Root
from fuseline.stores.store import Store, open_store

MANIFEST = "manifest.json"
RECORDS = "shards"
# Columns whose values are counted into the record, so that totals need no data.
TALLIED = ("status", "split", "image_digest")
# A row's own inputs, digested: what row reuse compares. Not content, so it stays out of the content digest.
ROW_INPUTS = "row_inputs"
_SHARD = re.compile(r"[0-9]{6,}-[0-9a-f]{12}")
_RECORD = re.compile(r"[0-9]{6,}\.json")
_KEY = re.compile(r"[0-9a-f]{20}")


class Dataset:
    """The output of one stage under one key, at `<root>/<stage>/<key>/`."""

    def __init__(self, root: Root, manifest: Manifest) -> None:
        self.manifest = manifest
        self.key = manifest.key
        self.name = f"{manifest.stage}/{self.key}"  # below the root
        self.folder = root.at(self.name)
        self._store: Store | None = None

    @property
    def store(self) -> Store:
        """The store that holds the shards' bytes."""
        if self._store is None:
            self._store = open_store(self.manifest.layout, self.folder)
        return self._store

    def exists(self) -> bool:
        """Return whether anything was ever committed under this key."""
        return self.folder.exists(MANIFEST)

    def written(self) -> int:
        """Return when the first shard under this key was committed; larger is later, 0 before."""
        stat = self.folder.stat(MANIFEST)
        return 0 if stat is None else stat.written

    def records(self) -> dict[int, ShardRecord]:
        """Return the records of all committed shards, by index; raises DataError when one is damaged."""
        records = (ShardRecord.from_bytes(self.folder.get(self.record_name(index))) for index in self._recorded())
        return {record.index: record for record in records}

    def readable_records(self) -> dict[int, ShardRecord]:
        """Return the records of all committed shards but the damaged ones."""
        records = ((index, self._readable(index)) for index in self._recorded())
        return {index: record for index, record in records if record is not None}

    def lost_records(self) -> list[int]:
        """Return the shards whose record cannot be read, or is gone while their bytes lie here."""
        return sorted(self.indices() - self.readable_records().keys())

    def indices(self) -> set[int]:
        """Return the shards that have a record or bytes here, whole or not."""
        return set(self._recorded()) | {_index(name) for name in self._shard_names()}

    def record(self, index: int) -> ShardRecord | None:
        """Return the record of one shard, or None when it was never committed."""
        try:
            return ShardRecord.from_bytes(self.folder.get(self.record_name(index)))
        except FileNotFoundError:
            return None

    def recoverable(self, index: int) -> ShardRecord | None:
        """Return a record made of a shard's newest bytes, whose name holds the digest of their content.

        What it was made from stays unknown: it is stale until its rows were compared with today's. Returns None when
        the bytes are gone or are not what their name says.
        """
        names = self._names_of(index)
        return self._described_by(index, max(names, key=self.store.written)) if names else None

    def recover(self, index: int) -> ShardRecord | None:
        """Write a shard's record again as `recoverable` gives it; None, and nothing changed, when that is None."""
        record = self.recoverable(index)
        if record is not None:
            self._put(record)
        return record

    def commit(
        self,
        index: int,
        table: pa.Table,
        inputs: dict[str, str],
        *,
        beside: dict[str, FileRecord] | None = None,
        name: str = "",
    ) -> ShardRecord:
        """Write a shard's bytes, then its record; a kill between the two leaves the old version in force.

        Args:
            index: which shard.
            table: its rows.
            inputs: upstream name -> digest of what the rows were made from.
            beside: files that were written to lie beside the shard, by path relative to the dataset.
            name: of the table, where each shard is a table of its own.
        """
        if not self.exists():
            self.folder.put_if_absent(MANIFEST, self.manifest.to_bytes())
        record = self._described(index, table, inputs)
        old = self.record(index)
        # The same content again stays where it is: replacing it could lose it.
        intact = old is not None and old.name == record.name and not self.store.damaged(old.files)
        files = old.files if old is not None and intact else self.store.write(record.name, table)
        record = replace(record, files=files, beside=beside or {}, table=name)
        self._put(record)
        return record

    def recommit(
        self, record: ShardRecord, inputs: dict[str, str], *, beside: dict[str, FileRecord] | None = None
    ) -> ShardRecord:
        """Note that a shard's bytes still hold for new upstream digests, or beside other files."""
        renewed = replace(record, inputs=inputs, beside=record.beside if beside is None else beside)
        self._put(renewed)
        return renewed

    def damaged(self, record: ShardRecord) -> list[str]:
        """Re-read every file of a shard and return those that are missing or differ from their digest."""
        return [*self.store.damaged(record.files), *damaged_files(self.folder, record.beside)]

    def read(self, record: ShardRecord, columns: tuple[str, ...] | None = None) -> pa.Table:
        """Return a shard's columns, after digest and row count were checked."""
        table = self.store.read(record.name, record.files, columns)
        if table.num_rows != record.n_rows:
            raise DamagedError(f"{self.folder}: shard {record.index} has {table.num_rows} rows, not {record.n_rows}")
        return table

    def superseded(self) -> list[str]:
        """Return the names of versions of shards that are not the one their record names.

        Without a readable record the last version is unknown: then none is superseded.
        """
        last = {index: record.name for index, record in self.readable_records().items()}
        return [name for name in self._shard_names() if last.get(_index(name), name) != name]

    def sound(self, name: str) -> bool:
        """Return whether the bytes of any version of a shard are what their name says."""
        return self._described_by(_index(name), name) is not None

    def drop(self, index: int) -> None:
        """Drop a shard, its record first, so that the planner makes it again."""
        self.folder.delete(self.record_name(index))
        for name in self._names_of(index):
            self.store.delete(name)

    def record_name(self, index: int) -> str:
        """Return the path of a shard's record, relative to the dataset."""
        return f"{RECORDS}/{index:06d}.json"

    def _put(self, record: ShardRecord) -> None:
        self.folder.put(self.record_name(record.index), record.to_bytes())

    def _recorded(self) -> list[int]:
        """Return the shards that have a record, readable or not, in the order of the records' names."""
        return [int(name.removesuffix(".json")) for name in self.folder.children(RECORDS) if _RECORD.fullmatch(name)]

    def _readable(self, index: int) -> ShardRecord | None:
        try:
            return self.record(index)
        except DataError:
            return None

    def _shard_names(self) -> list[str]:
        """Return the names of all shards here; other files may lie beside them."""
        return [name for name in self.store.names() if _SHARD.fullmatch(name)]

    def _names_of(self, index: int) -> list[str]:
        return [name for name in self._shard_names() if _index(name) == index]

    def _described_by(self, index: int, name: str) -> ShardRecord | None:
        """Return the record of bytes that lie in the store, or None when they are not what their name says."""
        try:
            files = self.store.files(name)
            record = self._described(index, self.store.read(name, files, None), {})
        except UNREADABLE:
            return None
        return replace(record, files=files) if record.name == name else None

    def _described(self, index: int, table: pa.Table, inputs: dict[str, str]) -> ShardRecord:
        columns = {name: cells_digest(cell_digests(table[name])) for name in table.column_names}
        ids = columns.pop("id", "")
        content = {name: digest for name, digest in columns.items() if name != ROW_INPUTS}
        name = f"{index:06d}-{combine([ids, *(f'{k}={v}' for k, v in sorted(columns.items()))])[-12:]}"
        tallies = {column: _tally(table[column]) for column in TALLIED if column in table.column_names}
        return ShardRecord(index, name, table.num_rows, ids, content, inputs, {}, tallies)


def check_aligned(records: dict[str, ShardRecord]) -> None:
    """Refuse to read shards of several datasets together unless they hold the same documents in the same order.

    Args:
        records: dataset name -> record of the same shard.

    Raises:
        AlignmentError: the digests of the ids differ.
    """
    first, *others = records
    for other in others:
        if records[other].ids != records[first].ids:
            raise AlignmentError(
                f"shard {records[first].index}: {first} and {other} hold different documents; run `fuseline run` again"
            )


def check_ids(what: str, expected: pa.ChunkedArray, got: pa.ChunkedArray) -> None:
    """Raise AlignmentError unless a stage returned the rows it was given, in order."""
    if len(expected) != len(got) or (not pc.all(pc.equal(expected, got)).as_py() and len(expected)):
        raise AlignmentError(f"{what}: returned other rows than it was given ({len(got)} for {len(expected)})")


def changed_rows(before: pa.Table | None, ids: pa.ChunkedArray, inputs: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Return, for each of n rows, the row of `before` that was made from the same inputs, or -1; (n,) int64."""
    reused = np.full(len(ids), -1, np.int64)
    if before is None:
        return reused
    old_inputs = before[ROW_INPUTS].to_pylist()
    rows = {(i, digest): row for row, (i, digest) in enumerate(zip(before["id"].to_pylist(), old_inputs, strict=True))}
    for row, (i, digest) in enumerate(zip(ids.to_pylist(), inputs, strict=True)):
        reused[row] = rows.get((i, digest.tobytes()), -1)
    return reused


def list_datasets(root: Root) -> list[Dataset]:
    """Return every dataset under the output root, of any key, except those whose manifest cannot be read."""
    manifests = (manifest_in(root, folder) for folder in dataset_folders(root))
    return [Dataset(root, manifest) for manifest in manifests if manifest is not None]


def versions(root: Root, stage: str) -> list[Dataset]:
    """Return the datasets of one stage, of any key, except those whose manifest cannot be read."""
    manifests = (manifest_in(root, f"{stage}/{key}") for key in root.children(stage))
    return [Dataset(root, manifest) for manifest in manifests if manifest is not None]


def dataset_folders(root: Root, below: str = "") -> Iterator[str]:
    """Yield the folders of all datasets under a root, by their name alone: whatever lies in them may be damaged."""
    for name in root.children(below):
        folder = f"{below}/{name}" if below else name
        if _KEY.fullmatch(name):
            yield folder
        elif not name.startswith("."):
            yield from dataset_folders(root, folder)


def manifest_in(root: Root, folder: str) -> Manifest | None:
    """Return the manifest of the dataset in a folder; None when there is none that can be read."""
    try:
        return Manifest.from_bytes(root.get(f"{folder}/{MANIFEST}"))
    except (FileNotFoundError, DataError):
        return None


def _index(name: str) -> int:
    """Return the index of the shard that bytes are of, by their name."""
    return int(name.partition("-")[0])


def _tally(column: pa.ChunkedArray) -> dict[str, int]:
    kinds = pc.replace_substring_regex(column, ":.*", "") if pa.types.is_string(column.type) else column  # of a digest
    counts = pc.value_counts(kinds).to_pylist()
    return {str(item["values"]): int(item["counts"]) for item in sorted(counts, key=lambda c: str(c["values"]))}
