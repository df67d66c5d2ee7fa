"""One run at a time on one output root."""

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import filelock
import orjson

from fuseline.stores.atomic import storage_error, write_bytes
from fuseline.stores.errors import LockedError, StorageError
from fuseline.stores.root import Root

LOCK = ".lock"
HOLDER = ".lock.json"


@contextmanager
def hold(
    root: Root, *, started: str, wait: float, command: str = "", waiting: Callable[[str], None] | None = None
) -> Iterator[None]:
    """Hold the output root for the block; the operating system frees it when the process dies.

    Needs no room on the disk. A place that is no disk of this machine is held for this machine alone.

    Args:
        root: the output root, made when absent.
        started: when the run started, shown to others who find the root locked.
        wait: seconds to wait for another run; -1 waits for ever.
        command: what was called, told likewise.
        waiting: called with a sentence on who holds the root before it is waited for.

    Raises:
        LockedError: another run still holds the root; the message says which.
        StorageError: the root cannot be written.
    """
    try:
        root.beside().mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise storage_error(root.beside(), error) from error
    lock = filelock.FileLock(root.beside() / LOCK, is_singleton=True, thread_local=False)
    try:
        _acquire(lock, root, wait, waiting)
    except filelock.Timeout as error:
        raise LockedError(f"{root}: {holder(root)} holds it; wait for its end, or give --wait SECONDS") from error
    except OSError as error:
        raise storage_error(root.beside(), error) from error
    try:
        _sign(root, {"pid": os.getpid(), "host": socket.gethostname(), "started": started, "command": command})
        yield
    finally:
        lock.release()


def holder(root: Root) -> str:
    """Return who holds, or last held, the root, in human-readable form."""
    try:
        who = orjson.loads((root.beside() / HOLDER).read_bytes())
        command = f" by `{who['command']}`" if who.get("command") else ""
        return f"process {who['pid']} on {who['host']}, started {who['started']}{command},"
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return "another run"


def held_by(root: Root) -> str | None:
    """Return who holds the root now, as a phrase; None when it is free."""
    if not (root.beside() / HOLDER).exists():
        return None
    lock = filelock.FileLock(root.beside() / LOCK)
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        return holder(root)
    lock.release()
    return None


def _acquire(lock: filelock.BaseFileLock, root: Root, wait: float, waiting: Callable[[str], None] | None) -> None:
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        if wait == 0:
            raise
        if waiting is not None:
            waiting(f"{root}: {holder(root)} holds it; waiting" + (f" up to {wait:g} s" if wait > 0 else ""))
        lock.acquire(timeout=wait)


def _sign(root: Root, who: dict[str, str | int]) -> None:
    """Write who holds the root; on a full disk no name is written, rather than that of the previous holder."""
    try:
        write_bytes(root.beside() / HOLDER, orjson.dumps(who))
    except StorageError:
        with suppress(OSError):
            (root.beside() / HOLDER).unlink(missing_ok=True)
