"""The sweep flow: fresh features, then the cells of every grid, side by side as Prefect tasks."""

import math
import time
from collections import deque
from contextlib import closing
from pathlib import Path

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.futures import PrefectFuture, as_completed

from fuseline.flows.config import Config
from fuseline.flows.experiments.tables import publish_sweep
from fuseline.flows.experiments.trials import Cell, Grid, feature_nodes, features_todo
from fuseline.flows.graph import build, built_once
from fuseline.flows.progress import Expected, teller
from fuseline.flows.recorded import recorded_flow
from fuseline.flows.runtime import locked
from fuseline.flows.step import Wishes, run_nodes, task_runner
from fuseline.flows.steps import legs
from fuseline.tasks.engine.cache import CACHE
from fuseline.tasks.engine.fit import make_fit
from fuseline.tasks.engine.nodes import Fit, ordered
from fuseline.tasks.engine.planner import Seen
from fuseline.tasks.engine.shard import ShardReport
from fuseline.tasks.evaluation import statistics


class Training:
    """One cell to train, opaque to Prefect, which takes dataclasses apart to look for futures in them."""

    def __init__(self, node: Fit, root: Path, source: str, seen: Seen) -> None:
        self.node, self.root, self.source, self.seen = node, root, source, seen


@task(name="cell", cache_policy=NO_CACHE, persist_result=False, retries=0)
def train_cell(training: Training) -> ShardReport:
    """Train and score one cell, and commit it; cells of one process share what they read."""
    return make_fit(training.node, training.root, source=training.source, seen=training.seen, cache=CACHE)


@recorded_flow("sweep")
def sweep(config: Config) -> int:
    """Bring features, grids and their best cells up to date, model by model; return the number of trainings.

    The budget counts from when the features are fresh; trainings that run when it ends are finished.
    """
    ran = 0
    with locked(config), built_once():
        for step, nodes in legs(feature_nodes(config)) if features_todo(config) else []:
            step.make(nodes, config, Wishes())
        minutes = config.sweep.budget_minutes
        deadline = math.inf if minutes is None else time.monotonic() + 60 * minutes
        grid = Grid(config)
        with closing(CACHE):
            for name in grid.names:
                ran += _train(grid, grid.cells(name), deadline)
                if time.monotonic() >= deadline:
                    break
                ran += _train(grid, grid.finals(name), deadline)
                publish_sweep(grid)
            # Times are taken last and one at a time: nothing else of ours runs meanwhile.
            for name in grid.names:
                ran += _train(grid, grid.timings(name), deadline)
        _count_documents(config)
    return ran


def _count_documents(config: Config) -> None:
    """Bring the counts of documents and words up to date, for Table 1."""
    run_nodes(ordered([node for node in build(config) if node.role == statistics.ROLE]), config, Wishes())


def _train(grid: Grid, cells: list[Cell], deadline: float) -> int:
    """Train those cells that are not there, `run.workers` at a time, until the time is over; return how many."""
    config, queue = grid.config, deque(grid.todo(cells))
    if not queue or time.monotonic() >= deadline:
        return 0
    running, ran = set[PrefectFuture[ShardReport]](), 0
    expected = Expected(queue[0].node.label, len(queue), unit="trainings")
    with teller().making([expected]), task_runner(config.run) as runner:
        while True:
            while queue and len(running) < config.run.workers and time.monotonic() < deadline:
                cell = queue.popleft()
                training = Training(cell.node, grid.root, config.source.image_root(), grid.seen(cell.model))
                named = train_cell.with_options(task_run_name=f"{cell.node.label} {_told(cell)}")
                running.add(runner.submit(named, {"training": training}))
            if not running:
                return ran
            future = next(as_completed(list(running)))
            running.remove(future)
            teller().advance(future.result())
            ran += 1


def _told(cell: Cell) -> str:
    point = " ".join(f"{axis}={value}" for axis, value in cell.point.items())
    return f"{point} seed={cell.seed}"
