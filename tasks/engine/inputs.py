"""What a node reads: shards of its upstreams with their digests, and what it was fitted by."""

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from fuseline.stores.dataset import check_aligned
from fuseline.stores.digests import cell_digests, combine, row_digests
from fuseline.stores.errors import DataError, MismatchError, mismatch
from fuseline.stores.manifest import ShardRecord, expanded
from fuseline.stores.root import Root
from fuseline.tasks.engine.nodes import Context, Fit, Ingest, Node, Read, ShardStage
from fuseline.tasks.engine.rows import HALVES, Fold, in_split, split_in


def shard_inputs(node: Node, root: Root, index: int) -> dict[str, str]:
    """Return what a shard of `node` would be made from now: upstream name -> digest."""
    digests = {read.node.name: record_of(read, root, index).digest(read.key_columns) for read in node.reads}
    return {**digests, **fitted_digests(node.fits, root)}


def fitted_digests(fits: tuple[Fit, ...], root: Root) -> dict[str, str]:
    """Return the digest of every fitted upstream; raises DataError when one was never fitted."""
    digests = {}
    for fit in fits:
        record = fit.fitted(root).record()
        if record is None:
            raise DataError(f"{fit.name}: is not fitted yet; run `fuseline run` first")
        digests[fit.name] = record.digest
    return digests


def record_of(read: Read, root: Root, index: int) -> ShardRecord:
    """Return the record of an upstream shard; raises DataError when it was never made."""
    record = read.node.dataset(root).record(index)
    if record is None:
        raise DataError(f"{read.node.name}: shard {index} is not there yet; run `fuseline run` first")
    return record


class Tables(dict[tuple[str, ...], pa.Table]):
    """Shards read so far, by dataset, shard and columns: stages that read the same share one copy."""


def upstream_tables(node: Node, root: Root, index: int, seen: Tables | None = None) -> list[pa.Table]:
    """Read one shard of every upstream, ids first, after the digests of their ids were compared.

    A document's split is what it is in the node's fold.
    """
    records = {read.node.name: record_of(read, root, index) for read in node.reads}
    if isinstance(node, ShardStage) and node.by_row:
        check_aligned(records)
    check_fitted(node, root, records)
    tables, seen = [], Tables() if seen is None else seen
    for read in node.reads:
        dataset, record = read.node.dataset(root), records[read.node.name]
        ids = ("id",) if record.ids else ()
        wanted = (*record.select(read.columns), *record.select(read.keyed))
        # A shard may lack table columns (num_*, cat_*) that others have.
        names = tuple(dict.fromkeys((*ids, *(name for name in wanted if name in record.columns))))
        place = (dataset.folder.uri(), record.name, *names)
        if place not in seen:
            seen[place] = dataset.read(record, names)
        documents = isinstance(read.node, Ingest) and "split" in read.columns
        tables.append(_as_in(node.fold, seen[place]) if documents else seen[place])
    return tables


def split_rows(documents: Ingest, root: Root, split: str, fold: Fold | None = None) -> dict[int, int]:
    """Return how many documents of a split, or of a half, each shard has, as they are in a fold: index -> rows."""
    dataset = documents.dataset(root)
    records = dataset.records()
    if fold is None and split not in HALVES:
        return {index: record.tallies.get("split", {}).get(split, 0) for index, record in records.items()}
    names = ("id", "split") if fold is None else ("id", "split", "fold")
    tables = {index: _as_in(fold, dataset.read(record, names)) for index, record in records.items()}
    return {index: int(in_split(table, split).sum()) for index, table in tables.items()}


def _as_in(fold: Fold | None, documents: pa.Table) -> pa.Table:
    if fold is None:
        return documents
    at, split = documents.schema.get_field_index("split"), split_in(fold, documents["split"], documents["fold"])
    return documents.set_column(at, documents.schema.field(at), split)


def check_fitted(node: Node, root: Root, records: dict[str, ShardRecord]) -> None:
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
            seen, expected = records[read.node.name].inputs.get(fit.name), known.get(fit.name)
            if expected is not None and seen != expected:
                what = f"{read.node.name} shard {records[read.node.name].index} for {node.label}: version of {fit.name}"
                raise MismatchError(mismatch(what, _short(expected), _short(seen), "run `fuseline run`, which follows"))


def _short(digest: str | None) -> str:
    """Return the end of a digest, which also names the checkpoint's folder."""
    return digest[-12:] if digest else "none"


def context(node: Node, root: Root, source: str) -> Context:
    """Return what the node's function may need beside its tables."""
    paths, facts = {}, {}
    for fit in node.fits:
        fitted = fit.fitted(root)
        record = fitted.record()
        if record is not None:
            paths[fit.name], facts[fit.name] = fitted.saved(record), record.facts
    lineage = {**{up.name: up.key for up in node.upstream}, "self": node.key}
    return Context(source, paths, lineage, node.reads, facts=facts, fold=node.fold)


def summary_inputs(node: Node, root: Root) -> dict[str, str]:
    """Return what a summary would be made from now: upstream name -> digest over all its shards."""
    digests = {}
    for read in node.reads:
        records = read.node.dataset(root).records()
        digests[read.node.name] = combine(records[index].digest(read.key_columns) for index in sorted(records))
    return {**digests, **fitted_digests(node.fits, root)}


def row_inputs(stage: ShardStage, tables: list[pa.Table], root: Root) -> NDArray[np.uint8]:
    """Return a digest per row (n, 16) uint8 of all that the row of a stage is made from."""
    cells, marks = [], [f"{name}={digest}" for name, digest in sorted(fitted_digests(stage.fits, root).items())]
    for table, read in zip(tables, stage.reads, strict=True):
        names = tuple(name for name in expanded(read.key_columns, table.column_names) if name in table.column_names)
        cells.append(row_digests(table, names))
        # Digests of cells don't name their columns: a value that moves to another column must not look unchanged.
        marks += [f"{read.node.name}: {names}"] if names != read.key_columns else []
    salt = combine(marks)
    rows = np.concatenate([*cells, np.tile(np.frombuffer(salt.encode()[-16:], np.uint8), (len(cells[0]), 1))], axis=1)
    width = rows.shape[1]
    return cell_digests(pa.FixedSizeListArray.from_arrays(pa.array(rows.reshape(-1)), width))
