"""Make one shard of one stage: read, reuse rows, compute the rest, commit."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from stores.dataset import ROW_INPUTS, Dataset, changed_rows, check_aligned, check_ids
from stores.digests import cell_digests, combine, row_digests
from stores.errors import AlignmentError, DamagedError, DataError, MismatchError, mismatch
from stores.manifest import ShardRecord, expanded
from tasks.nodes import Context, Fit, Node, Read, ShardStage, Summary

# These say something about the document, not about a failed try.
SETTLED = ("ok", "missing")


@dataclass(frozen=True)
class ShardReport:
    """What making one shard took: all that a worker sends back."""

    index: int
    n_rows: int
    computed: int
    reused: int
    seconds: float
    error: str = ""


def make_shard(stage: ShardStage, root: Path, index: int, *, source: str, retry_failed: bool = False) -> ShardReport:
    """Make and commit one shard; rows whose own inputs did not change are copied from the previous version.

    Args:
        stage: what to make.
        root: output root.
        index: which shard.
        source: where image references start.
        retry_failed: compute rows again whose status is neither "ok" nor "missing".
    """
    started = time.perf_counter()
    dataset, inputs = stage.dataset(root), shard_inputs(stage, root, index)
    tables, before = upstream_tables(stage, root, index), dataset.record(index)
    if not stage.by_row:
        table = stage.transform(tables, stage.config, context(stage, root, source))
        dataset.commit(index, table, inputs)
        return ShardReport(index, table.num_rows, table.num_rows, 0, time.perf_counter() - started)
    previous = _previous(dataset, before)
    row_inputs = _row_inputs(stage, tables, root)
    reused = changed_rows(previous, tables[0]["id"], row_inputs)
    if retry_failed and previous is not None and "status" in previous.column_names:
        settled = np.isin(np.array(previous["status"].to_pylist(), dtype=object), SETTLED)
        reused[reused >= 0] = np.where(settled[reused[reused >= 0]], reused[reused >= 0], -1)
    if before is not None and previous is not None and _same_rows(reused, before.n_rows):
        dataset.recommit(before, inputs)
        return ShardReport(index, before.n_rows, 0, before.n_rows, time.perf_counter() - started)
    todo = np.flatnonzero(reused < 0)
    if previous is not None and not len(todo):
        fresh = previous.slice(0, 0)
    else:
        fresh = _computed(stage, [table.take(todo) for table in tables], row_inputs[todo], root, source)
    dataset.commit(index, _merged(fresh, previous, reused), inputs)
    return ShardReport(index, len(reused), len(todo), len(reused) - len(todo), time.perf_counter() - started)


def shard_inputs(node: Node, root: Path, index: int) -> dict[str, str]:
    """Return what a shard of `node` would be made from now: upstream name -> digest."""
    found = {read.node.name: record_of(read, root, index).digest(read.decisive) for read in node.reads}
    return {**found, **fitted_digests(node.fits, root)}


def fitted_digests(fits: tuple[Fit, ...], root: Path) -> dict[str, str]:
    """Return the digest of every fitted upstream; raises DataError when one was never fitted."""
    found = {}
    for fit in fits:
        record = fit.fitted(root).record()
        if record is None:
            raise DataError(f"{fit.name}: is not fitted yet; run `fuseline run` first")
        found[fit.name] = record.digest
    return found


def record_of(read: Read, root: Path, index: int) -> ShardRecord:
    """Return the record of an upstream shard; raises DataError when it was never made."""
    record = read.node.dataset(root).record(index)
    if record is None:
        raise DataError(f"{read.node.name}: shard {index} is not there yet; run `fuseline run` first")
    return record


def upstream_tables(node: Node, root: Path, index: int) -> list[pa.Table]:
    """Read one shard of every upstream, ids first, after the digests of their ids were compared."""
    records = {read.node.name: record_of(read, root, index) for read in node.reads}
    if isinstance(node, ShardStage) and node.by_row:
        check_aligned(records)
    check_fitted(node, root, records)
    tables = []
    for read in node.reads:
        dataset, record = read.node.dataset(root), records[read.node.name]
        ids = ("id",) if record.ids else ()
        wanted = (*record.select(read.columns), *record.select(read.keyed))
        # A shard may lack table columns (num_*, cat_*) that others have.
        names = dict.fromkeys((*ids, *(name for name in wanted if name in record.columns)))
        tables.append(dataset.read(record, tuple(names)))
    return tables


def check_fitted(node: Node, root: Path, records: dict[str, ShardRecord]) -> None:
    """Refuse shards that were made with another version of a fitted thing than the one their reader knows.

    A codebook that was fitted again gives the same codes another meaning: a model reads only those of the version it
    was trained on.

    Args:
        node: who reads.
        root: output root.
        records: dataset name -> record of the shard that is read.

    Raises:
        MismatchError: the versions differ.
    """
    known: dict[str, str] = {}
    for fit in node.fits if any(read.node.fits for read in node.reads) else ():
        record = fit.fitted(root).record()
        known |= {} if record is None else {**record.fitted, fit.name: record.digest}
    for read in node.reads:
        for fit in read.node.fits:
            made, expected = records[read.node.name].inputs.get(fit.name), known.get(fit.name)
            if expected is not None and made != expected:
                what = f"{read.node.name} shard {records[read.node.name].index} for {node.label}: version of {fit.name}"
                raise MismatchError(mismatch(what, _short(expected), _short(made), "run `fuseline run`, which follows"))


def _short(digest: str | None) -> str:
    """Return the end of a digest, which also names the checkpoint's folder."""
    return digest[-12:] if digest else "none"


def context(node: Node, root: Path, source: str) -> Context:
    """Return what the node's function may need beside its tables."""
    paths = {}
    for fit in node.fits:
        fitted = fit.fitted(root)
        record = fitted.record()
        if record is not None:
            paths[fit.name] = fitted.path(record)
    return Context(source, paths, {**{up.name: up.key for up in node.upstream}, "self": node.key})


def make_summary(node: Summary, root: Path, *, source: str) -> ShardReport:
    """Make and commit a table over all shards."""
    started = time.perf_counter()
    indices = sorted(node.reads[0].node.dataset(root).records())

    def shards() -> Iterator[list[pa.Table]]:
        return (upstream_tables(node, root, index) for index in indices)

    table = node.summarise(shards, node.config, context(node, root, source))
    node.dataset(root).commit(0, table, summary_inputs(node, root))
    return ShardReport(0, table.num_rows, table.num_rows, 0, time.perf_counter() - started)


def summary_inputs(node: Node, root: Path) -> dict[str, str]:
    """Return what a summary would be made from now: upstream name -> digest over all its shards."""
    found = {}
    for read in node.reads:
        records = read.node.dataset(root).records()
        found[read.node.name] = combine(records[index].digest(read.decisive) for index in sorted(records))
    return {**found, **fitted_digests(node.fits, root)}


def _row_inputs(stage: ShardStage, tables: list[pa.Table], root: Path) -> NDArray[np.uint8]:
    cells, marks = [], [f"{name}={digest}" for name, digest in sorted(fitted_digests(stage.fits, root).items())]
    for table, read in zip(tables, stage.reads, strict=True):
        names = tuple(name for name in expanded(read.decisive, table.column_names) if name in table.column_names)
        cells.append(row_digests(table, names))
        # Digests of cells don't name their columns: a value that moves to another column must not look unchanged.
        marks += [f"{read.node.name}: {names}"] if names != read.decisive else []
    salt = combine(marks)
    rows = np.concatenate([*cells, np.tile(np.frombuffer(salt.encode()[-16:], np.uint8), (len(cells[0]), 1))], axis=1)
    width = rows.shape[1]
    return cell_digests(pa.FixedSizeListArray.from_arrays(pa.array(rows.reshape(-1)), width))


def _previous(dataset: Dataset, record: ShardRecord | None) -> pa.Table | None:
    if record is None:
        return None
    try:
        return dataset.read(record)
    except (DamagedError, OSError):
        # Damaged rows are simply computed again.
        return None


def _same_rows(reused: NDArray[np.int64], n_before: int) -> bool:
    return len(reused) == n_before and bool(np.array_equal(reused, np.arange(n_before)))


def _computed(
    stage: ShardStage, tables: list[pa.Table], row_inputs: NDArray[np.uint8], root: Path, source: str
) -> pa.Table:
    table = stage.transform(tables, stage.config, context(stage, root, source))
    if "id" not in table.column_names:
        raise AlignmentError(f"{stage.name}: returned no id column")
    check_ids(stage.name, tables[0]["id"], table["id"])
    digests = pa.Array.from_buffers(
        pa.binary(16), len(row_inputs), [None, pa.py_buffer(np.ascontiguousarray(row_inputs))]
    )
    return table.append_column(pa.field(ROW_INPUTS, pa.binary(16), nullable=False), digests)


def _merged(fresh: pa.Table, previous: pa.Table | None, reused: NDArray[np.int64]) -> pa.Table:
    todo = reused < 0
    if previous is None or todo.all():
        return fresh
    both = pa.concat_tables([previous, fresh.select(previous.column_names).cast(previous.schema)])
    rows = reused.copy()
    rows[todo] = previous.num_rows + np.arange(int(todo.sum()))
    return both.take(rows).combine_chunks()
