"""Prefect tasks: batches of shards, fits and summaries, with readable run names. The manifest decides what to run."""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.task_runners import TaskRunner
from prefect.utilities.annotations import quote

from stores.errors import FuselineError, StorageError
from tasks.fit import make_fit
from tasks.ingest import ingest
from tasks.nodes import Fit, Ingest, Node, ShardStage, Summary
from tasks.planner import Plan
from tasks.pool import close_pool, shared_pool
from tasks.shard import ShardReport, make_shard, make_summary

logger = logging.getLogger(__name__)

# Prefect records about 20 task runs a second: beyond this many, a task makes several shards.
MAX_BATCHES = 200

Listener = Callable[[Node, ShardReport], None]
Make = Callable[..., ShardReport]


@dataclass(frozen=True)
class Execution:
    """How a stage is run; nothing here changes bytes."""

    root: Path
    source: str  # where image references start
    workers: int
    local: bool  # tasks run in threads of this process and share its pool
    retry_failed: bool = False


def run_plan(plan: Plan, execution: Execution, *, runner: TaskRunner[Any], listen: Listener) -> list[ShardReport]:
    """Make everything that a plan lacks; return one report per shard, failed ones with their error.

    Raises:
        FuselineError: nothing more can be done for this node (disk full, no training document, ...).
    """
    node = plan.node
    if not plan.todo and not (plan.scan and plan.scan.stale_state):
        return []
    if isinstance(node, ShardStage):
        return _run_batches(plan, execution, runner, listen)
    opaque: Any = quote
    return one.with_options(task_run_name=node.label)(opaque(node), opaque(plan), opaque(execution), opaque(listen))


class Work:
    """What the shards of a batch share: the stage, how it is made, by what, and who hears of it.

    A plain class: Prefect takes tuples, mappings and dataclasses apart to look for futures in them, and prefect-dask
    its own `quote` too.
    """

    def __init__(self, node: Node, execution: Execution, make: Make, listen: Listener | None) -> None:
        self.node, self.execution, self.make, self.listen = node, execution, make, listen


@task(name="shards", cache_policy=NO_CACHE, persist_result=False, retries=0)
def batch(work: Work, indices: list[int]) -> list[ShardReport]:
    """Make some shards of one stage, committing one by one; a shard that fails is reported and the rest go on."""
    reports = []
    for index in indices:
        report = _guarded(work, index)
        if work.listen is not None:
            work.listen(work.node, report)
        reports.append(report)
    return reports


@task(name="whole", cache_policy=NO_CACHE, persist_result=False, retries=0)
def one(node: Node, plan: Plan, execution: Execution, listen: Listener) -> list[ShardReport]:
    """Run a node that is one piece of work: an ingest, a fit or a summary."""
    reports: list[ShardReport] = []

    def done(report: ShardReport) -> None:
        reports.append(report)
        listen(node, report)

    if isinstance(node, Ingest):
        records = node.dataset(execution.root).records()
        ingest(node, execution.root, broken=frozenset(i for i in plan.missing if i in records), done=done)
    elif isinstance(node, Fit):
        done(make_fit(node, execution.root, source=execution.source))
    elif isinstance(node, Summary):
        done(make_summary(node, execution.root, source=execution.source))
    return reports


def _run_batches(plan: Plan, execution: Execution, runner: TaskRunner[Any], listen: Listener) -> list[ShardReport]:
    node, batches = plan.node, list(batched(plan.todo, MAX_BATCHES))
    # A listener lives in this process: elsewhere a batch is announced when it comes home.
    listener, make = (listen, shared_pool(execution.workers).make_shard) if execution.local else (None, make_shard)
    work = Work(node, execution, make, listener)
    futures = [
        runner.submit(batch.with_options(task_run_name=_run_name(node, indices)), {"work": work, "indices": indices})
        for indices in batches
    ]
    reports: list[ShardReport] = []
    try:
        for future in futures:
            done = future.result()
            reports += done
            if not execution.local:
                for report in done:
                    listen(node, report)
    except KeyboardInterrupt:
        # The threads wait for workers: without them nobody waits for the shards in flight.
        close_pool(kill=True)
        raise
    return reports


def batched(indices: list[int], most: int) -> Iterator[list[int]]:
    """Split indices into at most `most` runs of equal length."""
    size = max(1, -(-len(indices) // most))
    return (indices[start : start + size] for start in range(0, len(indices), size))


def _run_name(node: Node, indices: list[int]) -> str:
    span = f"{indices[0]}" if len(indices) == 1 else f"{indices[0]}-{indices[-1]}"
    return f"{node.label} shard {span}"


def _guarded(work: Work, index: int) -> ShardReport:
    execution = work.execution
    try:
        return work.make(work.node, execution.root, index, source=execution.source, retry_failed=execution.retry_failed)
    except StorageError:
        raise
    except Exception as error:
        logger.debug("%s shard %d failed", work.node.label, index, exc_info=True)
        reason = str(error) if isinstance(error, FuselineError) else f"{type(error).__name__}: {error}"
        return ShardReport(index, 0, 0, 0, 0.0, reason)
