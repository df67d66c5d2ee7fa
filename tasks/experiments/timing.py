"""How long a fit takes, and on what."""

import os
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fuseline.models.features import Classifier, Features
from fuseline.plain import number

REPEATS = 3
ENOUGH = 120.0  # seconds after which no further fit begins


@dataclass(frozen=True)
class FitTime:
    """How long one fit took, in seconds: the training alone, and what the whole process used meanwhile."""

    seconds: float
    processor_seconds: float


@dataclass(frozen=True)
class Machine:
    """What times depend on; `load` is the load average when it was asked for, None where the system has none."""

    processor: str
    cores: int
    memory_bytes: int
    system: str
    python: str
    load: float | None


def timed_fits(
    make: Callable[[dict[str, Any]], Classifier], train: Features, *, seed: int, warm_up: bool
) -> tuple[list[FitTime], Classifier]:
    """Fit up to REPEATS times; return the times of each, and the last classifier.

    `seconds` is the training alone where a classifier tells it apart from reading and encoding documents, else all of
    `fit`.

    Args:
        make: returns a classifier with these options over its own.
        train: what to fit on.
        seed: of every fit.
        warm_up: compile what has to be compiled by a first fit of one epoch, which is not counted.
    """
    if warm_up:
        make({"epochs": 1}).fit(train, None, seed=seed)
    times: list[FitTime] = []
    started = time.perf_counter()
    while True:
        classifier, wall, processor = make({}), time.perf_counter(), time.process_time()
        classifier.fit(train, None, seed=seed)
        processor, wall = time.process_time() - processor, time.perf_counter() - wall
        seconds = float(number(classifier.describe().get("train_seconds", wall)))
        times.append(FitTime(seconds, processor))
        if len(times) == REPEATS or time.perf_counter() - started > ENOUGH:
            return times, classifier


def machine() -> Machine:
    """Return what this machine is, and how busy it is now."""
    return Machine(
        processor=_processor(),
        cores=os.cpu_count() or 0,
        memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 0,
        system=f"{platform.system()} {platform.machine()}",
        python=platform.python_version(),
        load=round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None,
    )


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
