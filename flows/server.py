"""A Prefect server for one run: Ctrl-C does not reach it, and it ends when the run does, however that ends.

Prefect's own ephemeral server lies in the terminal's process group, so that Ctrl-C ends it before the flow, which then
asks it for minutes; and it outlives a run that is killed.
"""

import asyncio
import gc
import logging
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any, cast

from fuseline.flows.imports import uncollected
from fuseline.stores.errors import FuselineError, mismatch

HOST = "127.0.0.1"
START_SECONDS = 120.0  # measured: up to 30 s cold on two busy cores
DRAIN_SECONDS = 5.0  # for the events of task runs that are still on their way
SETTLE_SECONDS = 0.1  # without another event, after the last one
STOP_SECONDS = 15.0
RESTART_SECONDS = 60.0  # from its death until another one answers, or the run ends; Prefect's clients ask for as long
BACKLOG = 128

# What one run has no use for, and would wait for; what the user set stays.
SETTINGS = {
    # Blocks are registered for the UI, and to know them every integration of Prefect is imported, Dask for one.
    "PREFECT_SERVER_REGISTER_BLOCKS_ON_START": "false",
    "PREFECT_SERVER_MEMOIZE_BLOCK_AUTO_REGISTRATION": "false",
    "PREFECT_SERVER_SERVICES_TRIGGERS_ENABLED": "false",
    "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_BATCH_SIZE": "200",
    # Checks of types, compiled at import, in a library below Prefect's own queue.
    "PY_KEY_VALUE_DISABLE_BEARTYPE": "true",
}

logger = logging.getLogger("fuseline")


class Server:
    """A server in a child process that reads our end of a pipe: when we die, it sees the end of it.

    When it dies, another one takes its place: the socket is ours, so that no connection is refused meanwhile, and
    Prefect's clients ask again for what was not answered.
    """

    def __init__(self, home: Path, lost: Callable[[str], None] | None = None) -> None:
        home.mkdir(parents=True, exist_ok=True)
        self.home, self.log, self._lost = home, home / "server.log", lost or end_run
        # asyncio sends at once only where the protocol is named: otherwise every answer waits 40 ms for its last part.
        self._listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        self._listener.bind((HOST, 0))
        self._listener.listen(BACKLOG)
        self.url = f"http://{HOST}:{self._listener.getsockname()[1]}/api"
        self._lock, self._stopped = threading.Lock(), threading.Event()
        self.log.unlink(missing_ok=True)
        self._start()

    def command(self) -> list[str]:
        """Return what serves the listening socket: it prints `ready` when it answers, and ends with standard input."""
        return [sys.executable, "-m", "fuseline.flows.server", str(self._listener.fileno())]

    def wait(self, seconds: float = START_SECONDS) -> None:
        """Wait until it answers; raises FuselineError when it does not start."""
        if not self._ready(seconds):
            self.stop()
            cure = f"see {self.log}, or start `prefect server start` and set PREFECT_API_URL"
            raise FuselineError(mismatch("Prefect's server", f"an answer within {seconds:g} s", "none", cure))
        threading.Thread(target=self._keep, daemon=True).start()

    def stop(self) -> None:
        """End it once it has recorded what it was told."""
        with self._lock:
            self._stopped.set()
        self._listener.close()
        self._stdin.close()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._stdout.close()

    def _start(self) -> None:
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self.command(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, start_new_session=True,
                pass_fds=[self._listener.fileno()], env={**SETTINGS, **os.environ, "PREFECT_HOME": str(self.home)},
            )  # fmt: skip
        self._stdin, self._stdout = cast(IO[bytes], self._process.stdin), cast(IO[bytes], self._process.stdout)

    def _ready(self, seconds: float) -> bool:
        alarm = threading.Timer(seconds, self._process.kill)
        alarm.start()
        line = self._stdout.readline()
        alarm.cancel()
        return bool(line)

    def _keep(self) -> None:
        while True:
            code = self._process.wait()
            if self._stopped.is_set():
                return
            answers = self._revived(time.monotonic() + RESTART_SECONDS)
            if self._stopped.is_set():
                return
            if not answers:
                self._lost(_loss(code, self.log))
                return
            logger.warning("Prefect's server ended (exit code %d) and was started again; the run goes on", code)

    def _revived(self, deadline: float) -> bool:
        while (left := deadline - time.monotonic()) > 0:
            with self._lock:
                if self._stopped.is_set():
                    return False
                self._stdin.close()
                self._stdout.close()
                self._start()
            if self._ready(left):
                return True
            self._process.kill()
            self._process.wait()
            time.sleep(min(1.0, RESTART_SECONDS / 10))
        return False


def _loss(code: int, log: Path) -> str:
    got = f"its end (exit code {code})"
    cure = f"every shard that was committed is kept: run again; what it said is in {log}"
    return mismatch("Prefect's server", f"another one that answers within {RESTART_SECONDS:g} s", got, cure)


def end_run(message: str) -> None:
    """End this process and its workers at once, with one line: Prefect would ask a server that is gone for minutes."""
    from fuseline.tasks.engine.pool import close_pool

    logger.error("error: %s", message)
    close_pool(kill=True)
    os._exit(1)


def main() -> None:
    """Serve the listening socket until standard input ends; say `ready` on standard output when it answers."""
    output = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever else is printed belongs into the log
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, fileno=int(sys.argv[1]))
    running: list[Any] = []  # the server, once it is there
    # From the first moment: a run that is killed while its server starts must not leave it behind.
    threading.Thread(target=_follow, args=(running,), daemon=True).start()
    _serve(listener, running, output)


def _follow(running: list[Any]) -> None:
    """End the server when standard input ends, that is when the run does."""
    sys.stdin.buffer.read()
    if not running or not running[0].started:
        os._exit(1)  # nothing was recorded yet
    from prefect.server.utilities.messaging.memory import METRICS

    drain(METRICS["events"])
    running[0].should_exit = True
    time.sleep(STOP_SECONDS)
    os._exit(1)  # a connection that never closes, say


def _serve(listener: socket.socket, running: list[Any], output: Any) -> None:
    with uncollected():
        import uvicorn
        from prefect.server.api.server import create_app

        app = create_app(ephemeral=True, final=True)
    gc.freeze()  # two looks for garbage among all that took an eighth of a short run's time here
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="on"))
    running.append(server)

    def announce() -> None:
        while not server.started:
            time.sleep(0.05)
        print("ready", file=output, flush=True)

    threading.Thread(target=announce, daemon=True).start()
    asyncio.run(server.serve([listener]))
    os._exit(0)  # all is recorded; the run need not wait while the interpreter is taken down


def drain(events: Mapping[str, int]) -> None:
    """Wait, for a few seconds at most, until all events are stored and no new ones arrive.

    Who took them in writes what it holds when it is stopped.

    Args:
        events: how many were "published" and "consumed", counted by Prefect while they are.
    """
    end, before = time.monotonic() + DRAIN_SECONDS, (-1, -1)
    while time.monotonic() < end:
        counts = (events["published"], events["consumed"])
        if counts == before and counts[1] >= counts[0]:
            return
        before = counts
        time.sleep(SETTLE_SECONDS)


if __name__ == "__main__":
    main()
