"""Run the nodes of one flow, in order, and account for them."""

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, NamedTuple

from prefect.context import FlowRunContext
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner

from fuseline.flows.config import Config, ExecutionConfig
from fuseline.flows.graph import build
from fuseline.flows.plan_options import plan_options
from fuseline.flows.progress_display import Expected, progress_reporter
from fuseline.flows.results.outcome import check_failures
from fuseline.flows.runtime import StageSummary
from fuseline.stores.errors import ConfigError, DataError, mismatch
from fuseline.stores.places import open_root
from fuseline.stores.root import Root
from fuseline.tasks.documents.presence import check_present
from fuseline.tasks.engine.nodes import Ingest, Node, ShardStage, Summary
from fuseline.tasks.engine.planner import Plan, over_images, plan_all, plan_node
from fuseline.tasks.engine.prefect_tasks import Execution, run_plans
from fuseline.tasks.engine.timings import ShardReport, Timings
from fuseline.tasks.experiments.folds import check_folds
from fuseline.tasks.stages.codebook_drift import refits

COUNTS = ("computed_shards", "rows_computed", "rows_reused", "failed_shards", "seconds")


class RunOptions(NamedTuple):
    """Options of a run beside the configuration."""

    retry_failed: bool = False
    refit: bool = False


def run_step(
    flows: Sequence[str], config: Config, run_options: RunOptions, *, only: Sequence[str] | None = None
) -> list[dict[str, Any]]:
    """Materialize the nodes of some flows, or those named by `only`; return a StageSummary per node as plain values.

    Under `refit: drift`, new shards are encoded and compared first; where a report asks for it, a second round fits
    the codebook again and encodes all shards with it.

    Raises:
        ConfigError: the documents cannot be divided into the folds of the evaluation.
        DataError: a shard failed, the others are committed; or a stage has nothing to work on in any document.
        TooManyFailuresError: more rows failed than are allowed, and no flow around this one goes on to say so.
    """
    every = build(config)
    nodes = [node for node in every if node.flow in flows and (only is None or node.name in only)]
    for documents in every if config.evaluation.folds else ():
        if isinstance(documents, Ingest) and documents not in nodes:
            check_folds(documents, open_root(config.root), config.evaluation.folds or 0)
    summaries = run_nodes(nodes, config, run_options, every=every)
    if config.refit == "drift" and not run_options.refit and refits(nodes, open_root(config.root)):
        again = run_nodes(nodes, config, run_options, every=every)
        summaries = [_added(first, second) for first, second in zip(summaries, again, strict=True)]
    around = FlowRunContext.get()
    if around is None or around.flow_run is None or around.flow_run.parent_task_run_id is None:
        check_failures(nodes, open_root(config.root), config.run.allowed_failures)
    return summaries


def fresh_summaries(nodes: list[Node], config: Config, run_options: RunOptions) -> list[dict[str, Any]] | None:
    """Return a StageSummary per node when there is nothing to do for any of them; None otherwise."""
    every = build(config)
    options = plan_options(config, nodes, retry_failed=run_options.retry_failed, refit=run_options.refit, every=every)
    plans = plan_all(nodes, open_root(config.root), replace(options, look=False))
    if any(plan.todo or plan.scan for plan in plans):
        return None
    return [summary.to_dict() for summary in _summaries(plans, [], 0.0).values()]


def run_nodes(
    nodes: list[Node],
    config: Config,
    run_options: RunOptions,
    *,
    source: str | None = None,
    every: list[Node] | None = None,
) -> list[dict[str, Any]]:
    """Materialize nodes in order, each planned when its upstream is done.

    Args:
        nodes: what to make.
        config: the effective configuration.
        run_options: what the user asked for.
        source: where image references start; by default what the configuration says.
        every: all nodes of the pipeline, when `nodes` are some of them.
    """
    root = open_root(config.root)
    images = config.source.image_root() if source is None else source
    options = plan_options(config, nodes, retry_failed=run_options.retry_failed, refit=run_options.refit, source=images,
                           every=every)  # fmt: skip
    options = replace(options, look=False)  # an ingest follows its plan: it alone reads the source
    local = config.run.executor == "local"
    execution = Execution(root, images, config.run.workers, local, run_options.retry_failed)
    summaries: dict[str, StageSummary] = {}
    with task_runner(config.run) as runner:
        for group in passes(nodes):
            plans = [plan_node(node, root, options) for node in group]
            for plan in plans:
                if plan.todo:  # before anything is computed
                    check_present(plan.node, root, lenient=source is not None)
            started = time.perf_counter()
            with progress_reporter().making(expected(plan, root) for plan in plans if plan.todo or plan.scan):
                reports = run_plans(plans, execution, runner=runner, listen=progress_reporter())
            done = _summaries(plans, reports, time.perf_counter() - started)
            summaries |= done
            failed = [f"{label}: {summary.failed_shards} shards failed; first: {summary.errors[0]}"
                      for label, summary in done.items() if summary.errors]  # fmt: skip
            if failed:
                raise DataError("\n".join(failed))
    return [summaries[node.label].to_dict() for node in nodes]


def expected(plan: Plan, root: Root) -> Expected:
    """Return the work that a plan consists of, as far as it is known beforehand."""
    node = plan.node
    if not isinstance(node, ShardStage):
        unit = "" if isinstance(node, Summary) else "docs"
        return Expected(node.label, None if plan.scan else len(plan.todo), unit=unit)
    if not node.by_row:
        return Expected(node.label, len(plan.todo), unit="shards")
    records = node.reads[0].node.dataset(root).records()
    return Expected(node.label, len(plan.todo), sum(records[index].n_rows for index in plan.todo if index in records))


def passes(nodes: list[Node]) -> Iterator[list[Node]]:
    """Yield nodes in an order to make them in: one by one, and together those over the same images that are ready."""
    left = list(nodes)
    while left:
        first, *others = left
        waiting = {node.name for node in left}
        sharing = [
            node for node in others
            if over_images(first) and over_images(node) and node.reads[0].node.name == first.reads[0].node.name
            and waiting.isdisjoint(upstream.name for upstream in node.upstream)
        ]  # fmt: skip
        yield [first, *sharing]
        taken = {first.name, *(node.name for node in sharing)}
        left = [node for node in others if node.name not in taken]


def _added(first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any]:
    """Return what a stage did in two rounds."""
    timings = {kind: seconds + second["timings"][kind] for kind, seconds in first["timings"].items()}
    return {**second, **{name: first[name] + second[name] for name in COUNTS}, "timings": timings}


def _summaries(plans: list[Plan], reports: list[ShardReport], seconds: float) -> dict[str, StageSummary]:
    """Return a summary per stage; those of a pass share its wall time as they shared the work."""
    seconds -= sum(report.apart for report in reports)
    work = sum(report.seconds - report.apart for report in reports)
    summaries = {}
    for plan in plans:
        label, own = plan.node.label, [report for report in reports if report.stage == plan.node.label]
        errors = tuple(f"shard {report.index}: {report.error}" for report in own if report.error)
        timings = Timings()
        for report in own:
            timings += report.timings
        share = sum(report.seconds - report.apart for report in own) / work if work else 1 / len(plans)
        summaries[label] = StageSummary(
            stage=label,
            fresh=len(set(plan.fresh) - {report.index for report in own}),
            computed_shards=len(own) - len(errors),
            rows_computed=sum(report.computed for report in own),
            rows_reused=sum(report.reused for report in own),
            failed_shards=len(errors),
            seconds=round(seconds * share, 3) if own else 0.0,
            timings={kind: round(value, 3) for kind, value in timings.to_dict().items()},
            errors=errors,
            notes=tuple(report.note for report in own if report.note),
        )
    return summaries


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
