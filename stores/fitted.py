"""Fitted objects (codebooks, models): checkpoint folders with a record of their training data."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Self

import pyarrow as pa

from fuseline.plain import JsonObject
from fuseline.stores.dataset import MANIFEST, list_datasets
from fuseline.stores.digests import combine
from fuseline.stores.errors import DamagedError, DataError
from fuseline.stores.layouts.files import check_files, damaged_files, have_sizes, record_file
from fuseline.stores.layouts.parquet import get_table
from fuseline.stores.manifest import FileRecord, Manifest, file_records, parsed, sealed
from fuseline.stores.root import Root


@dataclass(frozen=True)
class FittedRecord:
    """One checkpoint that is complete, and the training shards it saw."""

    name: str  # folder of the checkpoint beside the record
    digest: str  # of the checkpoint's content
    n_rows: int  # training documents it saw
    shards: dict[str, str]  # shard index -> digest of its inputs then
    fitted: dict[str, str]  # fitted upstream -> its digest then
    files: dict[str, FileRecord]
    facts: JsonObject = field(default_factory=dict)  # of the training, as the fit returned them
    saw: dict[str, int] = field(default_factory=dict)  # split, as it is in the fold -> documents that were read of it

    def to_bytes(self) -> bytes:
        """Return the record as JSON."""
        return sealed(asdict(self))

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Parse what `to_bytes` wrote; raises DataError when it is damaged or of another format version."""
        what = "checkpoint record"
        return parsed(data, what, lambda values: cls(**{**values, "files": file_records(values["files"])}))


class Fitted:
    """The checkpoint of one fitted thing under one key, at `<root>/<stage>/<key>/`."""

    def __init__(self, root: Root, manifest: Manifest) -> None:
        self.manifest = manifest
        self.key = manifest.key
        self.name = f"{manifest.stage}/{self.key}"  # below the root
        self.folder = root.at(self.name)

    def record(self) -> FittedRecord | None:
        """Return the record, or None when nothing was fitted or its files are gone."""
        try:
            record = FittedRecord.from_bytes(self.folder.get(RECORD))
        except FileNotFoundError:
            return None
        return record if have_sizes(self.folder, record.files) else None

    def last(self) -> FittedRecord | None:
        """Return the record of the last fit, whatever became of its checkpoint; None when none can be read."""
        try:
            return FittedRecord.from_bytes(self.folder.get(RECORD))
        except (FileNotFoundError, DataError):
            return None

    def is_lost(self) -> bool:
        """Return whether something was fitted and is no longer there: its record, or files of its checkpoint."""
        return self.record() is None and (self.last() is not None or bool(self.checkpoints()))

    def last_name(self) -> str | None:
        """Return the name of the last checkpoint; without a record that of the only one there, None among several."""
        last, folders = self.last(), self.checkpoints()
        if last is not None:
            return last.name
        return folders[0] if len(folders) == 1 else None

    def checkpoints(self) -> list[str]:
        """Return the names of the checkpoints that lie here, recorded or not."""
        return [name for name in self.folder.children() if name.startswith(CHECKPOINT)]

    def superseded(self) -> list[str]:
        """Return the names of the checkpoints that the record does not name; none when it cannot be read."""
        last = self.last()
        return [] if last is None else [name for name in self.checkpoints() if name != last.name]

    def saved(self, record: FittedRecord) -> "SavedCheckpoint":
        """Return the checkpoint's folder, for `load`, after its files were compared with their digests.

        A file is read for that once per process, unless it was touched since. Raises DamagedError.
        """
        check_files(self.folder, record.files)
        return SavedCheckpoint(self.folder, record.name)

    def intact(self, record: FittedRecord) -> bool:
        """Return whether the checkpoint's files match their digests; as in `saved` each is read once per process."""
        try:
            self.saved(record)
        except DamagedError:
            return False
        return True

    def scratch(self, seen: str) -> Path | None:
        """Return the folder for what a fit keeps to go on from when it is cut short; it is there when written to.

        It is bound to a digest of what the fit sees: what was kept of anything else is removed. `commit` removes it.
        None where the place is no disk of this machine: a fit that is cut short there begins again.
        """
        self.folder.put(MANIFEST, self.manifest.to_bytes())
        mine = scratch_name(seen)
        for other in _scratch(self.folder):
            if other != mine:
                self.folder.remove(other)
        return self.folder.local(mine)

    def commit(self, save: Callable[[Path], None], **seen: Any) -> FittedRecord:
        """Write a checkpoint by `save(folder)`, then its record.

        Args:
            save: callable that fills an empty folder.
            seen: n_rows, shards, fitted, facts and saw of FittedRecord.
        """
        self.folder.put(MANIFEST, self.manifest.to_bytes())
        with self.folder.writing_folder("new") as partial:
            save(partial)
        files = {name.partition("/")[2]: record_file(self.folder, name) for name in self.folder.list("new")}
        digest = combine(f"{name}={file.digest}" for name, file in sorted(files.items()))
        name = f"{CHECKPOINT}{digest[-12:]}"
        record = FittedRecord(name, digest, files={f"{name}/{f}": file for f, file in files.items()}, **seen)
        # The same checkpoint again stays where it is: replacing it could lose it.
        if damaged_files(self.folder, record.files):
            with self.folder.reading("new") as new, self.folder.writing_folder(name) as partial:
                for path in new.iterdir():
                    path.rename(partial / path.name)
        with suppress(OSError):
            self.folder.remove("new")
        self.folder.put(RECORD, record.to_bytes())
        with suppress(OSError):
            self.folder.remove(SCRATCH)
        return record

    def damaged(self) -> list[str]:
        """Re-read the checkpoint and return the files that are missing or differ, its record among them."""
        try:
            record = FittedRecord.from_bytes(self.folder.get(RECORD))
        except FileNotFoundError:
            return []
        except DataError:
            return [RECORD]
        return damaged_files(self.folder, record.files)

    def drop(self) -> None:
        """Drop the checkpoint, so that the planner fits again; its record stays if it can be read."""
        record = self.last()
        if record is None:
            self.folder.delete(RECORD)
        else:
            self.folder.remove(record.name)


@dataclass(frozen=True)
class SavedCheckpoint:
    """A checkpoint where it lies: a small value that can be sent to other processes."""

    root: Root
    name: str  # of its folder

    def __str__(self) -> str:
        return self.root.uri(self.name)

    @contextmanager
    def opened(self) -> Iterator[Path]:
        """Yield the folder on the local disk, for the duration of the block."""
        with self.root.reading(self.name) as folder:
            yield folder

    def get(self, file: str) -> bytes:
        """Return the bytes of one of its files; raises FileNotFoundError."""
        return self.root.get(f"{self.name}/{file}")

    def table(self, file: str) -> pa.Table | None:
        """Read one of its Parquet files; None when there is none."""
        name = f"{self.name}/{file}"
        return get_table(self.root, name) if self.root.exists(name) else None


RECORD = "record.json"
CHECKPOINT = "checkpoint-"  # how the names of checkpoints begin
SCRATCH = "partial"  # beside the checkpoints: of a fit that was cut short


def scratch_name(seen: str) -> str:
    """Return the name of the folder for a digest of what a fit sees, below that of the fit."""
    return f"{SCRATCH}/{seen[-20:]}"


class ScratchFolder(NamedTuple):
    """What a fit that was cut short has kept."""

    fit: str  # name below the root of the folder that would hold its checkpoint
    folder: str  # of `Fitted.scratch`, below that


def scratch_folders(root: Root) -> list[ScratchFolder]:
    """Return what fits below a root that were cut short have kept."""
    return [ScratchFolder(dataset.name, name) for dataset in list_datasets(root) for name in _scratch(dataset.folder)]


def _scratch(folder: Root) -> list[str]:
    return [f"{SCRATCH}/{name}" for name in folder.children(SCRATCH)]
