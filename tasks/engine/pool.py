"""One persistent pool of worker processes per run: spawned, one native thread each."""

import atexit
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import CancelledError, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager, contextmanager, nullcontext
from importlib import import_module
from multiprocessing import connection, resource_tracker
from threading import Lock, Thread
from typing import Any

from fuseline.models.progress import Meter, metering
from fuseline.models.threads import limit_threads
from fuseline.stores.errors import DataError
from fuseline.stores.root import Root
from fuseline.tasks.engine.meters import Meters, SharedMeter
from fuseline.tasks.engine.nodes import ShardStage
from fuseline.tasks.engine.shard import make_shards
from fuseline.tasks.engine.timings import ShardReport, failed

Watch = Callable[[Meter], AbstractContextManager[None]]


class Pool:
    """Spawned workers that outlive a stage, so that models are loaded once per worker and run."""

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self.closed = False
        self._lock, self._alone = Lock(), Lock()
        self._executor: ProcessPoolExecutor | None = None
        self._meters = Meters(4 * workers)

    def start(self, modules: Iterable[str] = ()) -> "Future[None]":
        """Start one worker before there is work, and import modules in it; the others start when it has no time."""
        executor = self._running()
        with _deaf_to_interrupts():
            return executor.submit(_import, tuple(modules))

    def make_shards(
        self, stages: Sequence[ShardStage], root: Root, index: int, *, watch: Watch | None = None, **options: Any
    ) -> list[ShardReport]:
        """Make a shard of some stages in a worker; `options` as in fuseline.tasks.engine.shard.make_shards.

        While it is made, its meter is in `watch`: the worker notes there how many rows are done.

        When the worker is killed (out of memory, say) each stage is tried once more, and alone: what kills its worker
        again fails, and takes nothing else with it.

        Raises:
            CancelledError: the pool was closed.
        """
        with self._meters.taken() as meter, nullcontext() if meter is None or watch is None else watch(meter):
            options["place"] = None if meter is None else meter.place
            executor = self._running()
            try:
                return _submit(executor, stages, root, index, options).result()
            except BrokenProcessPool:
                self._drop(executor)
                if self.closed:
                    raise CancelledError from None
            with self._alone:
                return [report for stage in stages for report in self._make_alone(stage, root, index, options)]

    def close(self, *, kill: bool = False) -> None:
        """End the workers for good; with `kill`, without waiting for the shards in flight."""
        with self._lock:
            executor, self._executor, self.closed = self._executor, None, True
        if executor is None:
            return
        if kill:
            for process in list((executor._processes or {}).values()):
                process.kill()
        executor.shutdown(wait=not kill, cancel_futures=True)

    def _running(self) -> ProcessPoolExecutor:
        with self._lock:
            if self.closed:
                raise CancelledError
            if self._executor is None:
                self._executor = _executor(self.workers, self._meters)
            return self._executor

    def _drop(self, executor: ProcessPoolExecutor) -> None:
        """Let go of a broken executor, unless another thread did so first."""
        with self._lock:
            if self._executor is executor:
                self._executor = None
        executor.shutdown(wait=False)

    def _make_alone(self, stage: ShardStage, root: Root, index: int, options: dict[str, Any]) -> list[ShardReport]:
        with _executor(1, self._meters) as alone:
            try:
                return _submit(alone, (stage,), root, index, options).result()
            except BrokenProcessPool:
                cure = "lower its batch_size or shard_size if memory ran out"
                death = DataError(f"{stage.label}: shard {index} ended its worker process twice; {cure}")
                return [failed(stage.label, index, death)]


def shared_pool(workers: int) -> Pool:
    """Return this process's pool, made anew when the number of workers differs or when it was closed."""
    global _shared
    if _shared is None or _shared.closed or _shared.workers != workers:
        close_pool()
        _shared = Pool(workers)
    return _shared


def close_pool(*, kill: bool = False) -> None:
    """End this process's pool, if it has one."""
    if _shared is not None:
        _shared.close(kill=kill)


def _executor(workers: int, meters: Meters) -> ProcessPoolExecutor:
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(workers, mp_context=context, initializer=_start_worker, initargs=(meters.numbers,))


def _submit(
    executor: ProcessPoolExecutor, stages: Sequence[ShardStage], root: Root, index: int, options: dict[str, Any]
) -> "Future[list[ShardReport]]":
    # Processes start in here.
    with _deaf_to_interrupts():
        return executor.submit(_make_metered, stages, root, index, **options)


@contextmanager
def _deaf_to_interrupts() -> Iterator[None]:
    """Block SIGINT in this thread: a process started meanwhile never sees Ctrl-C, not even while it imports."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # it would unblock the signal when it starts
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _import(modules: tuple[str, ...]) -> None:
    for name in modules:
        import_module(name)


def _make_metered(
    stages: Sequence[ShardStage], root: Root, index: int, *, place: int | None, **options: Any
) -> list[ShardReport]:
    with nullcontext() if place is None else metering(SharedMeter(_numbers, place)):
        return make_shards(stages, root, index, **options)


def _start_worker(numbers: Any) -> None:
    global _numbers
    _numbers = numbers
    # Ctrl-C reaches the whole process group: only the parent decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    Thread(target=_end_with_parent, daemon=True).start()
    limit_threads(1)


def _end_with_parent() -> None:
    """End this worker when its parent is gone: a killed parent never closes the queue that workers wait for."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)


_shared: Pool | None = None
_numbers: Any = None  # of a worker: where its meters are
atexit.register(close_pool, kill=True)
