"""Make one shard of some stages: read, reuse rows, compute the rest, commit."""

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Never, cast

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from fuseline.models.progress import noted
from fuseline.stores.dataset import ROW_INPUTS, Dataset, changed_rows, check_ids
from fuseline.stores.errors import AlignmentError, DamagedError, StorageError, mismatch
from fuseline.stores.manifest import ShardRecord
from fuseline.stores.root import Root
from fuseline.tasks.engine.image_pass import ConsumerPass, ImageTransform, run_pass
from fuseline.tasks.engine.images import CHANGED
from fuseline.tasks.engine.inputs import Tables, context, row_inputs, shard_inputs, summary_inputs, upstream_tables
from fuseline.tasks.engine.leaks import check_seen
from fuseline.tasks.engine.nodes import ShardStage, Summary, Transform
from fuseline.tasks.engine.snapshot import seen_input, seen_shards
from fuseline.tasks.engine.timings import Kind, ShardReport, Timings, failed

logger = logging.getLogger(__name__)

# These say something about the document, not about a failed try.
SETTLED = ("ok", "missing")


def make_shards(
    stages: Sequence[ShardStage], root: Root, index: int, *, source: str, retry_failed: bool = False
) -> list[ShardReport]:
    """Make and commit one shard of each stage, none of which reads another; those over images share one pass.

    Rows whose own inputs did not change are copied from the stage's previous version, those of changed images aside. A
    stage that fails says so in its report, and the others are committed.

    Args:
        stages: what to make.
        root: output root.
        index: which shard.
        source: where image references start.
        retry_failed: compute rows again whose status is neither "ok" nor "missing".

    Raises:
        StorageError: the output root cannot be written.
    """
    drafts, seen = [Draft(stage, root, index, source) for stage in stages], Tables()
    for draft in drafts:
        draft.read(seen, retry_failed=retry_failed)
    passes: dict[str, list[Draft]] = {}  # by the documents that they read
    for draft in drafts:
        if draft.idle:
            continue
        if isinstance(draft.stage.transform, ImageTransform):
            passes.setdefault(draft.stage.reads[0].node.name, []).append(draft)
        else:
            draft.compute(draft.stage.transform)
    for sharing in passes.values():
        _share_pass(sharing, source)
    return [draft.commit() for draft in drafts]


class Draft:
    """One shard of one stage on its way from its inputs to the store."""

    def __init__(self, stage: ShardStage, root: Root, index: int, source: str) -> None:
        self.stage, self.root, self.index, self.source = stage, root, index, source
        self.dataset, self.timings, self.seconds = stage.dataset(root), Timings(), 0.0
        self.tables: list[pa.Table] = []
        self.error: Exception | None = None
        self._inputs: dict[str, str] = {}
        self._row_inputs = np.empty((0, 16), np.uint8)
        self._before: ShardRecord | None = None
        self._previous: pa.Table | None = None
        self._reused = np.empty(0, np.int64)  # per row its place in the previous version, or -1: to compute
        self._fresh = pa.table({})  # what was computed

    @property
    def idle(self) -> bool:
        """Whether there is nothing to compute."""
        known = self.stage.by_row and self._previous is not None and not self.wanted.any()
        return known or self.error is not None

    @property
    def wanted(self) -> NDArray[np.bool_]:
        """The rows (n,) to compute."""
        return self._reused < 0

    def read(self, seen: Tables, *, retry_failed: bool) -> None:
        """Read the inputs, and find what the previous version already holds."""
        with self.step("read"):
            self._inputs = shard_inputs(self.stage, self.root, self.index)
            self.tables = upstream_tables(self.stage, self.root, self.index, seen)
            if not self.stage.by_row:
                return
            self._before = self.dataset.record(self.index)
            self._previous = _previous(self.dataset, self._before)
            self._row_inputs = row_inputs(self.stage, self.tables, self.root)
            self._reused = changed_rows(self._previous, self.tables[0]["id"], self._row_inputs)
            if self._previous is not None and "status" in self._previous.column_names:
                status = np.array(self._previous["status"].to_pylist(), dtype=object)
                # An image that changed may be by now what its digest says: nothing in the inputs would tell.
                again = ~np.isin(status, SETTLED) if retry_failed else status == CHANGED
                kept = self._reused >= 0
                self._reused[kept] = np.where(again[self._reused[kept]], -1, self._reused[kept])

    def compute(self, transform: Transform) -> None:
        """Compute the wanted rows, or all of them for a stage over whole shards."""
        with self.step("compute"):
            tables, todo = self.tables, np.flatnonzero(self.wanted)
            if self.stage.by_row and len(todo) < len(self._reused):  # to take all rows would copy pictures
                tables = [table.take(todo) for table in tables]
            table = transform(tables, cast(Never, self.stage.config), context(self.stage, self.root, self.source))
            self._fresh = self._checked(table) if self.stage.by_row else table

    def take(self, part: ConsumerPass) -> None:
        """Take over what a pass computed, and what it cost."""
        self.timings += part.timings
        self.seconds += part.timings.compute + part.timings.wait
        with self.step("compute"):
            self._fresh = self._checked(part.table())

    def commit(self) -> ShardReport:
        """Write the shard unless something failed, and report."""
        with self.step("write"):
            if self.error is None:
                self._write()
        if self.error is not None:
            return failed(self.stage.label, self.index, self.error)
        computed = self._fresh.num_rows
        n_rows = len(self._reused) if self.stage.by_row else computed
        timings = (self.seconds, self.timings)
        return ShardReport(self.stage.label, self.index, n_rows, computed, n_rows - computed, *timings)

    @contextmanager
    def step(self, kind: Kind) -> Iterator[None]:
        """Account for a block, and keep what it raises: one stage's failure is not that of the others."""
        started = time.perf_counter()
        try:
            yield
        except StorageError:
            raise
        except Exception as error:
            logger.debug("%s shard %d failed", self.stage.label, self.index, exc_info=True)
            self.error = error
        finally:
            seconds = time.perf_counter() - started
            self.seconds += seconds
            self.timings.add(kind, seconds)

    def _checked(self, table: pa.Table) -> pa.Table:
        """Return computed rows with the digests of their inputs; raises AlignmentError when they are other rows."""
        name = self.stage.name
        if "id" not in table.column_names:
            raise AlignmentError(f"{name}: returned no id column")
        check_ids(name, self.tables[0]["id"].filter(pa.array(self.wanted)), table["id"])
        inputs = np.ascontiguousarray(self._row_inputs[self.wanted])
        digests = pa.Array.from_buffers(pa.binary(16), len(inputs), [None, pa.py_buffer(inputs)])
        return table.append_column(pa.field(ROW_INPUTS, pa.binary(16), nullable=False), digests)

    def _write(self) -> None:
        before, previous, table = self._before, self._previous, self._fresh
        if before is not None and previous is not None:
            if np.array_equal(self._reused, np.arange(before.n_rows)):
                self.dataset.recommit(before, self._inputs)
                return
            table = _merged(table, previous, self._reused)
        self.dataset.commit(self.index, table, self._inputs)


def _share_pass(drafts: list[Draft], source: str) -> None:
    """Compute stages over the same documents' images with one reading and decoding of each."""
    sharing, consumers = [], []
    for draft in drafts:
        transform = cast(ImageTransform, draft.stage.transform)
        with draft.step("compute"):
            consumers.append(transform.consumer(draft.tables, cast(Never, draft.stage.config)))
            sharing.append(draft)
    if sharing:
        documents, wanted = sharing[0].tables[0], [draft.wanted for draft in sharing]
        result = run_pass(documents, consumers, source=source, wanted=wanted)
        for draft, part in zip(sharing, result.parts, strict=True):
            draft.take(part)


def make_summary(node: Summary, root: Root, *, source: str) -> ShardReport:
    """Make and commit the tables over all shards.

    Raises:
        DataError: a fit that it rests on read documents that are scored here.
        ValueError: other tables come than the node names.
    """
    started = time.perf_counter()
    check_seen(node, root)
    indices = sorted(node.reads[0].node.dataset(root).records())

    def shards() -> Iterator[list[pa.Table]]:
        return (upstream_tables(node, root, index) for index in noted(indices, len(indices), every=1))

    frame = replace(context(node, root, source), seen=seen_shards(node, root))
    tables = node.summarise(shards, cast(Never, node.config), frame)
    if tables.keys() != set(node.tables):
        cure = "name the tables that it returns in its node"
        raise ValueError(mismatch(f"tables of {node.label}", sorted(node.tables), sorted(tables), cure))
    dataset, inputs = node.dataset(root), {**summary_inputs(node, root), **seen_input(node, root)}
    for index, name in enumerate(node.tables):
        dataset.commit(index, tables[name], inputs, name=name)
    n_rows = sum(table.num_rows for table in tables.values())
    return ShardReport(node.label, 0, n_rows, n_rows, 0, time.perf_counter() - started)


def _previous(dataset: Dataset, record: ShardRecord | None) -> pa.Table | None:
    if record is None:
        return None
    try:
        return dataset.read(record)
    except (DamagedError, OSError):
        # Damaged rows are simply computed again.
        return None


def _merged(fresh: pa.Table, previous: pa.Table, reused: NDArray[np.int64]) -> pa.Table:
    """Return the rows of a shard: those reused of its previous version, and the fresh ones in between."""
    todo = reused < 0
    if not todo.any():
        return previous.take(reused).combine_chunks()
    if todo.all():
        return fresh
    both = pa.concat_tables([previous, fresh.select(previous.column_names).cast(previous.schema)])
    rows = reused.copy()
    rows[todo] = previous.num_rows + np.arange(int(todo.sum()))
    return both.take(rows).combine_chunks()
