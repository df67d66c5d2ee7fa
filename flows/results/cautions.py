"""Cautions for readers of the scores: too few documents to judge by, splits or labels that carry no information."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import pyarrow as pa

from fuseline.models.metrics.scores import share_interval
from fuseline.tasks.evaluation.label_leaks import sentence

FEW = 100  # documents: below, a score is uncertain by 10 points and more
WITHOUT = {
    "valid": "models are ranked by what they reach on test, which no longer is unseen",
    "test": "no score is of documents that nothing was chosen by",
}


class Split(NamedTuple):
    """What one split holds."""

    documents: int
    labelled: int
    labels: Counter[str]  # label -> documents


def cautions(statistics: pa.Table, *, scored: Sequence[str], leaks: pa.Table | None = None) -> list[str]:
    """Return a sentence per thing to know of some documents.

    Args:
        statistics: their STATISTICS rows.
        scored: splits that are scored.
        leaks: LEAKS rows of their columns.
    """
    documents, unlabelled, labels = Counter[str](), Counter[str](), dict[str, Counter[str]]()
    for row in statistics.to_pylist():
        split, field, measure = row["split"], row["field"], row["measure"]
        if (field, measure) == ("documents", "documents"):
            documents[split] += row["value"]
        if (field, measure) == ("labels", "missing"):
            unlabelled[split] += row["value"]
        if field.startswith("label:"):
            labels.setdefault(split, Counter())[field.removeprefix("label:")] += row["value"]
    if not documents:
        return []
    splits = {
        name: Split(documents[name], documents[name] - unlabelled[name], labels.get(name, Counter()))
        for name in ("train", *scored)
    }
    return [
        *_of_labels(splits["train"]),
        *_of_columns([] if leaks is None else leaks.to_pylist()),
        *_of_splits({name: splits[name] for name in scored}),
    ]


def _of_columns(leaks: list[dict[str, Any]]) -> Iterator[str]:
    for leak in leaks:
        name = leak["column"].partition("_")[2]  # without num_, cat_
        yield (
            f"{sentence(leak)}, so scores may say nothing of the rest: unless it is known of new documents too, "
            f"take {name} out of source.options.tabular, or name the other columns in the embedding's options.columns"
        )


def _of_labels(train: Split) -> Iterator[str]:
    if len(train.labels) == 1:
        yield f"there is one label alone, {next(iter(train.labels))!r}: every score is of a choice of one"
    elif train.labelled > 1 and max(train.labels.values(), default=0) == 1:
        yield (
            f"each of the {len(train.labels):,} labels occurs once in train, which nothing can be learnt from; "
            "is it a column of ids? (source.options.columns.labels)"
        )


def _of_splits(splits: dict[str, Split]) -> Iterator[str]:
    for name, split in splits.items():
        if not split.documents:
            others = [other for other in splits if other != name and splits[other].labelled]
            without = WITHOUT.get(name) if others else "models have no score there"
            yield f"no document is in {name}: {without or 'models have no score there'} (split.{name})"
        elif not split.labelled:
            yield f"none of the {split.documents:,} documents in {name} has a label: models have no score there"
    few = {name: split.labelled for name, split in splits.items() if 0 < split.labelled < FEW}
    if few:
        n = min(few.values())
        points = max(100 * (1 - share_interval(1, n).low), 100 * (0.5 - share_interval(0.5, n).low))
        counts = ", ".join(f"{n:,} in {name}" for name, n in few.items())
        yield (
            f"few documents to judge by ({counts}): scores are uncertain by up to {points:.0f} points; "
            "more documents, or larger shares of them (split.valid, split.test), tell more"
        )
