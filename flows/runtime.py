"""What a run needs around it: Prefect's settings, the clock, the lock and the summary of what was done."""

import atexit
import logging
import os
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from itertools import takewhile
from pathlib import Path
from typing import Any

from fuseline.flows.config import Config
from fuseline.flows.imports import uncollected
from fuseline.flows.server import Server
from fuseline.models.errors import ModelError
from fuseline.stores.errors import ConfigError, FuselineError, mismatch
from fuseline.stores.lock import hold
from fuseline.stores.places import open_root
from fuseline.stores.redaction import redact_logs
from fuseline.stores.root import Root

logger = logging.getLogger("fuseline")
redact_logs(FuselineError, ModelError)  # of commands, and of flows that a worker runs

# Measured: the recorder loses records unless it writes in batches. Nothing is sent anywhere.
PREFECT_SETTINGS = {
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE": "200",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_READ_BATCH_SIZE": "200",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_FLUSH_INTERVAL": "1",  # below 1 it never sleeps
    "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
    "DO_NOT_TRACK": "1",
}
# For a server that ends with its flows.
OWN_SERVER_SETTINGS = {
    # Nobody watches heartbeats, and each flow would wait a second for its own.
    "PREFECT_FLOWS": '{"heartbeat_frequency": null}',
    # It is of our version and serves no browser: every flow and task would ask it both anew.
    "PREFECT_CLIENT_SERVER_VERSION_CHECK_ENABLED": "false",
    "PREFECT_CLIENT_CSRF_SUPPORT_ENABLED": "false",
    "PREFECT_SERVER_CSRF_PROTECTION_ENABLED": "false",
}


@dataclass(frozen=True)
class StageSummary:
    """What one node of one run did.

    `seconds` are wall time; `timings` are seconds of work by kind, summed over workers and threads.
    """

    stage: str
    fresh: int = 0
    computed_shards: int = 0
    rows_computed: int = 0
    rows_reused: int = 0
    failed_shards: int = 0
    seconds: float = 0.0
    timings: dict[str, float] = field(default_factory=dict)
    errors: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()  # what the user must know of it

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return asdict(self)


def shares_of(timings: dict[str, float]) -> dict[str, float]:
    """Return each kind of work's share of all seconds of work; empty when nothing was timings."""
    total = sum(timings.values())
    return {kind: seconds / total for kind, seconds in timings.items()} if total else {}


def prepare_prefect(root: Root, *, verbose: bool = False, serve: bool = True) -> None:
    """Set Prefect up for a run of ours; what the user set stays. Must come before Prefect is imported.

    Errors are told by the command line in one line, so Prefect's own log is only for `verbose`.

    Unless PREFECT_API_URL names a server, one is started that ends with this process; its history lies under
    `<root>/.prefect` unless PREFECT_HOME says otherwise. `serve=False` starts none, for commands that run no flow.

    Raises:
        FuselineError: the server does not start.
    """
    for name, value in {**PREFECT_SETTINGS, "PREFECT_LOGGING_LEVEL": "INFO" if verbose else "CRITICAL"}.items():
        os.environ.setdefault(name, value)
    if "PREFECT_API_URL" in os.environ:
        return
    os.environ.setdefault("PREFECT_HOME", str((root.beside() / ".prefect").absolute()))
    for name, value in OWN_SERVER_SETTINGS.items():
        os.environ.setdefault(name, value)
    if serve:
        server = Server(Path(os.environ["PREFECT_HOME"]))
        atexit.register(server.stop)
        os.environ["PREFECT_API_URL"] = server.url
        # Both take seconds: the import goes on here while the server starts there.
        with uncollected():
            import fuseline.flows.pipeline  # noqa: F401

        server.wait()


def new_run() -> str:
    """Return a run's name: UTC time and four random characters, sortable."""
    return f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"


@contextmanager
def locked(config: Config, *, wait: float = -1) -> Iterator[Root]:
    """Hold the output root for the block and yield it; `wait` as in fuseline.stores.lock.hold."""
    root, started = open_root(config.root), f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC"
    if config.run.executor != "local" and not root.shared:
        cure = "choose another place, or run.executor: local"
        raise ConfigError(mismatch("root", "a place that other processes see", config.root, cure))
    with hold(root, started=started, wait=wait, command=_command(), waiting=logger.info):
        yield root


def _command() -> str:
    """Return what was called, without its options: their values are nobody's business."""
    program, *words = sys.argv
    return " ".join([Path(program).name, *takewhile(lambda word: not word.startswith("-"), words)])
