"""Meters that worker processes write and this process reads: two numbers each in shared memory, and no lock.

A worker that is killed at any moment leaves nothing behind that others wait for.
"""

import multiprocessing
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any


class SharedMeter:
    """One place in the shared memory, as fuseline.models.progress.Meter."""

    doing = ""

    def __init__(self, numbers: Any, place: int) -> None:
        self._numbers, self.place = numbers, place

    @property
    def done(self) -> int:
        """How much is done."""
        return int(self._numbers[2 * self.place])

    @done.setter
    def done(self, value: int) -> None:
        """Note it."""
        self._numbers[2 * self.place] = value

    @property
    def total(self) -> int:
        """Of how much; 0 = not known."""
        return int(self._numbers[2 * self.place + 1])

    @total.setter
    def total(self, value: int) -> None:
        """Note it."""
        self._numbers[2 * self.place + 1] = value


class Meters:
    """As many meters as pieces of work may be under way at once."""

    def __init__(self, n: int) -> None:
        self.numbers = multiprocessing.get_context("spawn").RawArray("q", 2 * n)
        self._free, self._lock = list(range(n)), Lock()

    @contextmanager
    def taken(self) -> Iterator[SharedMeter | None]:
        """Yield a meter at zero for one piece of work, None when all are taken."""
        with self._lock:
            place = self._free.pop() if self._free else None
        if place is None:
            yield None
            return
        meter = SharedMeter(self.numbers, place)
        meter.done = meter.total = 0
        try:
            yield meter
        finally:
            with self._lock:
                self._free.append(place)
