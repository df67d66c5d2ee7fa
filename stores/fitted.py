"""Fitted things (codebooks, models): checkpoint folders with a record of what they saw."""

import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

from fuseline.stores.atomic import atomic_folder, write_bytes
from fuseline.stores.dataset import MANIFEST, list_datasets
from fuseline.stores.digests import combine
from fuseline.stores.errors import DamagedError, DataError
from fuseline.stores.layouts.files import check_files, damaged_files, have_sizes, record_file
from fuseline.stores.manifest import FileRecord, Manifest, file_records, parsed, sealed


@dataclass(frozen=True)
class FittedRecord:
    """One checkpoint that is complete, and the training shards it saw."""

    name: str  # folder of the checkpoint beside the record
    digest: str  # of the checkpoint's content
    n_rows: int  # training documents it saw
    shards: dict[str, str]  # shard index -> digest of its inputs then
    fitted: dict[str, str]  # fitted upstream -> its digest then
    files: dict[str, FileRecord]
    facts: dict[str, Any] = field(default_factory=dict)  # what the classifier says of its training
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

    def __init__(self, root: Path, manifest: Manifest) -> None:
        self.manifest = manifest
        self.key = manifest.key
        self.folder = root / manifest.stage / self.key

    def record(self) -> FittedRecord | None:
        """Return the record, or None when nothing was fitted or its files are gone."""
        try:
            record = FittedRecord.from_bytes((self.folder / RECORD).read_bytes())
        except FileNotFoundError:
            return None
        return record if have_sizes(self.folder, record.files) else None

    def last(self) -> FittedRecord | None:
        """Return the record of the last fit, whatever became of its checkpoint; None when none can be read."""
        try:
            return FittedRecord.from_bytes((self.folder / RECORD).read_bytes())
        except (FileNotFoundError, DataError):
            return None

    def is_lost(self) -> bool:
        """Return whether something was fitted and is no longer there: its record, or files of its checkpoint."""
        return self.record() is None and (self.last() is not None or any(self.folder.glob(CHECKPOINTS)))

    def last_name(self) -> str | None:
        """Return the name of the last checkpoint; without a record that of the only one there, None among several."""
        last, folders = self.last(), [path.name for path in self.folder.glob(CHECKPOINTS)]
        if last is not None:
            return last.name
        return folders[0] if len(folders) == 1 else None

    def path(self, record: FittedRecord) -> Path:
        """Return the checkpoint's folder, for `load`, after its files were compared with their digests.

        A file is read for that once per process, unless it was touched since. Raises DamagedError.
        """
        check_files(self.folder, record.files)
        return self.folder / record.name

    def intact(self, record: FittedRecord) -> bool:
        """Return whether the checkpoint's files match their digests; as in `path` each is read once per process."""
        try:
            self.path(record)
        except DamagedError:
            return False
        return True

    def scratch(self, seen: str) -> Path:
        """Return the folder for what a fit keeps to go on from when it is cut short; it is there when written to.

        It is bound to a digest of what the fit sees: what was kept of anything else is removed. `commit` removes it.
        """
        write_bytes(self.folder / MANIFEST, self.manifest.to_bytes())
        mine = self.folder / SCRATCH / scratch_name(seen)
        for other in (self.folder / SCRATCH).glob("*"):
            if other != mine:
                shutil.rmtree(other)
        return mine

    def commit(self, save: Any, **seen: Any) -> FittedRecord:
        """Write a checkpoint by `save(folder)`, then its record.

        Args:
            save: callable that fills an empty folder.
            seen: n_rows, shards, fitted, facts and saw of FittedRecord.
        """
        write_bytes(self.folder / MANIFEST, self.manifest.to_bytes())
        with atomic_folder(self.folder / "new") as partial:
            save(partial)
            files = {path.name: record_file(path) for path in sorted(partial.iterdir())}
        digest = combine(f"{name}={file.digest}" for name, file in sorted(files.items()))
        name = f"checkpoint-{digest[-12:]}"
        record = FittedRecord(name, digest, files={f"{name}/{f}": file for f, file in files.items()}, **seen)
        # The same checkpoint again stays where it is: replacing it could lose it.
        if damaged_files(self.folder, record.files):
            with atomic_folder(self.folder / name) as partial:
                for path in (self.folder / "new").iterdir():
                    path.rename(partial / path.name)
        shutil.rmtree(self.folder / "new", ignore_errors=True)
        write_bytes(self.folder / RECORD, record.to_bytes())
        shutil.rmtree(self.folder / SCRATCH, ignore_errors=True)
        return record

    def damaged(self) -> list[str]:
        """Re-read the checkpoint and return the files that are missing or differ, its record among them."""
        try:
            record = FittedRecord.from_bytes((self.folder / RECORD).read_bytes())
        except FileNotFoundError:
            return []
        except DataError:
            return [RECORD]
        return damaged_files(self.folder, record.files)

    def drop(self) -> None:
        """Drop the checkpoint, so that the planner fits again; its record stays if it can be read."""
        record = self.last()
        if record is None:
            (self.folder / RECORD).unlink(missing_ok=True)
        else:
            shutil.rmtree(self.folder / record.name, ignore_errors=True)


RECORD = "record.json"
CHECKPOINTS = "checkpoint-*"
SCRATCH = "partial"  # beside the checkpoints: of a fit that was cut short


def scratch_name(seen: str) -> str:
    """Return the name of the folder for a digest of what a fit sees."""
    return seen[-20:]


def scratch_folders(root: Path) -> list[Path]:
    """Return what fits below a root that were cut short have kept, each a folder of `Fitted.scratch`."""
    return sorted(path for dataset in list_datasets(root) for path in (dataset.folder / SCRATCH).glob("*"))
