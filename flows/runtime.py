"""The frame of a run: its name, the lock of its root, and summaries of its stages."""

import logging
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
from fuseline.models.errors import ModelError
from fuseline.stores.errors import ConfigError, FuselineError, mismatch
from fuseline.stores.lock import hold
from fuseline.stores.places import open_root
from fuseline.stores.redaction import redact_logs
from fuseline.stores.root import Root

logger = logging.getLogger("fuseline")
redact_logs(FuselineError, ModelError)  # of commands, and of flows that a worker runs


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
    """Return each kind of work's share of all seconds of work; empty when there is no work."""
    total = sum(timings.values())
    return {kind: seconds / total for kind, seconds in timings.items()} if total else {}


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
    """Return the command that was called, without the values of its options, which may be private."""
    program, *words = sys.argv
    return " ".join([Path(program).name, *takewhile(lambda word: not word.startswith("-"), words)])
