"""The sweep flow: fresh features, then the trials of every grid, side by side as Prefect tasks."""

import math
import time
from collections import deque
from contextlib import closing

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.futures import PrefectFuture, as_completed

from fuseline.flows.config import Config
from fuseline.flows.experiments.tables import publish_sweep
from fuseline.flows.experiments.trials import Grid, Trial, feature_nodes, features_todo
from fuseline.flows.graph import build, built_once
from fuseline.flows.progress_display import Expected, progress_reporter
from fuseline.flows.recorded import recorded_flow
from fuseline.flows.runtime import locked
from fuseline.flows.step import RunOptions, run_nodes, task_runner
from fuseline.flows.steps import legs
from fuseline.stores.root import Root
from fuseline.tasks.engine.cache import CACHE
from fuseline.tasks.engine.fit import make_fit
from fuseline.tasks.engine.nodes import Fit, ordered
from fuseline.tasks.engine.planner import InputsSnapshot
from fuseline.tasks.engine.timings import ShardReport
from fuseline.tasks.evaluation import statistics


class Training:
    """One trial to train, opaque to Prefect, which takes dataclasses apart to look for futures in them."""

    def __init__(self, node: Fit, root: Root, source: str, snapshot: InputsSnapshot) -> None:
        self.node, self.root, self.source, self.snapshot = node, root, source, snapshot


@task(name="trial", cache_policy=NO_CACHE, persist_result=False, retries=0)
def train_trial(training: Training) -> ShardReport:
    """Train and score one trial, and commit it; trials of one process share what they read."""
    return make_fit(training.node, training.root, source=training.source, snapshot=training.snapshot, cache=CACHE)


@recorded_flow("sweep")
def sweep(config: Config) -> int:
    """Materialize features, grids and their best trials, model by model; return the number of trainings.

    The budget counts from when the features are fresh; trainings that run when it ends are finished.
    """
    ran = 0
    with locked(config), built_once():
        for step, nodes in legs(feature_nodes(config)) if features_todo(config) else []:
            step.make(nodes, config, RunOptions())
        minutes = config.sweep.budget_minutes
        deadline = math.inf if minutes is None else time.monotonic() + 60 * minutes
        grid = Grid(config)
        with closing(CACHE):
            for name in grid.names:
                ran += _train(grid, grid.trials(name), deadline)
                if time.monotonic() >= deadline:
                    break
                ran += _train(grid, grid.finals(name), deadline)
                ran += _train(grid, grid.varied(name), deadline)
                publish_sweep(grid)
            # Times are taken last and one at a time: nothing else of ours runs meanwhile.
            for name in grid.names:
                ran += _train(grid, grid.timings(name), deadline)
        _count_documents(config)
    return ran


def _count_documents(config: Config) -> None:
    """Materialize the counts of documents and words, for Table 1."""
    run_nodes(ordered([node for node in build(config) if node.role == statistics.ROLE]), config, RunOptions())


def _train(grid: Grid, trials: list[Trial], deadline: float) -> int:
    """Train those trials that are not there, `run.workers` at a time, until the time is over; return how many."""
    config, queue = grid.config, deque(grid.todo(trials))
    if not queue or time.monotonic() >= deadline:
        return 0
    running, ran = set[PrefectFuture[ShardReport]](), 0
    expected = Expected(queue[0].node.label, len(queue), unit="trainings")
    with progress_reporter().making([expected]), task_runner(config.run) as runner:
        while True:
            while queue and len(running) < config.run.workers and time.monotonic() < deadline:
                trial = queue.popleft()
                training = Training(trial.node, grid.root, config.source.image_root(), grid.snapshot(trial.model))
                named = train_trial.with_options(task_run_name=f"{trial.node.label} {_point(trial)}")
                running.add(runner.submit(named, {"training": training}))
            if not running:
                return ran
            future = next(as_completed(list(running)))
            running.remove(future)
            progress_reporter().advance(future.result())
            ran += 1


def _point(trial: Trial) -> str:
    point = " ".join(f"{axis}={value}" for axis, value in trial.point.items())
    return f"{point} seed={trial.seed}"
