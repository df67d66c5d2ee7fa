"""Progress of a run: live bars on a terminal, plain lines in a log; done, total, rate and remaining time."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from tasks.shard import ShardReport

logger = logging.getLogger("fuseline")

LINE_SECONDS = 10.0  # between two lines of one stage in a log


@dataclass
class Teller:
    """Tells people what shards are done; called from worker threads."""

    bars: Progress | None = None
    _stages: dict[str, "_Stage"] = field(default_factory=dict)

    def begin(self, label: str, shards: int | None) -> None:
        """Announce a stage with so many shards to make; None when reading its source will tell."""
        stage = self._stages[label] = _Stage(label, shards)
        if self.bars is not None:
            stage.bar = self.bars.add_task(label, total=shards, rows="")
        else:
            logger.info("%s: %s to make", label, "what the source holds is" if shards is None else shards)

    def advance(self, report: ShardReport) -> None:
        """Count one shard of one stage."""
        stage = self._stages.get(report.stage)
        if stage is None:
            return
        stage.done += 1
        stage.rows += report.n_rows
        if self.bars is not None and stage.bar is not None:
            self.bars.update(stage.bar, completed=stage.done, rows=f"{stage.rate:,.0f} docs/s")
        elif stage.due():
            logger.info("%s", stage.line())


@dataclass
class _Stage:
    label: str
    total: int | None
    done: int = 0
    rows: int = 0
    bar: TaskID | None = None
    started: float = field(default_factory=time.monotonic)
    last: float = 0.0

    @property
    def rate(self) -> float:
        return self.rows / max(1e-3, time.monotonic() - self.started)

    def due(self) -> bool:
        now = time.monotonic()
        if (self.total is None or self.done < self.total) and now - self.last < LINE_SECONDS:
            return False
        self.last = now
        return True

    def line(self) -> str:
        if self.total is None:
            return f"{self.label}: {self.done} made, {self.rate:,.0f} docs/s"
        seconds = time.monotonic() - self.started
        left = seconds / self.done * max(0, self.total - self.done)
        return f"{self.label}: {self.done}/{self.total}, {self.rate:,.0f} docs/s, {left:,.0f} s left"


@contextmanager
def telling(console: Console) -> Iterator[None]:
    """Show progress for the block: bars when the console is a terminal, log lines otherwise."""
    global _teller
    before = _teller
    if not console.is_terminal:
        yield
        return
    columns = (
        TextColumn("{task.description:<28}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rows]}"),
    )
    with Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=console) as bars:
        _teller = Teller(bars)
        try:
            yield
        finally:
            _teller = before


def teller() -> Teller:
    """Return who tells people about progress in this process."""
    return _teller


_teller = Teller()
