"""One run at a time on one output root."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import filelock
import orjson

from stores.atomic import storage_error, write_bytes
from stores.errors import LockedError

LOCK = ".lock"
HOLDER = ".lock.json"


@contextmanager
def hold(root: Path, *, started: str, wait: float) -> Iterator[None]:
    """Hold the output root for the block; the operating system frees it when the process dies.

    Args:
        root: the output root, made when absent.
        started: when the run started, told to whoever finds the lock taken.
        wait: seconds to wait for another run; -1 waits for ever.

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
        lock.acquire(timeout=wait)
    except filelock.Timeout as error:
        raise LockedError(f"{root}: {holder(root)} holds it; wait for its end, or give --wait SECONDS") from error
    except OSError as error:
        raise storage_error(root, error) from error
    try:
        who = {"pid": os.getpid(), "host": socket.gethostname(), "started": started}
        write_bytes(root / HOLDER, orjson.dumps(who))
        yield
    finally:
        lock.release()


def holder(root: Path) -> str:
    """Return who holds, or last held, the root, for people."""
    try:
        who = orjson.loads((root / HOLDER).read_bytes())
        return f"process {who['pid']} on {who['host']}, started {who['started']},"
    except (OSError, ValueError, KeyError, TypeError):
        return "another run"
