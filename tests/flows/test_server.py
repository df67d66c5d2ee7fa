"""The Prefect server of a run: it ends when the run does, at whatever moment that is."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import httpx
import pytest
from prefect.settings import get_current_settings

from fuseline.flows import server as servers
from fuseline.flows.server import Server, drain
from tests.flows.conftest import Cli, make_data, settings, write_config
from tests.flows.live import alive, clean_env, command_of, descendants, program, wait_for

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are watched through /proc")


@pytest.mark.parametrize("pause", [0.0, 1.0])
def test_it_ends_when_the_run_ends_before_it_answers(tmp_path: Path, pause: float) -> None:
    """A watcher that waited for the server to start first left a server of 213 MB behind, for ever."""
    server = Server(tmp_path)
    time.sleep(pause)  # in the middle of its imports
    server._listener.close()
    server._stdin.close()
    server._process.wait(10)
    server._stdout.close()


STARTS = """
import sys
from pathlib import Path
from fuseline.flows import server as servers
from fuseline.flows.server import Server, drain
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


def test_it_answers_at_once(cli: Cli) -> None:
    """A connection that sends no small packet before the last was acknowledged takes 40 ms for every answer."""
    url, seconds = os.environ["PREFECT_API_URL"], []
    with httpx.Client() as client:
        for _ in range(20):
            started = time.perf_counter()
            client.post(f"{url}/flows/filter", json={}).raise_for_status()
            seconds.append(time.perf_counter() - started)
    assert min(seconds) < 0.03


def test_flows_wait_for_no_heartbeat(cli: Cli) -> None:
    assert get_current_settings().flows.heartbeat_frequency is None


def test_what_the_user_sets_for_the_server_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name, other = "PREFECT_SERVER_SERVICES_TRIGGERS_ENABLED", "PREFECT_SERVER_REGISTER_BLOCKS_ON_START"
    monkeypatch.setenv(name, "true")
    monkeypatch.delenv(other, raising=False)

    class Tells(Server):
        def command(self) -> list[str]:
            return [sys.executable, "-c", f"import os; print(os.environ[{name!r}], os.environ[{other!r}])"]

    server = Tells(tmp_path)
    assert server._stdout.read() == b"true false\n"
    server.stop()


def test_the_server_waits_for_events_that_are_on_their_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """The last ones arrive after the run has closed its end: an empty queue at one moment says little."""
    events, naps = {"published": 3, "consumed": 3}, []

    def nap(seconds: float) -> None:
        naps.append(seconds)
        if len(naps) == 1:
            events["published"] += 1
        if len(naps) == 4:
            events["consumed"] += 1

    monkeypatch.setattr(servers.time, "sleep", nap)
    drain(events)
    assert events["consumed"] == 4
    assert len(naps) == 5


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_history_of_a_run_is_whole_when_it_ends(tmp_path: Path) -> None:
    """The server is ended by the run, and may not be before it has written how the last tasks ended."""
    make_data(folder := tmp_path / "data", 20)
    text = {**settings(folder), "shard_size": 5, "embed": {}, "quantize": {}, "models": {"text": {"kind": "text"}}}
    log, env = tmp_path / "run.log", clean_env(PREFECT_HOME=str(tmp_path / "home"))
    with program("fuseline.flows.cli", "run", write_config(folder, text), log=log, env=env) as run:
        assert run.wait(240) == 0, log.read_text()
        wait_for(lambda: not descendants(run.pid), "every process to end", seconds=60)
    assert "leaked" not in log.read_text()  # "There appear to be 3 leaked semaphore objects"
    with closing(sqlite3.connect(tmp_path / "home" / "prefect.db")) as database:
        tasks = dict(database.execute("SELECT name, state_type FROM task_run"))
        flows = dict(database.execute("SELECT name, state_type FROM flow_run"))
    assert set(tasks.values()) == set(flows.values()) == {"COMPLETED"}
    assert {"ingest/shapes", "clean/text shard 0-3", "train/text", "predict/text shard 0-3", "evaluate/text"} <= set(
        tasks
    )
    assert {"pipeline: shapes", "ingest: shapes", "train: shapes", "evaluate: shapes"} <= set(flows)
    assert not {"extract: shapes", "quantize: shapes"} & set(flows)  # they have nothing to do


FAKE = "print('ready', flush=True); sys.stdin.read()"


class Fake(Server):
    """Answers at once, and not at all where `broken` exists."""

    def command(self) -> list[str]:
        broken = self.home / "broken"
        return [sys.executable, "-c", f"import os, sys\nif os.path.exists({str(broken)!r}): sys.exit(3)\n{FAKE}"]


def test_one_that_dies_is_started_again_until_it_cannot_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("fuseline.flows.server.RESTART_SECONDS", 2.0)
    monkeypatch.setattr("fuseline.flows.server.logger.propagate", True)
    lost: list[str] = []
    server = Fake(tmp_path, lost.append)
    server.wait()
    first = server._process
    first.kill()
    wait_for(lambda: "the run goes on" in caplog.text, "another server", seconds=10)
    assert server._process is not first
    assert not lost

    (tmp_path / "broken").touch()
    server._process.kill()
    wait_for(lambda: lost, "the end", seconds=10)
    (line,) = lost
    assert line.startswith("Prefect's server: expected 'another one that answers within 2 s'")
    assert "\n" not in line
    server.stop()


def test_one_that_is_stopped_is_not_started_again(tmp_path: Path) -> None:
    lost: list[str] = []
    server = Fake(tmp_path, lost.append)
    server.wait()
    process = server._process
    server.stop()
    time.sleep(0.5)
    assert server._process is process
    assert process.poll() is not None
    assert not lost


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_run_goes_on_when_its_server_is_killed(tmp_path: Path) -> None:
    """Prefect asked a server that was gone for 74 s and ended in an error."""
    make_data(folder := tmp_path / "data", 20)
    text = {**settings(folder), "shard_size": 5, "embed": {}, "quantize": {}, "models": {"text": {"kind": "text"}}}
    log, env = tmp_path / "run.log", clean_env(PREFECT_HOME=str(tmp_path / "home"))
    with program("fuseline.flows.cli", "run", write_config(folder, text), log=log, env=env) as run:
        wait_for(lambda: list((folder / "out" / "documents").glob("*")), "the first stage to begin")
        (server,) = [pid for pid in descendants(run.pid) if "fuseline.flows.server" in command_of(pid)]
        os.kill(server, signal.SIGKILL)
        assert run.wait(300) == 0, log.read_text()
        wait_for(lambda: not descendants(run.pid), "every process to end", seconds=60)
    told = log.read_text()
    assert "Prefect's server ended (exit code -9) and was started again; the run goes on" in told
    assert "Traceback" not in told
    assert "leaked" not in told
    assert (folder / "out" / "latest" / "report.html").exists()
