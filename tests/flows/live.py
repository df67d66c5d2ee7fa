"""Real processes for tests: started in sessions of their own, watched through /proc, ended whatever happens."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

REPO = Path(__file__).parents[2]
PATIENCE = 240.0  # the machine may be slow; nothing here takes that long on a quiet one


@contextmanager
def program(*arguments: object, log: Path, env: dict[str, str] | None = None) -> Iterator[subprocess.Popen[bytes]]:
    """Run `python -m ...` in a session of its own for the block, then end all that is left of it."""
    command = [sys.executable, "-m", *map(str, arguments)]
    with log.open("wb") as out:
        process = subprocess.Popen(
            command, cwd=REPO, env=env or clean_env(), stdout=out, stderr=subprocess.STDOUT, start_new_session=True
        )
    known: set[int] = set()
    try:
        yield process
    finally:
        known |= descendants(process.pid)
        for stop in (signal.SIGTERM, signal.SIGKILL):
            for pid in {process.pid, *known}:
                signal_process(pid, stop)
            deadline = time.monotonic() + 15
            while time.monotonic() < deadline and (process.poll() is None or any(alive(pid) for pid in known)):
                time.sleep(0.1)
        process.wait()


def clean_env(**more: str) -> dict[str, str]:
    """Return the environment without this process's own Prefect."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    return {**kept, "OMP_NUM_THREADS": "1", **more}


def wait_for(what: Callable[[], Any], message: str, *, seconds: float = PATIENCE) -> Any:
    """Return the first true value; fail after `seconds`."""
    deadline = time.monotonic() + seconds
    while not (value := what()):
        assert time.monotonic() < deadline, f"waited {seconds:g} s: {message}"
        time.sleep(0.1)
    return value


def descendants(pid: int) -> set[int]:
    """Return the ids of all processes below one."""
    parents = dict(_parents())
    found: set[int] = set()
    while more := {child for child, parent in parents.items() if parent in {pid, *found}} - found:
        found |= more
    return found


def alive(pid: int) -> bool:
    """Return whether a process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def command_of(pid: int) -> str:
    """Return a process's command line, empty when it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    except OSError:
        return ""


def signal_process(pid: int, number: int) -> None:
    """Signal a process that may be gone."""
    if alive(pid):
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            return


def _parents() -> Iterator[tuple[int, int]]:
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            yield int(path.parent.name), int(path.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
