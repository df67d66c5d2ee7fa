"""Prefect tasks: batches of shards, fits and summaries, with readable run names. The manifest decides what to run."""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from typing import Any, Never, Protocol, cast

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.task_runners import TaskRunner
from prefect.utilities.annotations import quote

from fuseline.models.progress import LocalMeter, Meter, metering
from fuseline.stores.errors import StorageError
from fuseline.stores.manifest import Kind
from fuseline.stores.root import Root
from fuseline.tasks.engine.fit import make_fit
from fuseline.tasks.engine.nodes import Fit, Ingest, Node, Scan, ShardStage, Summary
from fuseline.tasks.engine.planner import Plan, over_images
from fuseline.tasks.engine.pool import close_pool, shared_pool
from fuseline.tasks.engine.shard import make_shards, make_summary
from fuseline.tasks.engine.timings import ShardReport, failed

logger = logging.getLogger(__name__)

# Prefect records about 20 task runs a second: beyond this many, a task makes several shards.
MAX_BATCHES = 200
# These are one task of one worker, which makes them before another one has started; an image may take a second.
FEW_ROWS = 256


class Listener(Protocol):
    """Who shows how far the work is, in the process that submits it."""

    def advance(self, report: ShardReport) -> None:
        """Hear of a shard as soon as it is known how it went."""

    def watch(self, labels: Sequence[str], meter: Meter) -> AbstractContextManager[None]:
        """Look at a meter while some stages' shard is under way."""


Make = Callable[..., list[ShardReport]]
Done = Callable[[ShardReport], None]


@dataclass(frozen=True)
class Execution:
    """How a stage is run; nothing here changes bytes."""

    root: Root
    source: str  # where image references start
    workers: int
    local: bool  # tasks run in threads of this process and share its pool
    retry_failed: bool = False


def run_plans(
    plans: Sequence[Plan], execution: Execution, *, runner: TaskRunner[Any], listen: Listener
) -> list[ShardReport]:
    """Make everything that some plans lack; return a report per stage and shard, failed ones with their error.

    Args:
        plans: of one node, or of several stages over images that do not read one another: shard i of all of them that
            lack it is made in one pass.
        execution: how.
        runner: what Prefect tasks are submitted to.
        listen: who shows how far it is.

    Raises:
        FuselineError: nothing more can be done for this node (disk full, no training document, ...).
    """
    plan, node = plans[0], plans[0].node
    if isinstance(node, ShardStage):
        return _run_batches(plans, execution, runner, listen)
    if not plan.todo and not (plan.scan and plan.scan.stale_state):
        return []
    opaque: Any = quote
    return run_whole.with_options(task_run_name=node.label)(
        opaque(node), opaque(plan), opaque(execution), opaque(listen)
    )


class Work:
    """A batch: which stages to make of which shards, how, by what, and who hears of it.

    A plain class: Prefect takes tuples, mappings and dataclasses apart to look for futures in them, and prefect-dask
    its own `quote` too.
    """

    def __init__(
        self, shards: dict[int, list[ShardStage]], execution: Execution, make: Make, listen: Listener | None
    ) -> None:
        self.shards, self.execution, self.make, self.listen = shards, execution, make, listen

    @property
    def name(self) -> str:
        """What the batch is called in Prefect: "embed/image shard 0-3"."""
        labels = list(dict.fromkeys(stage.label for stages in self.shards.values() for stage in stages))
        first, last = min(self.shards), max(self.shards)
        return f"{' + '.join(labels)} shard {first}" + (f"-{last}" if last > first else "")


@task(name="shards", cache_policy=NO_CACHE, persist_result=False, retries=0)
def batch(work: Work) -> list[ShardReport]:
    """Make some shards, committing one by one; what fails is reported and the rest goes on."""
    reports = []
    for index, stages in work.shards.items():
        for report in _guarded(work, index, stages):
            reports.append(report)
            if work.listen is not None:
                work.listen.advance(report)
    return reports


@task(name="whole", cache_policy=NO_CACHE, persist_result=False, retries=0)
def run_whole(node: Node, plan: Plan, execution: Execution, listen: Listener) -> list[ShardReport]:
    """Run a node that is one piece of work: an ingest, a fit or a summary."""
    reports: list[ShardReport] = []

    def done(report: ShardReport) -> None:
        reports.append(report)
        listen.advance(report)

    meter = LocalMeter()
    with listen.watch([node.label], meter), metering(meter):
        _WHOLE[node.kind](cast(Never, node), plan, execution, done)
    return reports


def _ingest(node: Ingest, plan: Plan, execution: Execution, done: Done) -> None:
    records = node.dataset(execution.root).records()
    broken = frozenset(i for i in plan.missing if i in records)
    scan = plan.scan or Scan({})
    node.make(
        cast(Never, node), execution.root, broken=broken, listing=cast(Never, scan.listing), again=scan.again, done=done
    )


def _fit(node: Fit, plan: Plan, execution: Execution, done: Done) -> None:
    done(make_fit(node, execution.root, source=execution.source, again=plan.snapshot, warning=plan.warning))


def _summary(node: Summary, plan: Plan, execution: Execution, done: Done) -> None:
    done(make_summary(node, execution.root, source=execution.source))


_WHOLE: dict[Kind, Callable[[Never, Plan, Execution, Done], None]] = {
    "documents": _ingest, "checkpoint": _fit, "tables": _summary,
}  # fmt: skip


def _run_batches(
    plans: Sequence[Plan], execution: Execution, runner: TaskRunner[Any], listen: Listener
) -> list[ShardReport]:
    shards: dict[int, list[ShardStage]] = {}
    for plan in plans:
        for index in plan.todo:
            if isinstance(plan.node, ShardStage):
                shards.setdefault(index, []).append(plan.node)
    # A listener lives in this process: elsewhere a batch is announced when it comes home.
    listener, make = (listen, _maker(execution)) if execution.local else (None, make_shards)
    futures = []
    for indices in batched(sorted(shards), 1 if few_rows(plans, execution.root) else MAX_BATCHES):
        work = Work({index: shards[index] for index in indices}, execution, make, listener)
        futures.append(runner.submit(batch.with_options(task_run_name=work.name), {"work": work}))
    reports: list[ShardReport] = []
    try:
        for future in futures:
            done = future.result()
            reports += done
            if not execution.local:
                for report in done:
                    listen.advance(report)
    except KeyboardInterrupt:
        # The threads wait for workers; without them the shards in flight would not be awaited.
        close_pool(kill=True)
        raise
    return reports


def few_rows(plans: Sequence[Plan], root: Root) -> bool:
    """Return whether the shards that plans lack hold few rows in all, and no image has to be read."""
    if any(over_images(plan.node) for plan in plans):
        return False
    records = {plan.node.name: plan.node.reads[0].node.dataset(root).records() for plan in plans}
    return sum(records[plan.node.name][index].n_rows for plan in plans for index in plan.todo) <= FEW_ROWS


def _maker(execution: Execution) -> Make:
    """Return what makes shards for threads of this process: its pool, or they where no other process sees the root."""
    return shared_pool(execution.workers).make_shards if execution.root.shared else _make_here


def _make_here(
    stages: Sequence[ShardStage], root: Root, index: int, *, watch: Callable[[Meter], AbstractContextManager[None]],
    **options: Any,
) -> list[ShardReport]:  # fmt: skip
    meter = LocalMeter()
    with watch(meter), metering(meter):
        return make_shards(stages, root, index, **options)


def batched(indices: list[int], most: int) -> Iterator[list[int]]:
    """Split indices into at most `most` runs of equal length."""
    size = max(1, -(-len(indices) // most))
    return (indices[start : start + size] for start in range(0, len(indices), size))


def _guarded(work: Work, index: int, stages: list[ShardStage]) -> list[ShardReport]:
    options: dict[str, Any] = {"source": work.execution.source, "retry_failed": work.execution.retry_failed}
    if work.listen is not None:
        options["watch"] = partial(work.listen.watch, [stage.label for stage in stages])
    try:
        return work.make(stages, work.execution.root, index, **options)
    except StorageError:
        raise
    except Exception as error:
        logger.debug("shard %d failed", index, exc_info=True)
        return [failed(stage.label, index, error) for stage in stages]
