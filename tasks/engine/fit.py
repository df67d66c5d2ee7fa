"""Fit one checkpoint from the training rows of all shards."""

import time
from collections.abc import Iterable
from dataclasses import replace
from typing import Never, cast

from fuseline.plain import number
from fuseline.stores.errors import DataError, FuselineError, mismatch
from fuseline.stores.fitted import ScratchFolder, scratch_folders, scratch_name
from fuseline.stores.root import Root
from fuseline.tasks.engine.cache import Cache
from fuseline.tasks.engine.inputs import context, fitted_digests
from fuseline.tasks.engine.leaks import check_seen
from fuseline.tasks.engine.nodes import Fit, Node
from fuseline.tasks.engine.planner import InputsSnapshot, snapshot_of
from fuseline.tasks.engine.shard_features import CachedFeatures, ShardFeatures
from fuseline.tasks.engine.timings import ShardReport


def make_fit(
    node: Fit,
    root: Root,
    *,
    source: str,
    again: InputsSnapshot | None = None,
    warning: str = "",
    snapshot: InputsSnapshot | None = None,
    cache: Cache | None = None,
) -> ShardReport:
    """Fit on the node's rows and commit the checkpoint; the record says what it saw.

    Args:
        node: what to fit.
        root: output root.
        source: where image references start.
        again: what a checkpoint saw that is lost: only these shards are read.
        warning: what the report says when another checkpoint comes of it than was there.
        snapshot: what a fit of this node would see now, when the caller knows it.
        cache: where what is made of the rows is kept for the next fit.

    Raises:
        DataError: there is no training document, or a fit that it rests on read documents that it must not have.
        MismatchError: its codes are of several versions of a codebook.
    """
    started = time.perf_counter()
    check_seen(node, root)
    snapshot = again or snapshot or snapshot_of(node, root)
    only = None if again is None else frozenset(map(int, again.shards))
    saw: dict[str, int] = {}
    train, valid = (
        _features(node, root, split, only, snapshot, cache, saw) for split in (node.rows.fit, node.rows.tune)
    )
    if not train.n_rows:
        expected = f"documents in the {node.rows.fit} split"
        raise DataError(mismatch(node.label, expected, 0, "check `source` and `split`"))
    fits, fitted = fitted_digests(node.fits, root), node.fitted(root)
    what = replace(context(node, root, source), scratch=fitted.scratch(snapshot.digest))
    try:
        save, n_rows, facts = node.fit(train, valid, cast(Never, node.config), what)
    except FuselineError:
        raise
    except ValueError as error:
        # Models know no stores: their refusals (no labels, too few rows, NaN) become errors of ours here.
        raise DataError(f"{node.label}: {error}") from error
    # What a machine compiles once is no cost of this model: tables would show the first model as the dearest.
    compiling = number(facts.get("compile_seconds", 0.0))
    facts = {**facts, "seconds": time.perf_counter() - started - compiling}
    before = fitted.last_name()
    record = fitted.commit(save, n_rows=n_rows, shards=snapshot.shards, fitted=fits, facts=facts, saw=saw)
    remarks = [warning] if warning and record.name != before else []
    if compiling >= COMPILED:
        remarks.append(f"{node.label}: kernels were compiled, once on this machine, in {compiling:.0f} s of their own")
    seconds = time.perf_counter() - started
    return ShardReport(node.label, 0, n_rows, n_rows, 0, seconds, apart=compiling, note="; ".join(remarks))


def stale_scratch(nodes: Iterable[Node], root: Root) -> list[ScratchFolder]:
    """Return scratch folders of interrupted fits that none of `nodes` would resume, because their input changed."""
    mine = {f"{node.name}/{node.key}": node for node in nodes if isinstance(node, Fit)}
    return [
        scratch for scratch in scratch_folders(root) if not _is_awaited(scratch.folder, mine.get(scratch.fit), root)
    ]


def _is_awaited(folder: str, node: Fit | None, root: Root) -> bool:
    if node is None:
        return False
    try:
        return folder == scratch_name(snapshot_of(node, root).digest)
    except DataError:  # upstreams are gone
        return False


COMPILED = 5.0  # seconds; to read compiled kernels from the disk takes less


def _features(
    node: Node,
    root: Root,
    split: str,
    only: frozenset[int] | None,
    snapshot: InputsSnapshot,
    cache: Cache | None,
    saw: dict[str, int],
) -> ShardFeatures:
    if cache is None:
        return ShardFeatures(node, root, split, only, saw)
    return CachedFeatures(node, root, split, only, saw, cache=cache, snapshot=snapshot)
