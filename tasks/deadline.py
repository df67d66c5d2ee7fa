"""Give up on a call that takes too long, in any thread and whatever it does."""

import multiprocessing
import signal
import threading
import weakref
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from types import FrameType
from typing import Any, TypeVar

A = TypeVar("A")
R = TypeVar("R")

_START_SECONDS = 60.0  # a fresh interpreter may be slow to import on a busy machine; it isn't the call's fault
_local = threading.local()


class DeadlineExceededError(TimeoutError):
    """A call took longer than it was given."""


class CrashedError(RuntimeError):
    """The child process that ran a call died."""


class _Alarm(BaseException):
    """Raised inside a parser by the timer; no Exception, so that no handler of the parser swallows it."""


def call(function: Callable[[A], R], argument: A, *, seconds: float, isolate: bool = False) -> R:
    """Return `function(argument)`, or raise once `seconds` have passed.

    In the main thread a timer signal interrupts Python code. In other threads, and when `isolate` says that the call
    runs C code that never looks at signals, a child process does the work and is killed; `function`, the argument and
    the result must then be picklable.

    Raises DeadlineExceededError, CrashedError, and whatever the function raises.
    """
    if seconds <= 0:
        raise ValueError(f"seconds: expected a number above 0, got {seconds!r}; raise the time limit")
    in_main = threading.current_thread() is threading.main_thread()
    if in_main and not isolate and hasattr(signal, "setitimer"):
        return _call_with_alarm(function, argument, seconds)
    return _child().call(function, argument, seconds)


def _call_with_alarm(function: Callable[[A], R], argument: A, seconds: float) -> R:
    def ring(_number: int, _frame: FrameType | None) -> None:
        raise _Alarm

    previous = signal.signal(signal.SIGALRM, ring)
    outer = (0.0, 0.0)
    try:
        # The repeat rings again if the first alarm fell into a callback whose exceptions Python ignores.
        outer = signal.setitimer(signal.ITIMER_REAL, seconds, 1.0)
        try:
            return function(argument)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
    except _Alarm:
        raise DeadlineExceededError(f"gave up after {seconds:g} s") from None
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
        signal.setitimer(signal.ITIMER_REAL, *outer)  # someone else's alarm, only later


def _child() -> "_Child":
    child: _Child | None = getattr(_local, "child", None)
    if child is None or not child.alive():
        child = _local.child = _Child()
    return child


class _Child:
    """A spawned interpreter that runs one call after another for one thread."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs,), daemon=True)
        self._process.start()
        theirs.close()
        self.stop = weakref.finalize(self, _stop, self._process, self._pipe)  # also when the thread or program ends
        if not self._pipe.poll(_START_SECONDS) or self._pipe.recv() is not None:
            self.stop()
            raise CrashedError(f"the helper process did not start within {_START_SECONDS:g} s")

    def alive(self) -> bool:
        return self._process.is_alive()

    def call(self, function: Callable[[A], R], argument: A, seconds: float) -> R:
        try:
            self._pipe.send((function, argument))
            if not self._pipe.poll(seconds):
                self.stop()
                raise DeadlineExceededError(f"gave up after {seconds:g} s")
            error, value = self._pipe.recv()
        except (EOFError, BrokenPipeError, ConnectionResetError) as death:
            self.stop()
            raise CrashedError(f"the call ended its process (exit code {self._process.exitcode})") from death
        if error is not None:
            raise error
        result: R = value
        return result


def _stop(process: BaseProcess, pipe: Connection) -> None:
    process.kill()
    process.join()
    pipe.close()


def _serve(pipe: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which then ends us
    pipe.send(None)
    while True:
        try:
            function, argument = pipe.recv()
        except EOFError:
            return
        pipe.send(_attempt(function, argument))


def _attempt(function: Callable[[Any], Any], argument: Any) -> tuple[Exception | None, Any]:
    try:
        return None, function(argument)
    except Exception as error:  # it crosses the pipe and is raised again on the other side
        return RuntimeError(f"{type(error).__name__}: {error}"[:500]), None
