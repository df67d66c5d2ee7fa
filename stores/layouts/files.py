"""Checks on the files of a shard, shared by the stores that lie on disk."""

from pathlib import Path

import pyarrow as pa

from fuseline.stores.digests import file_digest
from fuseline.stores.errors import DamagedError
from fuseline.stores.manifest import FileRecord

# What libraries raise over bytes that are not what they were when no digest was compared first.
UNREADABLE = (OSError, ValueError, KeyError, TypeError, RuntimeError, pa.ArrowException)

# Files that matched their digest in this process: path, what the file system says of them, and digest.
_checked: set[tuple[Path, tuple[int, ...], str]] = set()


def record_file(path: Path) -> FileRecord:
    """Return size and digest of a file that was just written."""
    return FileRecord(path.stat().st_size, file_digest(path))


def have_sizes(folder: Path, files: dict[str, FileRecord]) -> bool:
    """Return whether every file is there with its size."""
    for name, file in files.items():
        try:
            if (folder / name).stat().st_size != file.size:
                return False
        except OSError:
            return False
    return True


def damaged_files(folder: Path, files: dict[str, FileRecord]) -> list[str]:
    """Re-read every file and return those that are missing or differ."""
    return [name for name, file in sorted(files.items()) if not _matches(folder / name, file)]


def check_files(folder: Path, files: dict[str, FileRecord]) -> None:
    """Compare every file with its digest, once per process and version of the file.

    Raises DamagedError naming the first that is missing or differs.
    """
    for name, file in files.items():
        path = folder / name
        try:
            stat = path.stat()
        except OSError as error:
            raise DamagedError(f"{path}: is missing; run `fuseline repair` to make it again") from error
        # Size and modification time can be kept while bytes change; the time of the last change of any kind cannot.
        seen = (path, (stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns), file.digest)
        if seen in _checked:
            continue
        if not _matches(path, file):
            raise DamagedError(f"{path}: its bytes differ from its digest; run `fuseline repair` to make it again")
        _checked.add(seen)


def _matches(path: Path, file: FileRecord) -> bool:
    try:
        return path.stat().st_size == file.size and file_digest(path) == file.digest
    except OSError:
        return False
