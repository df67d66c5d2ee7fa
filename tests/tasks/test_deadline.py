"""Calls that hang, crash or raise, in the main thread and in others."""

import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest

from fuseline.tasks import deadline


def double(value: int) -> int:
    return 2 * value


def spin(_: int) -> int:
    while True:
        with suppress(Exception):  # as a careless parser does
            time.sleep(0.01)


def fail(value: int) -> int:
    raise ValueError(f"no {value}")


def die(_: int) -> int:
    os._exit(3)


def test_main_thread_returns_and_gives_up() -> None:
    before = signal.getsignal(signal.SIGALRM)
    assert deadline.call(double, 3, seconds=5) == 6
    start = time.monotonic()
    with pytest.raises(deadline.DeadlineExceededError, match=r"0\.2 s"):
        deadline.call(spin, 0, seconds=0.2)
    assert time.monotonic() - start < 3
    assert signal.getsignal(signal.SIGALRM) is before


def test_errors_pass_through_in_the_main_thread() -> None:
    with pytest.raises(ValueError, match="no 4"):
        deadline.call(fail, 4, seconds=5)


def test_an_outer_alarm_survives() -> None:
    outer = signal.setitimer(signal.ITIMER_REAL, 300)
    try:
        deadline.call(double, 1, seconds=5)
        assert signal.getitimer(signal.ITIMER_REAL)[0] > 200
    finally:
        signal.setitimer(signal.ITIMER_REAL, *outer)


def test_other_threads_use_a_child_that_is_killed_and_replaced() -> None:
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(deadline.call, double, 3, seconds=30).result() == 6
        with pytest.raises(deadline.DeadlineExceededError):
            pool.submit(deadline.call, spin, 0, seconds=0.3).result()
        with pytest.raises(RuntimeError, match="ValueError: no 4"):
            pool.submit(deadline.call, fail, 4, seconds=30).result()
        with pytest.raises(deadline.CrashedError, match="exit code 3"):
            pool.submit(deadline.call, die, 0, seconds=30).result()
        assert pool.submit(deadline.call, double, 5, seconds=30).result() == 10
    assert threading.current_thread() is threading.main_thread()


def test_no_time_is_refused() -> None:
    with pytest.raises(ValueError, match="seconds: expected a number above 0, got 0"):
        deadline.call(double, 1, seconds=0)
