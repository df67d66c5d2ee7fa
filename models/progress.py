"""Progress of long work: noted by the code that does it, read by the code that displays it, if any."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol, TypeVar

T = TypeVar("T")


class Meter(Protocol):
    """What a piece of work notes; written by one thread, read by others at any time."""

    done: int
    total: int  # 0 = not known
    doing: str  # what is going on, in words; "" = the work itself


class LocalMeter:
    """A meter that is read in this process."""

    def __init__(self) -> None:
        self.done, self.total, self.doing = 0, 0, ""


@contextmanager
def metering(meter: Meter) -> Iterator[None]:
    """Let the block's work note its progress on a meter."""
    token = _meter.set(meter)
    try:
        yield
    finally:
        _meter.reset(token)


def note(done: int, total: int = 0) -> None:
    """Note that so many rows, or whatever the work consists of, are done."""
    meter = _meter.get()
    if meter is not None:
        meter.done, meter.total = done, total


def note_doing(doing: str) -> None:
    """Note in words what is going on, "" for the work itself; how much of it is done is not known yet."""
    meter = _meter.get()
    if meter is not None:
        meter.done, meter.total, meter.doing = 0, 0, doing


def noted(items: Iterable[T], total: int, *, every: int = 32) -> Iterator[T]:
    """Yield items, noting how many of `total` are done after every few."""
    for number, item in enumerate(items):
        if not number % every:
            note(number, total)
        yield item


_meter: ContextVar[Meter | None] = ContextVar("meter", default=None)
