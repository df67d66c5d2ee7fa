"""Which shard a document belongs to: known documents stay where they are, new ones fill new shards."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from fuseline.stores.digests import cell_digests
from fuseline.stores.forgotten import Forgotten

SHARD_ROWS = (64, 4096)  # the smallest and the largest shard that is chosen
SHARDS_PER_WORKER = 4  # at least, so that no worker waits long for another at the end of a stage
HELD_BYTES = 128 << 20  # of new documents, while their number is not known
FORGOTTEN = "forgotten"  # reason of rows of the source that are left out because they were forgotten


@dataclass(frozen=True)
class Known:
    """Every document that is already in a shard, sorted by the hash of its id."""

    hashes: NDArray[np.uint64]  # (N,)
    shards: NDArray[np.int32]  # (N,)
    rows: NDArray[np.int32]  # (N,)
    digests: NDArray[np.uint8]  # (N, 16), of the document's own content; zeros = must be read again

    @classmethod
    def of(cls, shards: dict[int, pa.Table], column: str) -> "Known":
        """Index tables of `id` and `column` (16-byte digests) by shard."""
        if not shards:
            empty = np.zeros(0, np.int32)
            return cls(np.zeros(0, np.uint64), empty, empty, np.zeros((0, 16), np.uint8))
        hashes = np.concatenate([id_hashes(table["id"]) for table in shards.values()])
        order = np.argsort(hashes, kind="stable")
        shard = np.concatenate([np.full(t.num_rows, i, np.int32) for i, t in shards.items()])
        rows = np.concatenate([np.arange(t.num_rows, dtype=np.int32) for t in shards.values()])
        digests = np.concatenate([_bytes16(table[column]) for table in shards.values()])
        return cls(hashes[order], shard[order], rows[order], digests[order])


@dataclass
class Router:
    """Takes a source's documents batch by batch and sorts them into unchanged, changed, new and repeated.

    Changed rows are kept until the end, new rows leave in full shards, so memory does not grow with the source. To
    choose the size of shards, new rows are held back until they fill as many of the largest size as are wanted at
    least, or HELD_BYTES, or the source ends.
    """

    known: Known
    shard_size: int | None  # None: chosen when it is known how many documents there are
    workers: int = 1
    seen: NDArray[np.bool_] = field(init=False)
    changed: dict[int, list[tuple[NDArray[np.int32], pa.Table]]] = field(
        default_factory=dict
    )  # shard -> (rows, content)
    repeated: int = 0
    new_rows: int = 0
    _new: "HashSet" = field(init=False)
    _buffer: list[pa.Table] = field(default_factory=list)
    _buffered: int = 0

    def __post_init__(self) -> None:
        self.seen = np.zeros(len(self.known.hashes), bool)
        self._new = HashSet()

    def take(self, table: pa.Table, digests: NDArray[np.uint8]) -> tuple[Iterator[pa.Table], pa.Table]:
        """Sort one batch of documents with ids.

        Args:
            table: documents, n rows.
            digests: (n, 16) uint8 of their content.

        Returns:
            An iterator of full shards of new documents, and the rows whose id was there before.
        """
        hashes = id_hashes(table["id"])
        first = _first_of_each(hashes)
        at = np.searchsorted(self.known.hashes, hashes).clip(0, max(0, len(self.known.hashes) - 1))
        known = (self.known.hashes[at] == hashes) if len(self.known.hashes) else np.zeros(len(hashes), bool)
        again = ~first | (known & self.seen[at] if len(self.seen) else False) | (~known & self._new.has(hashes))
        self._note_known(table, digests, at, known & ~again)
        fresh = ~known & ~again
        self._new.add(hashes[fresh])
        self.repeated += int(again.sum())
        self.new_rows += int(fresh.sum())
        self._hold(table.filter(pa.array(fresh)))
        return self._full_shards(), table.filter(pa.array(again))

    def rest(self) -> Iterator[pa.Table]:
        """Yield what is left of the new documents: shards that were held back, and the last, shorter one."""
        self.shard_size = self.shard_size or self._chosen()
        yield from self._full_shards()
        table, self._buffer, self._buffered = _joined(self._buffer), [], 0
        if table is not None and table.num_rows:
            yield table

    def changed_rows(self, shard: int) -> int:
        """Return how many documents of a shard have new content."""
        return sum(len(rows) for rows, _ in self.changed.get(shard, []))

    def new_content(self, shard: int) -> tuple[NDArray[np.int32], pa.Table | None]:
        """Return the changed rows of a shard, (n,), and their content in the same order; None when there is none."""
        parts = self.changed.get(shard, [])
        rows = np.concatenate([np.zeros(0, np.int32), *(rows for rows, _ in parts)])
        return rows, _joined([table for _, table in parts])

    def removed(self) -> dict[int, list[int]]:
        """Return the rows, by shard, of known documents that the source no longer holds."""
        gone: dict[int, list[int]] = {}
        for position in np.flatnonzero(~self.seen):
            gone.setdefault(int(self.known.shards[position]), []).append(int(self.known.rows[position]))
        return gone

    def _note_known(
        self, table: pa.Table, digests: NDArray[np.uint8], at: NDArray[np.int64], mine: NDArray[np.bool_]
    ) -> None:
        rows = np.flatnonzero(mine)
        self.seen[at[rows]] = True
        differs = (self.known.digests[at[rows]] != digests[rows]).any(axis=1)
        rows = rows[differs]
        shards = self.known.shards[at[rows]]
        for shard in np.unique(shards).tolist():
            own = rows[shards == shard]
            self.changed.setdefault(shard, []).append((self.known.rows[at[own]], table.take(pa.array(own))))

    def _hold(self, fresh: pa.Table) -> None:
        self._buffer.append(fresh)
        self._buffered += fresh.num_rows
        if self.shard_size is None:
            enough = self._buffered >= SHARD_ROWS[1] * SHARDS_PER_WORKER * self.workers
            if enough or sum(table.nbytes for table in self._buffer) >= HELD_BYTES:
                self.shard_size = self._chosen()

    def _chosen(self) -> int:
        largest = int(np.bincount(self.known.shards).max()) if len(self.known.shards) else 0
        return chosen_size(len(self.known.shards) + self._buffered, workers=self.workers, largest=largest)

    def _full_shards(self) -> Iterator[pa.Table]:
        while self.shard_size is not None and self._buffered >= self.shard_size:
            table = _joined(self._buffer)
            if table is None:
                return
            # images may be in it: it is neither copied nor held on to
            full, rest = table.slice(0, self.shard_size), table.slice(self.shard_size)
            self._buffer, self._buffered = [rest], rest.num_rows
            del table
            yield full
            del full


def chosen_size(documents: int, *, workers: int, largest: int = 0) -> int:
    """Return how many documents fill a shard, if not configured: enough shards for all workers, none tiny or huge.

    Shards that are there are never cut anew, and `largest`, the rows of the largest, is kept: the choice of the first
    ingest holds for documents that are added later, unless they make a much larger collection of it.
    """
    least, most = SHARD_ROWS
    return min(most, max(least, largest, -(-documents // (SHARDS_PER_WORKER * workers))))


class HashSet:
    """A growing set of 64-bit hashes in sorted runs: 8 bytes each."""

    def __init__(self) -> None:
        self._runs: list[NDArray[np.uint64]] = []

    def has(self, hashes: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """Return whether each hash was added, (n,) bool."""
        known = np.zeros(len(hashes), bool)
        for run in self._runs:
            at = np.searchsorted(run, hashes).clip(0, len(run) - 1)
            known |= run[at] == hashes
        return known

    def add(self, hashes: NDArray[np.uint64]) -> None:
        """Add hashes; runs of similar length are merged, so that there are only log(n) of them."""
        if not len(hashes):
            return
        run = np.sort(hashes)
        while self._runs and len(self._runs[-1]) <= 2 * len(run):
            run = np.sort(np.concatenate([self._runs.pop(), run]))
        self._runs.append(run)


def id_hashes(ids: pa.ChunkedArray) -> NDArray[np.uint64]:
    """Return 64-bit hashes of ids, (n,) uint64; among 70 million ids two collide with probability 1.3e-4."""
    return np.ascontiguousarray(cell_digests(ids)[:, :8]).view(np.uint64).reshape(-1)


def _first_of_each(hashes: NDArray[np.uint64]) -> NDArray[np.bool_]:
    first = np.zeros(len(hashes), bool)
    first[np.unique(hashes, return_index=True)[1]] = True
    return first


def _bytes16(column: pa.ChunkedArray) -> NDArray[np.uint8]:
    return np.frombuffer(b"".join(column.to_pylist()), np.uint8).reshape(-1, 16)


def _joined(tables: list[pa.Table]) -> pa.Table | None:
    return pa.concat_tables(tables, promote_options="default") if tables else None


def usable(table: pa.Table, forgotten: Forgotten) -> tuple[pa.Table, pa.Table]:
    """Split a batch into documents and the rows that cannot be one: their id is null, empty or forgotten.

    Of a forgotten row nothing but its status is left.
    """
    good = pc.fill_null(pc.greater(pc.binary_length(table["id"]), 0), False)
    named, bad = table.filter(good), table.filter(pc.invert(good))
    gone = pa.array(forgotten.mask(named["id"]))
    return named.filter(pc.invert(gone)), pa.concat_tables([bad, _blank(named.filter(gone))])


def _blank(table: pa.Table) -> pa.Table:
    values = {"id": None, "source": "", "status": FORGOTTEN}
    for name, value in values.items():
        place, field = table.schema.get_field_index(name), table.schema.field(name)
        table = table.set_column(place, field, pa.repeat(pa.scalar(value, field.type), table.num_rows))
    return table
