"""Files joined to the rows of a source by id, on disk: in bounded memory, whatever order either of them is in."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from stores.atomic import storage_error
from stores.errors import FuselineError, StorageError

MEMORY = "256MB"  # that a join holds; what is more goes to disk
THREADS = 2  # each holds some of it
GROUP = 16 << 20  # bytes that are read at once of what is joined
IDS = pa.schema([("id", pa.string())])  # of all rows, null for one without an id
PAIRS = pa.schema([("id", pa.string()), ("value", pa.string()), ("line", pa.int64())])  # null id: a line that is none


class Partners:
    """The values that a file has for the rows of a source, handed out in the order of the rows."""

    def __init__(self, file: Path) -> None:
        opened = pq.ParquetFile(file)
        self.found = opened.metadata.num_rows  # rows with a partner, once more for each further partner
        self._batches = opened.iter_batches()
        self._held = opened.schema_arrow.empty_table()
        self._start = 0

    def take(self, count: int) -> pa.Array:
        """Return the values of the next `count` rows, (n,) string, of the first line with the id; null without one."""
        stop = self._start + count
        batch = None
        while not len(self._held) or self._held["row"][-1].as_py() < stop:
            batch = next(self._batches, None)
            if batch is None:
                break
            self._held = pa.concat_tables([self._held, pa.Table.from_batches([batch])])
        rows = self._held["row"].to_numpy()
        rows = rows[: np.searchsorted(rows, stop)] - self._start
        at = np.full(count, -1)
        at[rows[::-1]] = np.arange(len(rows))[::-1]
        values = self._held["value"].take(pa.array(at, mask=at < 0)).combine_chunks()
        self._held, self._start = self._held.slice(len(rows)), stop
        return values


@contextmanager
def joined(ids: Iterable[pa.Table], files: Mapping[str, Iterable[pa.Table]]) -> Iterator[dict[str, Partners]]:
    """Yield the partners that each of some files has for the rows of a source.

    Args:
        ids: of all rows, in tables of IDS.
        files: tables of PAIRS by the name of the file.

    What is joined lies in the folder for temporary files (TMPDIR) until the end: about 200 bytes a row.

    Raises:
        StorageError: there is no room.
    """
    with TemporaryDirectory(prefix="fuseline-") as name:
        folder = Path(name)
        _spilled(folder / "ids", IDS, ids)
        for file, pairs in files.items():
            _spilled(folder / "pairs", PAIRS, pairs)
            _queried(folder, JOIN, folder / file)
        yield {file: Partners(folder / file) for file in files}


def extra_lines(ids: Iterable[pa.Table], pairs: Iterable[pa.Table]) -> Iterator[int]:
    """Yield the numbers of the lines that no row takes: without an id, of an unknown one, or not the first of theirs.

    Args:
        ids: of all rows, in tables of IDS.
        pairs: the lines of a file, in tables of PAIRS.
    """
    with TemporaryDirectory(prefix="fuseline-") as name:
        folder = Path(name)
        _spilled(folder / "ids", IDS, ids)
        _spilled(folder / "pairs", PAIRS, pairs)
        _queried(folder, EXTRA, folder / "extra")
        for batch in pq.ParquetFile(folder / "extra").iter_batches():
            yield from batch["line"].to_pylist()


JOIN = """
    SELECT ids.file_row_number AS row, pairs.value FROM ids JOIN pairs USING (id)
    ORDER BY ids.file_row_number, pairs.file_row_number
"""
EXTRA = """
    SELECT line FROM pairs ANTI JOIN ids USING (id)
    UNION ALL
    SELECT line FROM pairs SEMI JOIN ids USING (id)
    QUALIFY row_number() OVER (PARTITION BY id ORDER BY file_row_number) > 1
    ORDER BY line
"""


def _spilled(path: Path, schema: pa.Schema, tables: Iterable[pa.Table]) -> None:
    try:
        with pq.ParquetWriter(path, schema, compression="zstd") as writer:
            for table in tables:
                writer.write_table(table)
    except FuselineError:
        raise
    except OSError as error:
        raise storage_error(path, error) from error


def _queried(folder: Path, query: str, target: Path) -> None:
    """Write the rows of a query over the tables `ids` and `pairs` of a folder."""
    import duckdb  # takes a third of a second, and lists of readers do without

    settings: dict[str, Any] = {
        "memory_limit": MEMORY, "threads": THREADS, "temp_directory": str(folder), "preserve_insertion_order": False,
    }  # fmt: skip
    try:
        with duckdb.connect(config=settings) as connection:
            for name in ("ids", "pairs"):
                connection.from_parquet(str(folder / name), file_row_number=True).create_view(name)
            connection.sql(query).write_parquet(str(target), row_group_size_bytes=GROUP)
    except (duckdb.IOException, duckdb.OutOfMemoryException) as error:
        cure = "free some space, or name a larger folder in TMPDIR"
        said = str(error).partition("\n")[0]
        raise StorageError(f"cannot join files by id in {folder}: {said}; {cure}") from error
