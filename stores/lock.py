"""One run at a time on one output root."""

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import filelock
import orjson

from fuseline.stores.atomic import storage_error, write_bytes
from fuseline.stores.errors import LockedError, StorageError

LOCK = ".lock"
HOLDER = ".lock.json"


@contextmanager
def hold(
    root: Path, *, started: str, wait: float, command: str = "", waiting: Callable[[str], None] | None = None
) -> Iterator[None]:
    """Hold the output root for the block; the operating system frees it when the process dies.

    Needs no room on the disk.

    Args:
        root: the output root, made when absent.
        started: when the run started, told to whoever finds the lock taken.
        wait: seconds to wait for another run; -1 waits for ever.
        command: what was called, told likewise.
        waiting: called with a sentence on who holds the root before it is waited for.

    Raises:
        LockedError: another run still holds the root; the message says which.
        StorageError: the root cannot be written.
    """
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise storage_error(root, error) from error
    lock = filelock.FileLock(root / LOCK, is_singleton=True, thread_local=False)
    try:
        _acquire(lock, root, wait, waiting)
    except filelock.Timeout as error:
        raise LockedError(f"{root}: {holder(root)} holds it; wait for its end, or give --wait SECONDS") from error
    except OSError as error:
        raise storage_error(root, error) from error
    try:
        _sign(root, {"pid": os.getpid(), "host": socket.gethostname(), "started": started, "command": command})
        yield
    finally:
        lock.release()


def holder(root: Path) -> str:
    """Return who holds, or last held, the root, in human-readable form."""
    try:
        who = orjson.loads((root / HOLDER).read_bytes())
        command = f" by `{who['command']}`" if who.get("command") else ""
        return f"process {who['pid']} on {who['host']}, started {who['started']}{command},"
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return "another run"


def _acquire(lock: filelock.BaseFileLock, root: Path, wait: float, waiting: Callable[[str], None] | None) -> None:
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        if wait == 0:
            raise
        if waiting is not None:
            waiting(f"{root}: {holder(root)} holds it; waiting" + (f" up to {wait:g} s" if wait > 0 else ""))
        lock.acquire(timeout=wait)


def _sign(root: Path, who: dict[str, str | int]) -> None:
    """Write who holds the root; on a full disk nobody is named, rather than who held it before."""
    try:
        write_bytes(root / HOLDER, orjson.dumps(who))
    except StorageError:
        with suppress(OSError):
            (root / HOLDER).unlink(missing_ok=True)
