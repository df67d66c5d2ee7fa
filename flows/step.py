"""Run the nodes of one flow, in order, and account for them."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner

from flows.config import Config, ExecutionConfig
from flows.graph import build
from flows.progress import teller
from flows.runtime import Account
from stores.errors import ConfigError, DataError, mismatch
from tasks.nodes import Node
from tasks.planner import Plan, PlanOptions, plan_node
from tasks.shard import ShardReport
from tasks.stage import Execution, run_plan


class Wishes(NamedTuple):
    """What the user asked for beside the configuration."""

    retry_failed: bool = False
    refit: bool = False


def run_step(flow: str, config: Config, wishes: Wishes) -> list[dict[str, Any]]:
    """Bring every node of one flow up to date; return an Account per node as plain values.

    Raises:
        DataError: a shard failed; the others are committed.
    """
    return run_nodes([node for node in build(config) if node.flow == flow], config, wishes)


def run_nodes(nodes: list[Node], config: Config, wishes: Wishes, *, source: str | None = None) -> list[dict[str, Any]]:
    """Bring nodes up to date in order, each planned when its upstream is done."""
    root = Path(config.root)
    images = config.source.image_root() if source is None else source
    options = PlanOptions(images, wishes.retry_failed, "now" if wishes.refit else config.refit)
    local = config.run.executor == "local"
    execution = Execution(root, images, config.run.workers, local, wishes.retry_failed)
    accounts = []
    with task_runner(config.run) as runner:
        for node in nodes:
            plan = plan_node(node, root, options)
            started = time.perf_counter()
            if plan.todo:
                teller().begin(node.label, len(plan.todo))
            reports = run_plan(plan, execution, runner=runner, listen=teller().advance)
            account = _account(plan, reports, time.perf_counter() - started)
            accounts.append(account.to_dict())
            if account.errors:
                raise DataError(f"{node.label}: {account.failed_shards} shards failed; first: {account.errors[0]}")
    return accounts


def _account(plan: Plan, reports: list[ShardReport], seconds: float) -> Account:
    errors = tuple(f"shard {report.index}: {report.error}" for report in reports if report.error)
    return Account(
        stage=plan.node.label,
        fresh=len(plan.fresh),
        computed_shards=len(reports) - len(errors),
        rows_computed=sum(report.computed for report in reports),
        rows_reused=sum(report.reused for report in reports),
        failed_shards=len(errors),
        seconds=round(seconds, 3) if reports else 0.0,
        errors=errors,
    )


@contextmanager
def task_runner(run: ExecutionConfig) -> Iterator[TaskRunner[Any]]:
    """Yield what Prefect tasks are submitted to: threads of this process, or a Dask or Ray cluster."""
    if run.executor == "local":
        threads: TaskRunner[Any] = ThreadPoolTaskRunner(max_workers=run.workers)
        with threads:
            yield threads
        return
    with _cluster(run) as cluster:
        yield cluster


def _cluster(run: ExecutionConfig) -> TaskRunner[Any]:
    try:
        if run.executor == "ray":
            from prefect_ray import RayTaskRunner

            ray: TaskRunner[Any] = RayTaskRunner(
                address=run.address, init_kwargs={} if run.address else {"num_cpus": run.workers}
            )
            return ray
        from prefect_dask import DaskTaskRunner
    except ImportError as error:
        package, cure = f"prefect-{run.executor}", f"pip install 'fuseline[{run.executor}]'"
        raise ConfigError(mismatch("run.executor", f"the package {package}", "not installed", cure)) from error
    logging.getLogger("distributed").setLevel(logging.WARNING)
    local = {"cluster_kwargs": {"n_workers": run.workers, "threads_per_worker": 1}}
    dask: TaskRunner[Any] = DaskTaskRunner(**({"address": run.address} if run.address else local))
    return dask
