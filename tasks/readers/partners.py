"""Files joined to the rows of a source by id, in bounded memory, whatever order either of them is in.

Rows and lines are scattered on disk into PARTS by a hash of their id. Each part is joined in memory, and what the
parts give is merged in the order of the rows.
"""

import heapq
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fuseline.stores.atomic import storage_error
from fuseline.stores.digests import cell_digests
from fuseline.stores.errors import FuselineError

PARTS = 64  # of 100 million hashes, one and what it is joined with take 250 MB; at most 256, numbered by a byte
HELD_ROWS, HELD_BYTES = 1 << 18, 64 << 20  # of what is not scattered yet
WINDOW = 1 << 16  # rows that are merged at once
BATCH = 4096  # rows of a part that are read at once to be merged
Columns: TypeAlias = dict[str, pa.Array]
IDS = pa.schema([("id", pa.string())])  # of all rows, null for one without an id
PAIRS = pa.schema([("id", pa.string()), ("value", pa.string()), ("line", pa.int64())])  # null id: a line that is none
NUMBERED = IDS.append(pa.field("row", pa.int64()))  # rows with an id alone
JOINED = pa.schema([("row", pa.int64()), ("value", pa.string())])
EXTRA = pa.schema([PAIRS.field("line")])
PACKED = pa.ipc.IpcWriteOptions(compression="lz4")


class Partners:
    """The values that a file has for the rows of a source, handed out in the order of the rows."""

    def __init__(self, parts: Sequence[Path], matched: int) -> None:
        self.matched = matched  # rows that have a value
        self._windows = _windows([_Stream(part) for part in parts])
        self._held = pa.array([], pa.string())

    def take(self, count: int) -> pa.Array:
        """Return the values of the next `count` rows, (n,) string; null for a row without a partner."""
        pieces = [self._held]
        while sum(map(len, pieces)) < count:
            pieces.append(next(self._windows))
        values = pa.concat_arrays(pieces)
        self._held = values.slice(count)
        return values.slice(0, count)


class _Stream:
    """The joined rows of a part, in their order."""

    def __init__(self, path: Path) -> None:
        self._batches = _read(path)
        self._held: pa.Table | None = None

    def until(self, stop: int) -> pa.Table:
        """Return the next rows whose number is below `stop`."""
        pieces = []
        while True:
            if self._held is None or not len(self._held):
                self._held = next(self._batches, None)
            if self._held is None:
                break
            below = int(np.searchsorted(self._held["row"].to_numpy(), stop))
            pieces.append(self._held.slice(0, below))
            self._held = self._held.slice(below)
            if len(self._held):
                break
        return pa.concat_tables([JOINED.empty_table(), *pieces])


def _windows(streams: Sequence[_Stream]) -> Iterator[pa.Array]:
    """Yield the values of WINDOW rows after WINDOW rows without an end, null where no part has one."""
    start = 0
    while True:
        table = pa.concat_tables([stream.until(start + WINDOW) for stream in streams])
        at = np.full(WINDOW, -1)
        at[table["row"].to_numpy() - start] = np.arange(len(table))
        yield table["value"].combine_chunks().take(pa.array(at, mask=at < 0))
        start += WINDOW


@contextmanager
def joined(ids: Iterable[pa.Table], files: Mapping[str, Iterable[pa.Table]]) -> Iterator[dict[str, Partners]]:
    """Yield the partners that each of some files has for the rows of a source; of lines with one id the first counts.

    Args:
        ids: of all rows, in tables of IDS.
        files: tables of PAIRS by the name of the file.

    What is joined lies in the folder for temporary files (TMPDIR) until the end.

    Raises:
        StorageError: there is no room.
    """
    with TemporaryDirectory(prefix="fuseline-") as name:
        mine = _scattered(_numbered(ids), NUMBERED, Path(name) / "ids")
        yield {file: _partners(mine, pairs, Path(name) / file) for file, pairs in files.items()}


def _partners(mine: Sequence[Path], pairs: Iterable[pa.Table], folder: Path) -> Partners:
    parts, matched = [], 0
    for part, (rows, lines) in enumerate(_matched(mine, pairs, folder)):
        at = pc.index_in(rows["id"], value_set=lines["id"])
        there = at.is_valid()
        table = pa.table([rows["row"].filter(there), lines["value"].take(at.filter(there))], schema=JOINED)
        parts.append(folder / f"joined-{part}")
        with _writing(parts[-1], JOINED) as writer:
            writer.write_table(table, max_chunksize=BATCH)
        matched += len(table)
    return Partners(parts, matched)


def extra_lines(ids: Iterable[pa.Table], pairs: Iterable[pa.Table]) -> Iterator[int]:
    """Yield the numbers of the lines that no row takes: without an id, of an unknown one, or not the first of theirs.

    Args:
        ids: of all rows, in tables of IDS.
        pairs: the lines of a file, in tables of PAIRS.

    Raises:
        StorageError: there is no room.
    """
    with TemporaryDirectory(prefix="fuseline-") as name:
        mine = _scattered(_numbered(ids), NUMBERED, Path(name) / "ids")
        parts = []
        for part, (rows, lines) in enumerate(_matched(mine, pairs, Path(name) / "pairs")):
            known = np.asarray(pc.is_in(lines["id"], value_set=rows["id"]))
            first = np.asarray(pc.index_in(lines["id"], value_set=lines["id"])) == np.arange(len(known))
            parts.append(Path(name) / f"extra-{part}")
            extra = pa.table([lines["line"].filter(pa.array(~(known & first)))], schema=EXTRA)
            with _writing(parts[-1], EXTRA) as writer:
                writer.write_table(extra, max_chunksize=BATCH)
        streams = [(line for table in _read(part) for line in table["line"].to_pylist()) for part in parts]
        yield from heapq.merge(*streams)


def _matched(mine: Sequence[Path], pairs: Iterable[pa.Table], folder: Path) -> Iterator[tuple[Columns, Columns]]:
    """Yield (rows, lines) part by part, as columns by name; the files of the lines are removed."""
    for rows, lines in zip(mine, _scattered(pairs, PAIRS, folder), strict=True):
        yield _columns(rows, NUMBERED), _columns(lines, PAIRS)
        lines.unlink()


def _columns(path: Path, schema: pa.Schema) -> Columns:
    table = pa.concat_tables([schema.empty_table(), *_read(path)])
    return {name: table[name].combine_chunks() for name in schema.names}


def _numbered(ids: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """Yield the rows that have an id, with their number."""
    start = 0
    for table in ids:
        yield table.append_column("row", pa.array(np.arange(start, start + len(table)))).filter(table["id"].is_valid())
        start += len(table)


def _scattered(tables: Iterable[pa.Table], schema: pa.Schema, folder: Path) -> list[Path]:
    """Write rows into PARTS files by a hash of `id`, and return those; each keeps the order of its rows."""
    folder.mkdir()
    parts = [folder / str(part) for part in range(PARTS)]
    with ExitStack() as stack:
        writers = [stack.enter_context(_writing(part, schema)) for part in parts]
        for table in _gathered(tables):
            part = cell_digests(table["id"])[:, 0] % PARTS
            ordered = table.take(np.argsort(part, kind="stable")).combine_chunks()
            ends = np.cumsum(np.bincount(part, minlength=PARTS)).tolist()
            for writer, start, stop in zip(writers, [0, *ends[:-1]], ends, strict=True):
                if start < stop:
                    writer.write_table(ordered.slice(start, stop - start))
    return parts


def _gathered(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """Yield the rows in larger tables, for each is cut into PARTS."""
    held: list[pa.Table] = []
    rows = size = 0
    for table in tables:
        held.append(table)
        rows, size = rows + len(table), size + table.nbytes
        if rows >= HELD_ROWS or size >= HELD_BYTES:
            yield pa.concat_tables(held)
            held, rows, size = [], 0, 0
    if held:
        yield pa.concat_tables(held)


@contextmanager
def _writing(path: Path, schema: pa.Schema) -> Iterator[pa.ipc.RecordBatchStreamWriter]:
    try:
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, schema, options=PACKED) as writer:
            yield writer
    except FuselineError:
        raise
    except OSError as error:
        raise storage_error(path, error) from error


def _read(path: Path) -> Iterator[pa.Table]:
    """Yield the batches of a file as tables."""
    with pa.OSFile(str(path)) as source, pa.ipc.open_stream(source) as reader:
        for batch in reader:
            yield pa.Table.from_batches([batch])
