"""Make the operating system fail, or the process die, at the n-th call that touches the disk."""

import os
import resource
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

CALLS = ("replace", "rename", "fsync", "open", "link", "mkdir", "unlink", "rmdir")


class Killed(BaseException):
    """The process died: nothing after it runs, not even clean-up."""


class Countdown:
    """Counts calls down and raises at the last; after `Killed` every later call raises too."""

    def __init__(self, calls: int, error: BaseException, *, after: bool) -> None:
        self.left, self.error, self.after, self.fired = calls, error, after, False
        # A disk is full for every thread; an interrupt or a simulated kill belongs to the one under test.
        self.thread = None if isinstance(error, OSError) else threading.get_ident()

    def around(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            if self.thread not in (None, threading.get_ident()):
                return real(*args, **options)
            if self.fired:
                if isinstance(self.error, Killed):
                    raise self.error
                return real(*args, **options)
            self.left -= 1
            self.fired = self.left <= 0
            if not self.fired:
                return real(*args, **options)
            if self.after:
                real(*args, **options)
            raise self.error

        return call


@contextmanager
def failing(calls: int, error: BaseException, *, after: bool = False) -> Iterator[Countdown]:
    """Raise `error` at the n-th of CALLS inside the block, before or after it took effect."""
    countdown = Countdown(calls, error, after=after)
    with mock.patch.multiple(os, **{name: countdown.around(getattr(os, name)) for name in CALLS}):
        yield countdown


@contextmanager
def full_disk() -> Iterator[None]:
    """Let no file grow by a byte; files can still be opened, renamed and removed."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def caught(run: Callable[[], Any]) -> BaseException | None:
    """Run and return what it raised, if anything."""
    try:
        run()
    except BaseException as error:
        return error
    return None


def flip(path: Path) -> None:
    """Change a bit in the middle of a file; its size and its times stay."""
    stat, data = path.stat(), bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0x80
    path.write_bytes(data)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
