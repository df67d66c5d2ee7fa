"""What a metric is, and what it is computed from: documents, whose counts add over shards."""

from collections.abc import Callable
from functools import cached_property
from typing import Any, Literal, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from fuseline.models.metrics.scores import ClassScore, Interval, Tally, class_scores


class Documents(NamedTuple):
    """Labelled documents and a model's predictions; every field has one entry per document."""

    truth: pa.Array  # (n,) list<string>: own labels, at least one
    predicted: pa.Array  # (n,) list<string>: predicted labels
    best: pa.Array  # (n,) string: most probable label; null: the model read nothing
    score: pa.Array  # (n,) float32: probability of `best`; null likewise
    rank: pa.Array  # (n,) int32: place of its best own label, 1 = right; null: the model knows none
    loss: pa.Array  # (n,) float32: -log probability of its own labels, nats; null likewise
    # Of metrics that want every class; elsewhere both are (n,) null.
    probabilities: pa.Array  # (n,) list<float32>[C]: of each class of the model; null: the model read nothing
    own: pa.Array  # (n,) list<int32>: places of its own labels among these


class Counts:
    """Counts that metrics are computed from; quantities that several metrics share are computed once."""

    def __init__(self, tally: Tally, *, multi_label: bool) -> None:
        self.tally, self.multi_label = tally, multi_label

    @cached_property
    def f1(self) -> NDArray[np.float64]:
        """F1 of every class that was true or predicted, (C,), sorted by name."""
        return np.array([row.f1 for row in self._classes])

    @cached_property
    def support(self) -> NDArray[np.int64]:
        """Documents that carry each of these classes, (C,)."""
        return np.array([row.support for row in self._classes])

    @property
    def right(self) -> int:
        """Documents whose best label is right; multi-label: whose whole label set is right."""
        return self.tally.exact if self.multi_label else self.tally.first

    @cached_property
    def _classes(self) -> list[ClassScore]:
        return class_scores(self.tally)


Task = Literal["single-label", "multi-label"]
BOTH: tuple[Task, ...] = ("single-label", "multi-label")
SINGLE, MULTI = BOTH[:1], BOTH[1:]


class Metric(NamedTuple):
    """A measure of the quality of predictions: evaluation, tables, sweeps and the report take it from here."""

    kind: str  # its name in the registry and in the results table
    summary: str  # one line for readers of tables
    value: Callable[[Counts], float]
    documents: Callable[[Tally], int] = lambda tally: tally.n  # it is computed on; without any it is left out
    lower_is_better: bool = False
    unit: str = "share"  # share (0..1, shown in per cent), documents (a count), nats, or another
    title: str = ""  # as the head of a column; default: its name without underscores
    headline: tuple[Task, ...] = ()  # tasks whose models it ranks by default
    shown: tuple[Task, ...] = BOTH  # tasks whose main table in the report has it; the full table has every metric
    interval: Callable[[Counts], Interval] | None = None  # 95 %; becomes the metrics <kind>_low and <kind>_high
    # What it sums over documents: `tally.sums[kind]`; None where the documents lack what it wants.
    sums: Callable[[Documents], Any] | None = None
    full: bool = False  # it wants the probabilities of every class, which evaluation has where `evaluation.auc` is set
