"""Shards of several datasets, read once and handed out as streams."""

from collections.abc import Iterator
from itertools import tee
from operator import itemgetter

import pyarrow as pa

from fuseline.tasks.engine.nodes import Shards


def streams(shards: Shards, n: int) -> list[Iterator[pa.Table]]:
    """Read every shard once and return its n tables as n streams, which are to be consumed in step."""
    return [map(itemgetter(i), stream) for i, stream in enumerate(tee(shards(), n))]
