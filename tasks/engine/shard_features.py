"""The rows of one split of all shards, as the blocks that fits stream."""

from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import cast

import numpy as np
import pyarrow as pa

from fuseline.models.columns import Column, Text
from fuseline.models.features import Block, T
from fuseline.models.progress import note
from fuseline.stores.root import Root
from fuseline.tasks.engine.cache import Cache
from fuseline.tasks.engine.inputs import split_rows, upstream_tables
from fuseline.tasks.engine.nodes import Feature, Ingest, Node, Read
from fuseline.tasks.engine.planner import InputsSnapshot
from fuseline.tasks.engine.rows import in_split


@dataclass
class ShardFeatures:
    """The rows of one split of all shards, as blocks that a classifier streams."""

    node: Node
    root: Root
    split: str
    only: frozenset[int] | None = None  # shards to read; all by default
    saw: dict[str, int] = field(default_factory=dict)  # split -> rows that were read of it, here and by copies

    def __post_init__(self) -> None:
        documents = cast(Ingest, self.node.reads[0].node)
        counts = split_rows(documents, self.root, self.split, self.node.fold)
        self.indices = [index for index in sorted(counts) if self.only is None or index in self.only]
        self.n_rows = sum(counts[index] for index in self.indices)

    def blocks(self) -> Iterator[Block]:
        """Yield one block per shard that holds rows of the split."""
        return self.read()

    def read(self) -> Iterator[Block]:
        """Yield the blocks from the shards."""
        for tables, rows in self._shards():
            yield block_of(self.node.reads, tables, rows)

    def tables(self) -> Iterator[list[pa.Table]]:
        """Yield one table per read of each shard that holds rows of the split."""
        for tables, rows in self._shards():
            yield [table.filter(rows) for table in tables]

    def _shards(self) -> Iterator[tuple[list[pa.Table], pa.ChunkedArray]]:
        """Yield the whole tables of each shard that holds rows of the split, and which rows (n,) bool these are."""
        rows = 0
        for index in self.indices:
            note(rows, self.n_rows)
            tables = upstream_tables(self.node, self.root, index)
            chosen = in_split(tables[0], self.split)
            rows += int(chosen.sum())
            self.saw[self.split] = max(rows, self.saw.get(self.split, 0))
            if chosen.any():
                yield tables, pa.chunked_array([chosen])


@dataclass
class CachedFeatures(ShardFeatures):
    """The same, with what is made of the rows kept in a cache, for fits that read the same.

    `snapshot` says which content of the shards the fit sees: with it, what is in the cache can't be out of date.
    """

    cache: Cache = field(kw_only=True)
    snapshot: InputsSnapshot = field(kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        reads = tuple((read.node.name, read.node.key, read.columns) for read in self.node.reads)
        self.key = (str(self.root.absolute()), reads, self.snapshot.digest, self.split, self.node.fold)

    def blocks(self) -> Iterator[Block]:
        """Yield one block per shard that holds rows of the split; they stay in memory if all are small."""
        key = (*self.key, "blocks")
        if key in self.cache:
            with self.cache.get_or_create(key, lambda: Blocks(list(self.read()))) as kept:
                yield from kept.blocks
            return
        blocks: list[Block] = []
        room = self.cache.limit // 4
        for block in self.read():
            room -= block.nbytes
            blocks = [*blocks, block] if room >= 0 else []
            yield block
        if room >= 0:
            with self.cache.get_or_create(key, lambda: Blocks(blocks)):
                pass

    def get_or_create(self, key: Hashable, make: Callable[[], T]) -> AbstractContextManager[T]:
        """Yield what `make` returned the first time for this key and these rows."""
        return self.cache.get_or_create((*self.key, key), make)


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


def block_of(reads: Sequence[Read], tables: Sequence[pa.Table], rows: pa.ChunkedArray | None = None) -> Block:
    """Turn one shard of what a node reads into a block.

    Args:
        reads: the documents first, for ids and labels; of the others those whose node makes a feature become columns.
        tables: one per read, all with the same rows.
        rows: which of them (n,) bool the block holds; all by default.
    """
    documents = tables[0] if rows is None else tables[0].filter(rows)
    n = documents.num_rows
    ids = documents["id"].combine_chunks()
    no_labels = "labels" not in documents.column_names
    labels = pa.array([[]] * n, pa.list_(pa.string())) if no_labels else documents["labels"].combine_chunks()
    columns: dict[str, Column] = {}
    for read, table in zip(reads[1:], tables[1:], strict=True):
        feature = read.node.feature
        if feature is None:
            continue
        name, column = read.into or read.node.column, _column(feature, table, rows)
        before = columns.get(name)
        if isinstance(before, Text) and isinstance(column, Text):
            column = before.followed_by(column)
        columns[name] = column
    return Block(ids, labels, columns)


def _column(feature: Feature, table: pa.Table, rows: pa.ChunkedArray | None) -> Column:
    """Return some rows of a table as a column; what is read when it is used is not read to be left out."""
    if rows is None or not feature.kind.lazy:
        return feature.kind.of(table if rows is None else table.filter(rows), feature.field)
    return feature.kind.of(table, feature.field).at(np.flatnonzero(rows.to_numpy()))
