"""Which shards a fitted thing has seen as they are now, and which came or changed since."""

from fuseline.stores.digests import combine
from fuseline.stores.root import Root
from fuseline.tasks.engine.nodes import Fit, Summary

SEEN = "seen"  # among the inputs of a summary that compares


def fit_shards(node: Fit, root: Root) -> dict[str, str]:
    """Return the digest of what a fit would read of every shard: index -> digest."""
    records = [(read, read.node.dataset(root).records()) for read in node.reads]
    indices = set.intersection(*(set(shards) for _, shards in records)) if records else set()
    return {str(i): combine(shards[i].digest(read.key_columns) for read, shards in records) for i in sorted(indices)}


def seen_shards(node: Summary, root: Root) -> tuple[bool, ...]:
    """Return, per shard that a summary reads, in order, whether the fit that it compares with saw it as it is now.

    Empty for a summary that compares with none.
    """
    if node.compares is None:
        return ()
    record, now = node.compares.fitted(root).record(), fit_shards(node.compares, root)
    then = {} if record is None else record.shards
    indices = sorted(node.reads[0].node.dataset(root).records())
    return tuple(str(i) in now and then.get(str(i)) == now[str(i)] for i in indices)


def seen_input(node: Summary, root: Root) -> dict[str, str]:
    """Return the input that records which shards were seen; {} when a summary does not depend on them."""
    return {} if node.compares is None else {SEEN: "".join("01"[seen] for seen in seen_shards(node, root))}
