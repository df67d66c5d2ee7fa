"""Files and folders that appear whole or not at all."""

import errno
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from fuseline.stores.errors import StorageError

PARTIAL = ".partial"


@contextmanager
def atomic_file(path: Path, *, exclusive: bool = False) -> Iterator[Path]:
    """Yield a sibling to write to, and rename it onto `path` when the block ends well.

    Raises StorageError when the disk is full or the folder cannot be written, and for an `exclusive` file when there is
    one of that name; the old file then stays as it was.
    """
    partial = _partial(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield partial
        sync(partial)
        if exclusive:
            os.link(partial, path)
        else:
            partial.replace(path)
        sync(path.parent)
    except OSError as error:
        raise storage_error(path, error) from error
    finally:
        # On a read-only disk this fails too, and must not hide the error above.
        with suppress(OSError):
            partial.unlink()


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yield an empty sibling folder, and rename it to `path` when the block ends well.

    A folder already at `path` is replaced; a kill between its two renames loses it, so give every content its own
    name and replace only what is damaged. A failure puts it back.
    """
    partial, aside = _partial(path), _partial(path)
    try:
        partial.mkdir(parents=True)
        yield partial
        for file in (*sorted(partial.rglob("*")), partial):
            sync(file)
        if path.exists():
            path.rename(aside)
        partial.rename(path)
        sync(path.parent)
    except OSError as error:
        raise storage_error(path, error) from error
    finally:
        _clean_up(path, partial, aside)


def write_bytes(path: Path, data: bytes, *, private: bool = False) -> None:
    """Write a small file atomically; a private one is readable by its owner alone from its first byte on."""
    with atomic_file(path) as partial:
        if private:
            partial.touch(0o600, exist_ok=False)
        partial.write_bytes(data)


def linked(path: Path, data: bytes) -> bool:
    """Write a small file atomically unless there is one, and return whether it was written.

    Raises StorageError as `atomic_file` does.
    """
    try:
        with atomic_file(path, exclusive=True) as partial:
            partial.write_bytes(data)
    except StorageError as error:
        if error.errno != errno.EEXIST:
            raise
        return False
    return True


def sync(path: Path) -> None:
    """Return when the bytes of a file, or the names in a folder, are on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def is_partial(path: Path) -> bool:
    """Return whether a path is the left-over of a killed write."""
    return path.name.startswith(".") and path.name.endswith(PARTIAL)


def storage_error(path: Path, error: OSError) -> StorageError:
    """Word an operating system's refusal to write: what failed, and the cure."""
    if isinstance(error, StorageError):
        return error
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        cure = "the disk is full: free some space and run again, committed shards are kept"
    else:
        cure = f"{error.strerror or error}: choose another `root`, or make it writable"
    return StorageError(error.errno, f"cannot write {path}; {cure}")


def _partial(path: Path) -> Path:
    return path.parent / f".{path.name}.{uuid.uuid4().hex[:8]}{PARTIAL}"


def _clean_up(path: Path, partial: Path, aside: Path) -> None:
    shutil.rmtree(partial, ignore_errors=True)
    with suppress(OSError):
        if aside.exists() and not path.exists():
            aside.rename(path)
        for old in path.parent.glob(f".{path.name}.*{PARTIAL}"):
            shutil.rmtree(old, ignore_errors=True)
