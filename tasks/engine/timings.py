"""Where the time of a stage goes, and what making one of its shards took."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Literal

from fuseline.stores.errors import FuselineError

Kind = Literal["read", "decode", "prepare", "compute", "write", "wait"]


@dataclass
class Timings:
    """Seconds of a stage by kind of work; two add up by `+=`.

    Stages that share a pass share what is read and decoded for several of them, and waiting, in equal parts.
    """

    read: float = 0.0  # inputs and image files
    decode: float = 0.0  # image files to pixels, in threads beside `compute`
    prepare: float = 0.0  # pixels to what a network takes, in threads beside `compute`
    compute: float = 0.0
    write: float = 0.0
    wait: float = 0.0  # no image was ready to compute

    def add(self, kind: Kind, seconds: float) -> None:
        """Add seconds of one kind."""
        setattr(self, kind, getattr(self, kind) + seconds)

    @contextmanager
    def on(self, kind: Kind) -> Iterator[None]:
        """Add the seconds that a block takes."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.add(kind, time.perf_counter() - started)

    def __iadd__(self, other: "Timings") -> "Timings":
        for kind, seconds in asdict(other).items():
            self.add(kind, seconds)  # type: ignore[arg-type]
        return self

    def to_dict(self) -> dict[str, float]:
        """Return seconds by kind."""
        return asdict(self)


@dataclass(frozen=True)
class ShardReport:
    """What making one shard of one stage took: all that a worker sends back."""

    stage: str  # the node's label
    index: int
    n_rows: int = 0
    computed: int = 0
    reused: int = 0
    seconds: float = 0.0
    timings: Timings = field(default_factory=Timings)
    error: str = ""
    apart: float = 0.0  # of `seconds`, what is no work of the stage: compiling, once on a machine
    note: str = ""  # what the user must know of it


def failed(stage: str, index: int, error: Exception) -> ShardReport:
    """Return the report of a shard that could not be made."""
    message = str(error) if isinstance(error, FuselineError) else f"{type(error).__name__}: {error}"
    return ShardReport(stage, index, error=message)
