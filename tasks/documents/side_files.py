"""Files beside the shards of documents: lists of ids, rows set aside, digests of images, the state of the ingest."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Self

import pyarrow as pa

from fuseline.stores.dataset import Dataset
from fuseline.stores.digests import combine
from fuseline.stores.errors import DataError, StorageError
from fuseline.stores.forgotten import Forgotten, erase_from_file
from fuseline.stores.layouts.files import UNREADABLE, check_files, damaged_files, have_sizes, record_file
from fuseline.stores.layouts.parquet import get_table, put_table
from fuseline.stores.manifest import FileRecord, ShardRecord, file_records, parsed, sealed
from fuseline.stores.schemas import FINDINGS, QUARANTINE

ROWS = "rows"
STATE = "state.json"
IMAGES = "images.parquet"
QUARANTINED = "quarantine.parquet"
FOUND = "findings.parquet"


@dataclass(frozen=True)
class State:
    """What the last complete ingest left; sealed, and written when everything else is there."""

    listing: str = ""  # digest of the source's listing
    shards: int = 0  # how many there were
    records: str = ""  # digest of their names, and so of their content
    files: dict[str, FileRecord] = field(default_factory=dict)  # IMAGES, QUARANTINED, FOUND where they are there

    @classmethod
    def load(cls, dataset: Dataset) -> Self:
        """Return the state; an empty one when it is absent, damaged or of another version."""
        try:
            return parsed(dataset.folder.get(STATE), STATE, cls._of)
        except (FileNotFoundError, DataError):
            return cls()

    @classmethod
    def of(cls, dataset: Dataset, listing: str) -> Self:
        """Return the state of what lies there now."""
        records = dataset.records()
        there = [name for name in (IMAGES, QUARANTINED, FOUND) if dataset.folder.exists(name)]
        files = {name: record_file(dataset.folder, name) for name in there}
        return cls(listing, 1 + max(records, default=-1), _digest(records), files)

    @classmethod
    def _of(cls, values: dict[str, Any]) -> Self:
        return cls(**{**values, "files": file_records(values["files"])})

    def save(self, dataset: Dataset) -> None:
        """Write the state."""
        dataset.folder.put(STATE, sealed(asdict(self)))

    def fits(self, dataset: Dataset, records: dict[int, ShardRecord]) -> bool:
        """Return whether the shards and lists are those of the ingest that left this state (no digest is computed)."""
        return self.records == _digest(records) and have_sizes(dataset.folder, self.files)

    def lost(self, dataset: Dataset, records: dict[int, ShardRecord]) -> frozenset[int]:
        """Return the shards that were ingested, by this state or by the bytes that lie there, and have no record."""
        return frozenset({*range(self.shards), *dataset.indices()} - records.keys())


def _digest(records: dict[int, ShardRecord]) -> str:
    return combine(records[index].name for index in sorted(records))


def damaged_beside(dataset: Dataset) -> list[str]:
    """Re-read the lists and the state; return those that are missing or differ from their digest."""
    if not dataset.folder.children():
        return []
    try:
        state = parsed(dataset.folder.get(STATE), STATE, State._of)
    except (FileNotFoundError, DataError):
        return [STATE]
    return damaged_files(dataset.folder, state.files)


def drop_beside(dataset: Dataset) -> None:
    """Drop the state, so that the next ingest reads the source and writes it and the lists again."""
    dataset.folder.delete(STATE)


def known_images(dataset: Dataset) -> pa.Table | None:
    """Return IMAGES if it is there and as the last ingest left it."""
    files = State.load(dataset).files
    whole = IMAGES in files and not damaged_files(dataset.folder, {IMAGES: files[IMAGES]})
    return get_table(dataset.folder, IMAGES) if whole else None


def quarantined(dataset: Dataset) -> pa.Table:
    """Return the rows of the source that could not become documents; raises DamagedError when the list is damaged."""
    return _listed(dataset, QUARANTINED, QUARANTINE)


def found_beside(dataset: Dataset) -> pa.Table:
    """Return the findings of the source beside its rows; raises DamagedError when the list is damaged."""
    return _listed(dataset, FOUND, FINDINGS)


def _listed(dataset: Dataset, name: str, schema: pa.Schema) -> pa.Table:
    files = State.load(dataset).files
    if name not in files:
        return schema.empty_table()
    check_files(dataset.folder, {name: files[name]})
    return get_table(dataset.folder, name)


def commit_documents(dataset: Dataset, index: int, table: pa.Table) -> ShardRecord:
    """Commit a shard of documents, and beside it a list of their ids that outlives its bytes."""
    if not dataset.folder.exists(STATE):
        State().save(dataset)  # from the first shard on its absence is damage
    return dataset.commit(index, table, {}, beside=_write_ids(dataset, index, table))


def recover_documents(dataset: Dataset, index: int) -> ShardRecord | None:
    """Write the record of a shard of documents again, and the list of their ids; None when its bytes are lost."""
    record = dataset.recover(index)
    return None if record is None else renew_ids(dataset, record)


def renew_ids(dataset: Dataset, record: ShardRecord) -> ShardRecord:
    """Write the list of a shard's ids again from the shard."""
    beside = _write_ids(dataset, record.index, dataset.read(record, ("id",)))
    return dataset.recommit(record, record.inputs, beside=beside)


def listed_ids(dataset: Dataset, index: int) -> pa.ChunkedArray:
    """Return the ids that were written beside a shard, whatever became of the shard; none when the list is damaged."""
    record = dataset.readable_records().get(index)
    if record is not None and damaged_files(dataset.folder, record.beside):
        return _NO_IDS
    try:
        return get_table(dataset.folder, _ids_file(index), ["id"])["id"]
    except UNREADABLE:
        return _NO_IDS


def listed_documents(dataset: Dataset, forgotten: Forgotten) -> Iterator[str]:
    """Yield the forgotten ids in the lists."""
    for name in _lists(dataset):
        try:
            ids = get_table(dataset.folder, name, ["id"])["id"]
        except UNREADABLE:
            continue
        yield from ids.filter(pa.array(forgotten.mask(ids))).to_pylist()


def erase_listed(dataset: Dataset, forgotten: Forgotten) -> None:
    """Remove forgotten ids from the lists; a list that cannot be read is removed."""
    records = dataset.readable_records()
    for name in _lists(dataset):
        try:
            gone = erase_from_file(dataset.folder, name, forgotten)
        except StorageError:
            raise
        except UNREADABLE:
            dataset.folder.delete(name)
            continue
        record = next((record for index, record in records.items() if name == _ids_file(index)), None)
        if gone and record is not None:
            dataset.recommit(record, record.inputs, beside={name: record_file(dataset.folder, name)})


def erase_images(dataset: Dataset) -> None:
    """Drop the digests of image files: kept by a hash of their place, those of one document cannot be identified.

    The next changed ingest reads image files once to know them again.
    """
    dataset.folder.delete(IMAGES)


@contextmanager
def state_kept(dataset: Dataset) -> Iterator[None]:
    """Let the block change shards and lists, and make the state fit again if it did before.

    A kill inside leaves a state that does not fit, so that the next ingest reads the source.
    """
    state = State.load(dataset)
    fitted = state.fits(dataset, dataset.readable_records())
    yield
    if fitted:
        now = State.of(dataset, state.listing)
        replace(now, shards=max(now.shards, state.shards)).save(dataset)


def _lists(dataset: Dataset) -> list[str]:
    return [name for name in (QUARANTINED, FOUND) if dataset.folder.exists(name)] + dataset.folder.list(ROWS)


def _ids_file(index: int) -> str:
    return f"{ROWS}/{index:06d}.parquet"


def _write_ids(dataset: Dataset, index: int, table: pa.Table) -> dict[str, FileRecord]:
    name = _ids_file(index)
    put_table(dataset.folder, name, table.select(["id"]))
    return {name: record_file(dataset.folder, name)}


_NO_IDS = pa.chunked_array([pa.nulls(0, pa.string())])  # an empty pa.array would import pandas, where it is
