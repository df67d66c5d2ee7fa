"""The sweep flow: fresh features, then the cells of every grid, side by side as Prefect tasks."""

import math
import time
from collections import deque
from pathlib import Path

from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.futures import PrefectFuture, as_completed

from flows.config import Config
from flows.grid import Cell, cells_of, features_todo, publish_sweep, seeds_of, swept, todo
from flows.pipeline import STEPS
from flows.progress import teller
from flows.runtime import locked
from flows.step import task_runner
from flows.train import train
from tasks.fit import make_fit
from tasks.nodes import Fit
from tasks.shard import ShardReport

FEATURES = STEPS[: STEPS.index(train)]


class Training:
    """One cell to train, opaque to Prefect, which takes dataclasses apart to look for futures in them."""

    def __init__(self, node: Fit, root: Path, source: str) -> None:
        self.node, self.root, self.source = node, root, source


@task(name="cell", cache_policy=NO_CACHE, persist_result=False, retries=0)
def train_cell(training: Training) -> ShardReport:
    """Train and score one cell, and commit it."""
    return make_fit(training.node, training.root, source=training.source)


@flow(name="sweep", persist_result=False)
def sweep(config: Config) -> int:
    """Bring features, grids and their best cells up to date, model by model; return the number of trainings.

    The budget counts from when the features are fresh; trainings that run when it ends are finished.
    """
    ran = 0
    with locked(config):
        for step in FEATURES if features_todo(config) else []:
            step(config)
        minutes = config.sweep.budget_minutes
        deadline = math.inf if minutes is None else time.monotonic() + 60 * minutes
        for name in swept(config):
            ran += _train(todo(cells_of(config, name), config), config, deadline)
            if time.monotonic() >= deadline:
                break
            ran += _train(todo(seeds_of(config, name), config), config, deadline)
            publish_sweep(config)
    return ran


def _train(cells: list[Cell], config: Config, deadline: float) -> int:
    """Train cells, `run.workers` at a time, until none is left or the time is over; return how many."""
    if not cells or time.monotonic() >= deadline:
        return 0
    teller().begin(cells[0].node.label, len(cells))
    queue, running, ran = deque(cells), dict[PrefectFuture[ShardReport], Cell](), 0
    with task_runner(config.run) as runner:
        while True:
            while queue and len(running) < config.run.workers and time.monotonic() < deadline:
                cell = queue.popleft()
                training = Training(cell.node, Path(config.root), config.source.image_root())
                named = train_cell.with_options(task_run_name=f"{cell.node.label} {_told(cell)}")
                running[runner.submit(named, {"training": training})] = cell
            if not running:
                return ran
            future = next(as_completed(list(running)))
            teller().advance(running.pop(future).node, future.result())
            ran += 1


def _told(cell: Cell) -> str:
    point = " ".join(f"{axis}={value}" for axis, value in cell.point.items())
    return f"{point} seed={cell.seed}"
