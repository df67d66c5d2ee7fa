"""Which of several models is better on the same test documents, over all their seeds."""

from collections.abc import Iterator
from itertools import permutations
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from fuseline.models.metrics.scores import Outcomes
from fuseline.models.metrics.significance import difference, per_document, resampled, statistic
from fuseline.stores.errors import AlignmentError, mismatch
from fuseline.tasks.experiments.trial import TESTED

SUMMED = ("accuracy", "p_at_1", "f1_micro", "f1_samples")  # metrics that are sums over documents

Seeds = list[pa.Table]  # fuseline.tasks.experiments.trial.DOCUMENTS of every seed of one model


class Pair(NamedTuple):
    """How much better one model is than another, with the 95 % interval over documents."""

    metric: str
    model: str
    other: str
    difference: float  # model less other, mean over the seeds
    low: float
    high: float
    p: float  # two-sided, of no difference
    n: int  # documents


def pairs(models: dict[str, Seeds], *, metric: str, multi_label: bool, seed: int = 0) -> Iterator[Pair]:
    """Yield, for every ordered pair of models, how much better the one is, with interval and p value.

    A model's value is the mean over its seeds; documents are drawn with replacement, the same for all models.
    Raises AlignmentError when the models were tested on different documents.
    """
    _check_documents(models)
    named = [(name, table) for name, tables in sorted(models.items()) for table in tables]
    values = [per_document(metric, _outcomes(table), multi_label=multi_label) for _, table in named]
    if not values or not len(values[0]):
        return
    draws = resampled(values, rng=np.random.default_rng(seed))
    point: dict[str, list[float]] = {name: [] for name, _ in named}
    drawn: dict[str, list[Any]] = {name: [] for name, _ in named}
    for (name, _), own, sums in zip(named, values, draws, strict=True):
        point[name].append(float(statistic(metric, own.sum(axis=0))))
        drawn[name].append(statistic(metric, sums))
    means = {name: (float(np.mean(point[name])), np.mean(drawn[name], axis=0)) for name in point}
    for a, b in permutations(means, 2):
        gain = difference(means[a][0], means[b][0], means[a][1], means[b][1])
        yield Pair(metric, a, b, gain.value, gain.low, gain.high, gain.p, len(values[0]))


def _outcomes(table: pa.Table) -> Outcomes:
    return Outcomes(*(table[name].to_numpy() for name in ("first", "true", "predicted", "hit")))


def _check_documents(models: dict[str, Seeds]) -> None:
    tested = [(name, len(table), _digest(table)) for name, tables in sorted(models.items()) for table in tables]
    for name, n, digest in tested[1:]:
        if (n, digest) != tested[0][1:]:
            expected, got = f"the {tested[0][1]} of {tested[0][0]}", f"{n} documents, not the same ones"
            cure = "train all models again with --set refit=on_change"
            raise AlignmentError(mismatch(f"test documents of {name}", expected, got, cure))


def _digest(table: pa.Table) -> bytes | None:
    """Return the digest of the documents that a table is about."""
    metadata: dict[bytes, bytes] = table.schema.metadata or {}
    return metadata.get(TESTED)
