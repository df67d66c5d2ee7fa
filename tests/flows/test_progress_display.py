"""What people see while a run is under way: bars on a terminal, a bounded number of lines in a log."""

import io
import logging
import time
from collections.abc import Iterator

import pytest
from rich.console import Console
from rich.progress import Progress, TextColumn

from fuseline.flows import progress_display
from fuseline.flows.progress_display import Expected, ProgressReporter
from fuseline.models.progress import LocalMeter, metering, note, note_doing, noted
from fuseline.tasks.engine.timings import ShardReport


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Return the lines of the log, which grows by one of each stage every few milliseconds."""
    monkeypatch.setattr(progress_display, "TICK", 0.005)
    monkeypatch.setattr(progress_display, "LINE_SECONDS", 0.0)
    told: list[str] = []
    handler, level = logging.Handler(), progress_display.logger.level
    handler.emit = lambda record: told.append(record.getMessage())  # type: ignore[method-assign]
    progress_display.logger.addHandler(handler)
    progress_display.logger.setLevel(logging.INFO)
    yield told
    progress_display.logger.removeHandler(handler)
    progress_display.logger.setLevel(level)


def until(lines: list[str], part: str) -> str:
    """Return the first line that holds a text, as soon as it is there."""
    for _ in range(1000):
        if found := [line for line in list(lines) if part in line]:
            return found[0]
        time.sleep(0.005)
    raise AssertionError(f"{part!r} is not in {lines}")


def test_rows_inside_a_shard_are_told_before_the_shard_is_done(lines: list[str]) -> None:
    progress_reporter, meter = ProgressReporter(), LocalMeter()
    with progress_reporter.making([Expected("embed/image", 2, 600)]):
        with progress_reporter.watch(["embed/image"], meter):
            meter.done, meter.total = 120, 300
            line = until(lines, "120 of 600 docs")
            progress_reporter.advance(ShardReport("embed/image", 0, 300))
        until(lines, "300 of 600 docs")
        progress_reporter.advance(ShardReport("embed/image", 1, 300))
        progress_reporter.advance(ShardReport("of another run", 1, 300))
    assert line.startswith("embed/image: 120 of 600 docs, ")
    assert line.endswith(" s left")
    assert "docs/s" in line
    assert lines[-1].startswith("embed/image: 600 docs in ")


def test_stages_of_one_pass_are_told_apart_and_reused_rows_count_when_they_are_there(lines: list[str]) -> None:
    progress_reporter, meter = ProgressReporter(), LocalMeter()
    with (
        progress_reporter.making([Expected("detect/x", 1, 50), Expected("embed/y", 1, 50)]),
        progress_reporter.watch(["detect/x", "embed/y"], meter),
    ):
        meter.done, meter.total = 7, 9  # of 50 rows, 9 are computed
        assert until(lines, "detect/x: 7 of 50 docs")
        assert until(lines, "embed/y: 7 of 50 docs")
        progress_reporter.advance(ShardReport("detect/x", 0, 50))
        assert until(lines, "detect/x: 50 of 50 docs")  # never more than there are


def test_a_fit_says_what_it_does(lines: list[str]) -> None:
    progress_reporter, meter = ProgressReporter(), LocalMeter()
    with progress_reporter.making([Expected("train/pq", 1)]):
        with progress_reporter.watch(["train/pq"], meter), metering(meter):
            note_doing("compiling kernels, once on this machine")
            assert until(lines, "compiling").startswith("train/pq: compiling kernels, once on this machine, 0 s")
            note_doing("epoch 3 of 4")
            note(50, 100)
            assert until(lines, "epoch").startswith("train/pq: epoch 3 of 4, 50 %, 0 s left")
        progress_reporter.advance(ShardReport("train/pq", 0, 2392, apart=100))
    assert lines[-1].startswith("train/pq: 2,392 docs in 0.0 s, ")  # compilation is no part of them


def test_what_is_no_document_is_not_called_one(lines: list[str]) -> None:
    progress_reporter = ProgressReporter()
    with progress_reporter.making([Expected("evaluate/pq", 1, unit=""), Expected("sweep/pq", 12, unit="trainings")]):
        for _ in range(3):
            progress_reporter.advance(ShardReport("sweep/pq", 0, 500))
        until(lines, "sweep/pq: 3 of 12 trainings")
    assert not any("docs" in line for line in lines)


def test_a_short_stage_is_one_line_and_a_log_grows_by_a_line_in_ten_seconds(
    lines: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress_display, "LINE_SECONDS", 10.0)
    progress_reporter = ProgressReporter()
    with progress_reporter.making([Expected("clean/text", 3, 30)]):
        for index in range(3):
            progress_reporter.advance(ShardReport("clean/text", index, 10))
            time.sleep(0.02)
    assert len(lines) == 1
    assert lines[0].startswith("clean/text: 30 docs in ")


def test_bars_show_the_same(lines: list[str]) -> None:
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=120)
    columns = (TextColumn("{task.description}"), TextColumn("{task.completed}/{task.total} {task.fields[text]}"))
    with Progress(*columns, console=console, refresh_per_second=100) as bars:
        progress_reporter, meter = ProgressReporter(bars), LocalMeter()
        with (
            progress_reporter.making([Expected("embed/image", 1, 600)]),
            progress_reporter.watch(["embed/image"], meter),
        ):
            meter.done = 123
            time.sleep(0.2)
            assert "embed/image 123/600 123 of 600 docs" in out.getvalue()
    assert lines == []


def test_nobody_listens_by_default_and_work_notes_every_few_items() -> None:
    note(1, 2)
    meter = LocalMeter()
    with metering(meter):
        seen = [meter.done for _ in noted(range(100), 100, every=32)]
    assert sorted(set(seen)) == [0, 32, 64, 96]
    assert meter.total == 100
    note(7, 9)
    assert meter.done == 96
