"""Every metric by name, made from counts that add over shards; the only place where a new one of ours is listed."""

from collections.abc import Callable
from functools import cached_property
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fuseline.models.metrics.scores import ClassScore, Tally, class_scores, ratio
from fuseline.plugins import Registry


class Counts:
    """What metrics are made from; what several of them need is made once."""

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

    @cached_property
    def _classes(self) -> list[ClassScore]:
        return class_scores(self.tally)


class Metric(NamedTuple):
    """One number that tells how good predictions are."""

    kind: str  # its name in the registry and in metrics.parquet
    summary: str  # one line for those who read tables
    value: Callable[[Counts], float]
    documents: Callable[[Tally], int] = lambda tally: tally.n  # it is computed on; without any it is left out
    lower_is_better: bool = False


# Those that models are compared by.
Compared = Literal["accuracy", "p_at_1", "top_5", "f1_micro", "f1_macro", "f1_weighted", "f1_samples", "log_loss"]
OURS = (
    Metric(
        "accuracy", "share of documents whose best label is right; multi-label: whose whole label set is right",
        lambda counts: (counts.tally.exact if counts.multi_label else counts.tally.first) / counts.tally.n,
    ),
    Metric(
        "p_at_1", "share of documents whose best label is one of their own",
        lambda counts: counts.tally.first / counts.tally.n,
    ),
    Metric(
        "top_5", "share of documents with an own label among the best five",
        lambda counts: counts.tally.fifth / counts.tally.n,
    ),
    Metric(
        "f1_micro", "F1 over all (document, label) pairs",
        lambda counts: ratio(
            2 * counts.tally.hit.total(), counts.tally.true.total() + counts.tally.predicted.total()
        ),
    ),
    Metric("f1_macro", "mean F1 of the classes", lambda counts: float(counts.f1.mean())),
    Metric(
        "f1_weighted", "mean F1 of the classes, weighted by their documents",
        lambda counts: float(counts.f1 @ counts.support / counts.support.sum()),
    ),
    Metric(
        "f1_samples", "mean F1 of the documents' label sets; 0/0 is 0", lambda counts: counts.tally.f1 / counts.tally.n
    ),
    Metric(
        "no_input", "documents that hold nothing the model reads; they count as wrong",
        lambda counts: float(counts.tally.no_input),
    ),
    Metric(
        "unknown_label", "documents whose labels were unseen in training; they count as wrong",
        lambda counts: float(counts.tally.unknown_label),
    ),
    Metric(
        "log_loss", "mean -log probability of the own labels, nats",
        lambda counts: counts.tally.loss / counts.tally.loss_n, lambda tally: tally.loss_n, lower_is_better=True,
    ),
)  # fmt: skip
METRICS: Registry[Metric] = Registry("metric", {metric.kind: metric for metric in OURS})


def scores(tally: Tally, *, multi_label: bool) -> dict[str, tuple[float, int]]:
    """Return metric -> (value, documents it was computed on); empty without documents."""
    counts = Counts(tally, multi_label=multi_label)
    on = {name: metric.documents(tally) for name, metric in METRICS.items()} if tally.n else {}
    return {name: (float(METRICS[name].value(counts)), n) for name, n in on.items() if n}


def registry_rows() -> list[dict[str, str]]:
    """Return name, summary and weights ("") of every metric, for `fuseline list metrics`."""
    return [{"name": name, "summary": metric.summary, "weights": ""} for name, metric in METRICS.items()]
