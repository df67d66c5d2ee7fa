"""One persistent pool of worker processes per run: spawned, one native thread each."""

import atexit
import multiprocessing
import os
import signal
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from threading import Lock
from typing import Any

from tasks.nodes import ShardStage
from tasks.shard import ShardReport, make_shard


class Pool:
    """Spawned workers that outlive a stage, so that models are loaded once per worker and run."""

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self._lock = Lock()
        self._executor: ProcessPoolExecutor | None = None

    def make_shard(
        self, stage: ShardStage, root: Path, index: int, *, source: str, retry_failed: bool = False
    ) -> ShardReport:
        """Make a shard in a worker; a worker that is killed (out of memory, say) is replaced and asked once more."""
        options = {"source": source, "retry_failed": retry_failed}
        try:
            return self._submit(stage, root, index, **options).result()
        except BrokenProcessPool:
            self.close()
            return self._submit(stage, root, index, **options).result()

    def _submit(self, *args: Any, **options: Any) -> "Future[ShardReport]":
        with self._lock:
            if self._executor is None:
                context = multiprocessing.get_context("spawn")
                self._executor = ProcessPoolExecutor(self.workers, mp_context=context, initializer=_start_worker)
            return self._executor.submit(make_shard, *args, **options)

    def close(self, *, kill: bool = False) -> None:
        """End the workers; with `kill`, without waiting for the shards in flight."""
        with self._lock:
            executor, self._executor = self._executor, None
        if executor is None:
            return
        if kill:
            for process in list(executor._processes.values()):
                process.kill()
        executor.shutdown(wait=not kill, cancel_futures=True)


def shared_pool(workers: int) -> Pool:
    """Return this process's pool, made anew when the number of workers differs."""
    global _shared
    if _shared is None or _shared.workers != workers:
        close_pool()
        _shared = Pool(workers)
    return _shared


def close_pool(*, kill: bool = False) -> None:
    """End this process's pool, if it has one."""
    if _shared is not None:
        _shared.close(kill=kill)


def _start_worker() -> None:
    # Ctrl-C reaches the whole process group: only the parent decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Read by torch, faiss and their OpenMP when a stage first loads them.
    os.environ.update(dict.fromkeys(_THREADS, "1"))


_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")
_shared: Pool | None = None
atexit.register(close_pool, kill=True)
