"""Cross-validation: whether the documents can be divided into its folds."""

from collections import Counter

from fuseline.stores.errors import ConfigError, mismatch
from fuseline.stores.root import Root
from fuseline.tasks.engine.nodes import Ingest
from fuseline.tasks.engine.rows import HELD_OUT, TAKES_PART


def check_folds(documents: Ingest, root: Root, of: int) -> None:
    """Refuse a cross-validation that scores nothing in a fold, or has nothing to train on there.

    Raises ConfigError.
    """
    counts = _counts(documents, root)
    for k in range(of):
        held_out = sum(counts[split, k] for split in TAKES_PART)
        training = sum(counts[TAKES_PART[0], other] for other in range(of) if other != k)
        there = sum(n for (split, _), n in counts.items() if split in TAKES_PART)
        got = f"none in fold {k} of {of}, with {there:,} documents that are not {HELD_OUT}"
        if not held_out:
            cure = "lower it, or give more documents (split.test: 0 divides them all)"
            raise ConfigError(mismatch("evaluation.folds", "documents to score in every fold", got, cure))
        if not training:
            cure = "lower it, or lower split.valid and split.test"
            raise ConfigError(mismatch("evaluation.folds", "documents to train on in every fold", got, cure))


def divided(documents: Ingest, root: Root) -> tuple[int, int]:
    """Return how many documents a cross-validation divides, and how many take no part: those of the split test."""
    counts = _counts(documents, root)
    there = sum(n for (split, _), n in counts.items() if split in TAKES_PART)
    return there, sum(n for (split, _), n in counts.items() if split == HELD_OUT)


def _counts(documents: Ingest, root: Root) -> Counter[tuple[str, int]]:
    """Return the documents of every split and part."""
    dataset, counts = documents.dataset(root), Counter[tuple[str, int]]()
    for record in dataset.records().values():
        table = dataset.read(record, ("split", "fold")).group_by(["split", "fold"]).aggregate([([], "count_all")])
        for row in table.to_pylist():
            counts[row["split"], row["fold"]] += row["count_all"]
    return counts
