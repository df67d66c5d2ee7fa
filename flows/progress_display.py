"""Progress of a run: live bars on a terminal, plain lines in a log; documents done, rate and remaining time."""

import logging
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Event, Thread
from typing import NamedTuple

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Column

from fuseline.models.progress import Meter
from fuseline.tasks.engine.timings import ShardReport

logger = logging.getLogger("fuseline")
logger.setLevel(logging.INFO)  # in a deployment Prefect takes its lines to the UI

TICK = 0.5  # seconds between two looks at what is under way
LINE_SECONDS = 10.0  # between two lines of one stage in a log


class Expected(NamedTuple):
    """The work that a stage consists of, as far as it is known beforehand."""

    label: str
    shards: int | None  # None: reading its source will tell
    documents: int | None = None  # in them; None: it is one piece of work
    unit: str = "docs"  # what is counted; "" = nothing that would mean anything


class ProgressReporter:
    """Shows how far stages are; reports and meters come from other threads."""

    def __init__(self, bars: Progress | None = None) -> None:
        self.bars = bars
        self._stages: dict[str, _Stage] = {}

    @contextmanager
    def making(self, expected: Iterable[Expected]) -> Iterator[None]:
        """Show some stages while the block makes them, and what they took when it is over."""
        own = [_Stage(stage) for stage in expected]
        self._stages |= {stage.label: stage for stage in own}
        for stage in own:
            if self.bars is not None:
                stage.bar = self.bars.add_task(stage.label, total=None, text="")
        over = Event()
        ticker = Thread(target=self._tick, args=(own, over), daemon=True)
        ticker.start()
        try:
            yield
        finally:
            over.set()
            ticker.join()
        for stage in own:  # what ended in an error says so itself
            self._end(stage)

    def advance(self, report: ShardReport) -> None:
        """Count one shard of one stage."""
        if (stage := self._stages.get(report.stage)) is not None:
            stage.shards += 1
            stage.documents += report.n_rows
            stage.apart += report.apart

    @contextmanager
    def watch(self, labels: Sequence[str], meter: Meter) -> Iterator[None]:
        """Watch the meter of the work of some stages while the block waits for it."""
        stages = [self._stages[label] for label in labels if label in self._stages]
        for stage in stages:
            stage.meters[id(meter)] = meter
        try:
            yield
        finally:
            for stage in stages:
                del stage.meters[id(meter)]

    def _tick(self, stages: Sequence["_Stage"], over: Event) -> None:
        while not over.wait(TICK):
            for stage in stages:
                done, total = stage.extent()
                if self.bars is not None and stage.bar is not None:
                    self.bars.update(stage.bar, completed=done, total=total, text=stage.progress())
                elif stage.due():
                    left = f", {stage.seconds / done * (total - done):,.0f} s left" if done and total else ""
                    logger.info("%s: %s%s", stage.label, stage.progress() or f"{stage.seconds:.0f} s", left)

    def _end(self, stage: "_Stage") -> None:
        if self.bars is not None and stage.bar is not None:
            done = max(1, stage.documents)
            self.bars.update(stage.bar, completed=done, total=done, text=stage.result())
        else:
            logger.info("%s: %s", stage.label, stage.result())


@dataclass
class _Stage:
    expected: Expected
    shards: int = 0
    documents: int = 0  # in shards that are done
    meters: dict[int, Meter] = field(default_factory=dict)  # of what is under way
    apart: float = 0.0  # seconds of compilation, which is no work of the stage
    bar: TaskID | None = None
    started: float = field(default_factory=time.monotonic)
    last: float = field(default_factory=time.monotonic)

    @property
    def label(self) -> str:
        return self.expected.label

    @property
    def seconds(self) -> float:
        return max(1e-3, time.monotonic() - self.started)

    def extent(self) -> tuple[int, int | None]:
        """Return how much is done of how much: documents, or whatever one piece of work counts; None = not known."""
        expected = self.expected
        if expected.unit != "docs" and (expected.shards or 0) > 1:
            return self.shards, expected.shards
        noted = [(meter.done, meter.total) for meter in list(self.meters.values())]
        done, total = sum(done for done, _ in noted), sum(total for _, total in noted)
        if expected.documents is not None:
            return min(self.documents + done, expected.documents), expected.documents
        return done, total or None

    def progress(self) -> str:
        """Return the progress as text."""
        doing = next((meter.doing for meter in list(self.meters.values()) if meter.doing), "")
        done, total = self.extent()
        if doing:
            return f"{doing}, {100 * done / total:.0f} %" if total else f"{doing}, {self.seconds:.0f} s"
        if self.expected.unit != "docs":
            return f"{done:,} of {total:,} {self.expected.unit}" if self.expected.unit and total else ""
        of = f" of {total:,}" if total else ""
        return f"{done:,}{of} docs, {done / self.seconds:,.0f} docs/s"

    def result(self) -> str:
        """Return the result as text."""
        seconds, unit = max(1e-3, self.seconds - self.apart), self.expected.unit
        took = f"{seconds:.1f} s"
        if unit != "docs":
            return f"{self.shards:,} {unit} in {took}" if unit else f"done in {took}"
        return f"{self.documents:,} docs in {took}, {self.documents / seconds:,.0f} docs/s"

    def due(self) -> bool:
        """Return whether it is time for another line, and count it as written."""
        now = time.monotonic()
        if now - self.last < LINE_SECONDS:
            return False
        self.last = now
        return True


@contextmanager
def show_progress(console: Console) -> Iterator[None]:
    """Show progress for the block: bars when the console is a terminal, log lines otherwise."""
    global _reporter
    before = _reporter
    if not console.is_terminal:
        yield
        return
    whole = Column(no_wrap=True)  # on a narrow terminal the name of a stage is cut, not its numbers
    columns = (
        TextColumn("{task.description}", markup=False, table_column=Column(overflow="ellipsis")),
        BarColumn(bar_width=12, table_column=whole.copy()),
        TextColumn("{task.fields[text]}", markup=False, table_column=whole.copy()),
        TimeRemainingColumn(compact=True, elapsed_when_finished=True, table_column=whole.copy()),
    )
    with Progress(*columns, console=console) as bars:
        _reporter = ProgressReporter(bars)
        try:
            yield
        finally:
            _reporter = before


def progress_reporter() -> ProgressReporter:
    """Return what shows the progress of this process."""
    return _reporter


_reporter = ProgressReporter()
