"""Checks on files by their records: sizes, digests."""

from collections.abc import Hashable, Iterable

import pyarrow as pa

from fuseline.stores.errors import DamagedError
from fuseline.stores.manifest import FileRecord
from fuseline.stores.root import Root

# What libraries raise over bytes that are not what they were when no digest was compared first.
UNREADABLE = (OSError, ValueError, KeyError, TypeError, RuntimeError, pa.ArrowException)

# Files that matched their digest in this process: folder, name, size and times, and digest.
_checked: set[tuple[Root, str, Hashable, str]] = set()


def record_file(root: Root, name: str) -> FileRecord:
    """Return size and digest of a file that was just written."""
    return FileRecord(root.size(name), root.digest(name))


def have_sizes(root: Root, files: dict[str, FileRecord]) -> bool:
    """Return whether every file is there with its size."""
    return all((stat := root.stat(name)) is not None and stat.size == file.size for name, file in files.items())


def damaged_files(root: Root, files: dict[str, FileRecord]) -> list[str]:
    """Re-read every file and return those that are missing or differ."""
    return [name for name, file in sorted(files.items()) if not _matches(root, name, file)]


def check_files(root: Root, files: dict[str, FileRecord]) -> None:
    """Compare every file with its digest, once per process and version of the file.

    Raises DamagedError naming the first that is missing or differs.
    """
    for name, file in files.items():
        stat = root.stat(name)
        if stat is None:
            raise DamagedError(f"{root.uri(name)}: is missing; run `fuseline repair` to make it again")
        seen = (root, name, stat.mark, file.digest)
        if seen in _checked:
            continue
        if not _matches(root, name, file):
            what = root.uri(name)
            raise DamagedError(f"{what}: its bytes differ from its digest; run `fuseline repair` to make it again")
        _checked.add(seen)


def shards_among(root: Root, suffix: str) -> list[str]:
    """Return the names of the shards of a dataset, given how their files or folders end."""
    return sorted(name.removesuffix(suffix) for name in root.children() if name.endswith(suffix))


def last_written(root: Root, files: Iterable[str]) -> int:
    """Return when the last of some files was written; larger is later."""
    return max((stat.written for name in files if (stat := root.stat(name)) is not None), default=0)


def _matches(root: Root, name: str, file: FileRecord) -> bool:
    stat = root.stat(name)
    try:
        return stat is not None and stat.size == file.size and root.digest(name) == file.digest
    except OSError:
        return False
