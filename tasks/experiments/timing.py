"""How long a fit takes, and on what."""

import os
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fuseline.models.features import Classifier, Features
from fuseline.plain import number

REPEATS = 3
ENOUGH = 120.0  # seconds after which no further fit begins


def timed_fits(
    make: Callable[[dict[str, Any]], Classifier], train: Features, *, seed: int, warm_up: bool
) -> tuple[list[dict[str, float]], Classifier]:
    """Fit up to REPEATS times; return the times of each, `seconds` and `processor_seconds`, and the last classifier.

    `seconds` is the training alone where a classifier tells it apart from reading and encoding documents, else all of
    `fit`; `processor_seconds` is what the whole process used meanwhile.

    Args:
        make: returns a classifier with these options over its own.
        train: what to fit on.
        seed: of every fit.
        warm_up: compile what has to be compiled by a first fit of one epoch, which is not counted.
    """
    if warm_up:
        make({"epochs": 1}).fit(train, None, seed=seed)
    times: list[dict[str, float]] = []
    started = time.perf_counter()
    while True:
        classifier, wall, processor = make({}), time.perf_counter(), time.process_time()
        classifier.fit(train, None, seed=seed)
        processor, wall = time.process_time() - processor, time.perf_counter() - wall
        seconds = float(number(classifier.describe().get("train_seconds", wall)))
        times.append({"seconds": seconds, "processor_seconds": processor})
        if len(times) == REPEATS or time.perf_counter() - started > ENOUGH:
            return times, classifier


def machine() -> dict[str, Any]:
    """Return what times depend on: processor, cores, memory, system, Python, and how busy the machine is."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count() or 0,
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 0,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "load": round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None,
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
