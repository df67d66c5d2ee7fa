"""A part of features whose documents are drawn by their ids: the same ones whatever the shards are cut into."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from fuseline.models.features import Block, Features
from fuseline.models.labels import labelled

VALID_SHARE = 0.1  # of the training documents, where there are no valid ones


@dataclass
class HashedPart:
    """The labelled documents whose id hashes into a range.

    Args:
        features: what they are drawn from.
        lo: least hash, 0 to 1.
        hi: hashes lie below it; 1 takes all that are left.
    """

    features: Features
    lo: float
    hi: float
    n_rows: int = field(init=False)  # about

    def __post_init__(self) -> None:
        self.n_rows = round(self.features.n_rows * (self.hi - self.lo))

    def blocks(self) -> Iterator[Block]:
        """Yield the blocks that hold any of them."""
        for block in labelled(self.features):
            if self.lo <= 0 and self.hi >= 1:
                yield block
                continue
            values = hashes(block.ids)
            rows = np.flatnonzero((values >= self.lo) & ((values < self.hi) | (self.hi >= 1)))
            if len(rows):
                yield block if len(rows) == len(block) else block.at(rows)

    def first(self, share: float) -> "HashedPart":
        """Return the first `share` of the range, 1 for all of it."""
        return HashedPart(self.features, self.lo, self.lo + (self.hi - self.lo) * share)

    def is_empty(self) -> bool:
        """Return whether there is no document."""
        return next(iter(self.blocks()), None) is None


def deciding_parts(
    train: Features, valid: Features | None, *, most: int, most_valid: int
) -> tuple[HashedPart, HashedPart]:
    """Return documents that options are tried on, about `most` of them, and those that decide, about `most_valid`.

    Without valid documents a tenth of the training documents decides, on which nothing is tried then.
    """
    start = 0.0 if valid is not None else VALID_SHARE
    tried = HashedPart(train, start, min(1.0, start + share(most, train)))
    if valid is None:
        return tried, HashedPart(train, 0.0, min(VALID_SHARE, share(most_valid, train)))
    return tried, HashedPart(valid, 0.0, share(most_valid, valid))


def share(most: int, features: Features) -> float:
    """Return the share of the documents that are about `most`, 1 at most."""
    return min(1.0, most / max(1, features.n_rows))


def hashes(ids: pa.Array) -> NDArray[np.float64]:
    """Return a number from 0 to 1 per id (n,), the same on every machine."""
    digests = b"".join(
        hashlib.blake2b(one.encode(), digest_size=8, person=b"subset").digest() for one in ids.to_pylist()
    )
    return np.frombuffer(digests, "<u8").astype(np.float64) / 2.0**64
