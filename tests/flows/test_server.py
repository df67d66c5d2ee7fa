"""The Prefect server of a run: it ends when the run does, at whatever moment that is."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from flows.server import Server
from tests.flows.live import alive, clean_env, descendants, wait_for

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are watched through /proc")


@pytest.mark.parametrize("pause", [0.0, 1.0])
def test_it_ends_when_the_run_ends_before_it_answers(tmp_path: Path, pause: float) -> None:
    """A watcher that waited for the server to start first left a server of 213 MB behind, for ever."""
    server = Server(tmp_path)
    time.sleep(pause)  # in the middle of its imports
    server._stdin.close()
    server._process.wait(10)
    server._stdout.close()


STARTS = """
import sys
from pathlib import Path
from flows.server import Server
Server(Path(sys.argv[1]))
print("started", flush=True)
sys.stdin.read()
"""


def test_a_run_that_is_killed_while_its_server_starts_leaves_no_process(tmp_path: Path) -> None:
    command = [sys.executable, "-c", STARTS, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=clean_env()) as run:
        assert run.stdout is not None
        assert run.stdout.readline() == b"started\n"
        family = descendants(run.pid)
        assert len(family) == 1
        os.kill(run.pid, signal.SIGKILL)
    wait_for(lambda: not any(map(alive, family)), "the server to end", seconds=10)
