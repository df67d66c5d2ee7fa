"""Fit one checkpoint from the training rows of all shards."""

import time
from collections.abc import Callable, Hashable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from fuseline.models.features import Block, T
from fuseline.models.progress import note
from fuseline.stores.errors import DataError, FuselineError, mismatch
from fuseline.tasks.engine.cache import Shelf
from fuseline.tasks.engine.inputs import context, fitted_digests, upstream_tables
from fuseline.tasks.engine.nodes import Fit, Node
from fuseline.tasks.engine.planner import Seen, seen_by
from fuseline.tasks.engine.shard import ShardReport


@dataclass
class ShardFeatures:
    """The rows of one split of all shards, as blocks that a classifier streams."""

    node: Node
    root: Path
    split: str
    only: frozenset[int] | None = None  # shards to read; all by default

    def __post_init__(self) -> None:
        documents = self.node.reads[0].node.dataset(self.root).records()
        self.indices = [index for index in sorted(documents) if self.only is None or index in self.only]
        self.n_rows = sum(documents[index].tallies["split"].get(self.split, 0) for index in self.indices)

    def blocks(self) -> Iterator[Block]:
        """Yield one block per shard that holds rows of the split."""
        return self.read()

    def read(self) -> Iterator[Block]:
        """Yield the blocks from the shards."""
        names = [read.node.name for read in self.node.reads]
        for tables in self.tables():
            yield block_of(dict(zip(names, tables, strict=True)))

    def tables(self) -> Iterator[list[pa.Table]]:
        """Yield one table per read of each shard that holds rows of the split."""
        rows = 0
        for index in self.indices:
            note(rows, self.n_rows)
            tables = upstream_tables(self.node, self.root, index)
            mask = pc.fill_null(pc.equal(tables[0]["split"], self.split), False)
            tables = [table.filter(mask) for table in tables]
            rows += tables[0].num_rows
            if tables[0].num_rows:
                yield tables


@dataclass
class KeptFeatures(ShardFeatures):
    """The same, with what is made of the rows kept on a shelf, for fits that read the same.

    `seen` says which content of the shards the fit sees: with it, what is on the shelf can't be out of date.
    """

    shelf: Shelf = field(kw_only=True)
    seen: Seen = field(kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        reads = tuple((read.node.name, read.node.key, read.columns) for read in self.node.reads)
        self.key = (str(self.root.absolute()), reads, self.seen.digest, self.split)

    def blocks(self) -> Iterator[Block]:
        """Yield one block per shard that holds rows of the split; they stay in memory if all are small."""
        key = (*self.key, "blocks")
        if key in self.shelf:
            with self.shelf.lend(key, lambda: Blocks(list(self.read()))) as kept:
                yield from kept.blocks
            return
        blocks: list[Block] = []
        room = self.shelf.limit // 4
        for block in self.read():
            room -= block.nbytes
            blocks = [*blocks, block] if room >= 0 else []
            yield block
        if room >= 0:
            with self.shelf.lend(key, lambda: Blocks(blocks)):
                pass

    def lend(self, key: Hashable, make: Callable[[], T]) -> AbstractContextManager[T]:
        """Yield what `make` returned the first time for this key and these rows."""
        return self.shelf.lend((*self.key, key), make)


@dataclass(frozen=True)
class Blocks:
    """Blocks in memory."""

    blocks: list[Block]

    @property
    def nbytes(self) -> int:
        """Bytes that they take."""
        return sum(block.nbytes for block in self.blocks)

    def close(self) -> None:
        """Do nothing: memory frees itself."""


def block_of(tables: dict[str, pa.Table]) -> Block:
    """Turn one shard of every feature dataset into a block.

    Args:
        tables: dataset name -> table; "documents" gives ids and labels, "clean/..." the text, "detect/..." words
            to add to it, "embed/NAME" a dense modality NAME, "quantize/NAME" codes NAME. All hold the same rows.
    """
    documents = next(table for name, table in tables.items() if name.partition("/")[0] == "documents")
    n, text = documents.num_rows, pa.array([""] * documents.num_rows, pa.string())
    if "labels" not in documents.column_names:
        documents = documents.append_column("labels", pa.array([[]] * n, pa.list_(pa.string())))
    dense: dict[str, NDArray[np.float32]] = {}
    codes: dict[str, NDArray[np.uint8]] = {}
    present: dict[str, NDArray[np.bool_]] = {}
    missing: dict[str, NDArray[np.bool_]] = {}
    for name, table in sorted(tables.items()):
        kind, _, short = name.partition("/")
        if kind == "clean":
            text = table["text"].combine_chunks()
        elif kind == "detect":
            words = table["text"].combine_chunks()
            text = pc.utf8_trim_whitespace(pc.binary_join_element_wise(text, words, " "))
        elif kind in ("embed", "quantize"):
            present[short] = table["present"].to_numpy()
            values = _matrix(table["embedding" if kind == "embed" else "codes"], n)
            if kind == "embed":
                dense[short] = values.astype(np.float32)
                if (lacking := np.isnan(values)).any():
                    dense[short][lacking], missing[short] = 0.0, lacking
            else:
                codes[short] = values
    ids, labels = documents["id"].combine_chunks(), documents["labels"].combine_chunks()
    return Block(ids=ids, text=text, labels=labels, dense=dense, codes=codes, present=present, missing=missing)


def make_fit(
    node: Fit,
    root: Path,
    *,
    source: str,
    again: Seen | None = None,
    warning: str = "",
    seen: Seen | None = None,
    shelf: Shelf | None = None,
) -> ShardReport:
    """Fit on the train split and commit the checkpoint; the record says what it saw.

    Args:
        node: what to fit.
        root: output root.
        source: where image references start.
        again: what a checkpoint saw that is lost: only these shards are read.
        warning: what the report says when another checkpoint comes of it than was there.
        seen: what a fit of this node would see now, when the caller knows it.
        shelf: where what is made of the rows is kept for the next fit.

    Raises:
        DataError: there is no training document.
        MismatchError: its codes are of several versions of a codebook.
    """
    started = time.perf_counter()
    seen = again or seen or seen_by(node, root)
    only = None if again is None else frozenset(map(int, again.shards))
    train, valid = (_features(node, root, split, only, seen, shelf) for split in ("train", "valid"))
    if not train.n_rows:
        raise DataError(mismatch(node.label, "documents in the train split", 0, "check `source` and `split`"))
    fits = fitted_digests(node.fits, root)
    try:
        save, n_rows, facts = node.fit(train, valid, node.config, context(node, root, source))
    except FuselineError:
        raise
    except ValueError as error:
        # Models know no stores: their refusals (no labels, too few rows, NaN) become errors of ours here.
        raise DataError(f"{node.label}: {error}") from error
    # What a machine compiles once is no cost of this model: tables would show the first model as the dearest.
    compiling = facts.get("compile_seconds", 0.0)
    facts = {**facts, "seconds": time.perf_counter() - started - compiling}
    fitted = node.fitted(root)
    before = fitted.last_name()
    record = fitted.commit(save, n_rows=n_rows, shards=seen.shards, fitted=fits, facts=facts)
    remarks = [warning] if warning and record.name != before else []
    if compiling >= COMPILED:
        remarks.append(f"{node.label}: kernels were compiled, once on this machine, in {compiling:.0f} s of their own")
    seconds = time.perf_counter() - started
    return ShardReport(node.label, 0, n_rows, n_rows, 0, seconds, apart=compiling, note="; ".join(remarks))


COMPILED = 5.0  # seconds; to read compiled kernels from the disk takes less
Save = Callable[[Path], None]
FitResult = tuple[Save, int, dict[str, Any]]


def _features(
    node: Node, root: Path, split: str, only: frozenset[int] | None, seen: Seen, shelf: Shelf | None
) -> ShardFeatures:
    if shelf is None:
        return ShardFeatures(node, root, split, only)
    return KeptFeatures(node, root, split, only, shelf=shelf, seen=seen)


def _matrix(column: pa.ChunkedArray, n: int) -> NDArray[Any]:
    array = column.combine_chunks()
    return np.asarray(array.flatten()).reshape(n, array.type.list_size)
