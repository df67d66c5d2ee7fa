"""How long a fit takes, and on what."""

import os
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from models.features import Classifier, Features

REPEATS = 3


def timed_fits(make: Callable[[dict[str, Any]], Classifier], train: Features, *, seed: int) -> list[dict[str, float]]:
    """Fit REPEATS times and return the times of each: `seconds` and `processor_seconds`.

    `seconds` is the training alone where a classifier tells it apart from reading and encoding documents, else all of
    `fit`; `processor_seconds` is what the whole process used meanwhile. A first fit of one epoch, where there are
    epochs, compiles what has to be compiled and is not counted.

    Args:
        make: returns a classifier with these options over its own, those that it has.
        train: what to fit on.
        seed: of every fit.
    """
    make({"epochs": 1}).fit(train, None, seed=seed)
    times = []
    for _ in range(REPEATS):
        classifier, wall, processor = make({}), time.perf_counter(), time.process_time()
        classifier.fit(train, None, seed=seed)
        processor, wall = time.process_time() - processor, time.perf_counter() - wall
        seconds = float(classifier.describe().get("train_seconds", wall))
        times.append({"seconds": seconds, "processor_seconds": processor})
    return times


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
