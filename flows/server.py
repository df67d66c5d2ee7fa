"""A Prefect server for one run: Ctrl-C does not reach it, and it ends when the run does, however that ends.

Prefect's own ephemeral server lies in the terminal's process group, so that Ctrl-C ends it before the flow, which then
asks it for minutes; and it outlives a run that is killed.
"""

import asyncio
import os
import socket
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, cast

from stores.errors import FuselineError, mismatch

HOST = "127.0.0.1"
START_SECONDS = 120.0  # measured: up to 30 s cold on two busy cores
DRAIN_SECONDS = 5.0  # for the records of task runs that are still on their way
RECORDER_SECONDS = 1.1  # it writes once a second
STOP_SECONDS = 15.0


class Server:
    """A server in a child process that reads our end of a pipe: when we die, it sees the end of it."""

    def __init__(self, home: Path) -> None:
        home.mkdir(parents=True, exist_ok=True)
        self.log = home / "server.log"
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "flows.server"],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, start_new_session=True,
                env={**os.environ, "PREFECT_HOME": str(home)},
            )  # fmt: skip
        self._stdin, self._stdout = cast(IO[bytes], self._process.stdin), cast(IO[bytes], self._process.stdout)
        self.url = f"http://{HOST}:{self._line(START_SECONDS)}/api"

    def wait(self, seconds: float = START_SECONDS) -> None:
        """Wait until it answers; raises FuselineError when it does not start."""
        self._line(seconds)

    def stop(self) -> None:
        """End it once it has recorded what it was told."""
        self._stdin.close()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._stdout.close()

    def _line(self, seconds: float) -> str:
        alarm = threading.Timer(seconds, self._process.kill)
        alarm.start()
        line = self._stdout.readline().decode().strip()
        alarm.cancel()
        if not line:
            self.stop()
            cure = f"see {self.log}, or start `prefect server start` and set PREFECT_API_URL"
            raise FuselineError(mismatch("Prefect's server", f"an answer within {seconds:g} s", "none", cure))
        return line


def main() -> None:
    """Serve until standard input ends: the port goes to standard output first, `ready` when it answers."""
    told = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever else is printed belongs into the log
    # asyncio sends at once only where the protocol is named: otherwise every answer waits 40 ms for its last part.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind((HOST, 0))
    port = listener.getsockname()[1]
    running: list[Any] = []  # the server, once it is there
    # From the first moment: a run that is killed while its server starts must not leave it behind.
    threading.Thread(target=_follow, args=(f"http://{HOST}:{port}/api", running), daemon=True).start()
    print(port, file=told, flush=True)
    _serve(listener, running, told)


def _follow(url: str, running: list[Any]) -> None:
    """End the server when standard input ends, that is when the run does."""
    since = datetime.now(UTC)
    sys.stdin.buffer.read()
    if not running or not running[0].started:
        os._exit(1)  # nothing was recorded yet
    drain(url, since)
    running[0].should_exit = True
    time.sleep(STOP_SECONDS)
    os._exit(1)  # a connection that never closes, say


def _serve(listener: socket.socket, running: list[Any], told: Any) -> None:
    import uvicorn
    from prefect.server.api.server import create_app

    app = create_app(ephemeral=True, final=True)
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="on"))
    running.append(server)

    def announce() -> None:
        while not server.started:
            time.sleep(0.05)
        print("ready", file=told, flush=True)

    threading.Thread(target=announce, daemon=True).start()
    asyncio.run(server.serve([listener]))
    os._exit(0)  # all is recorded; the run need not wait while the interpreter is taken down


def drain(url: str, since: datetime) -> None:
    """Wait until the recorder has written the ends of all task runs that began `since`, a few seconds at most."""
    import httpx

    running = {"state": {"type": {"any_": ["PENDING", "RUNNING"]}}, "start_time": {"after_": since.isoformat()}}
    end = time.monotonic() + DRAIN_SECONDS
    while time.monotonic() < end:
        time.sleep(RECORDER_SECONDS)
        try:
            answer = httpx.post(f"{url}/task_runs/count", json={"task_runs": running}, timeout=DRAIN_SECONDS)
            if int(answer.text) == 0:
                return
        except (httpx.HTTPError, ValueError):
            return


if __name__ == "__main__":
    main()
