"""Every metric by name, computed from counts that add over shards; the only place to register a built-in one."""

from dataclasses import replace
from typing import Annotated

from pydantic import AfterValidator

from fuseline.models.metrics.agreement import KAPPA
from fuseline.models.metrics.calibration import ECE
from fuseline.models.metrics.hits import hit_at
from fuseline.models.metrics.metric import MULTI, SINGLE, Counts, Documents, Metric
from fuseline.models.metrics.ranking import AUC
from fuseline.models.metrics.scores import Interval, Sums, Tally, f1_interval, ratio, share_interval, tally
from fuseline.plugins import Registry

__all__ = [
    "METRICS", "Compared", "Counts", "Documents", "Metric", "Selected", "checked_metric", "checked_selection",
    "comparable", "counted", "intervals", "registry_rows", "scores",
]  # fmt: skip

OURS = (
    Metric(
        "accuracy", "share of documents whose best label is right; multi-label: whose whole label set is right",
        lambda counts: counts.right / counts.tally.n, headline=SINGLE, shown=SINGLE,
        interval=lambda counts: share_interval(counts.right / counts.tally.n, counts.tally.n),
    ),
    Metric(
        "p_at_1", "share of documents whose best label is one of their own",
        lambda counts: counts.tally.first / counts.tally.n, title="P@1", shown=MULTI,
        interval=lambda counts: share_interval(counts.tally.first / counts.tally.n, counts.tally.n),
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
        title="F1 micro", headline=MULTI, shown=MULTI, interval=lambda counts: f1_interval(counts.tally),
    ),
    Metric("f1_macro", "mean F1 of the classes", lambda counts: float(counts.f1.mean()), title="F1 macro"),
    Metric(
        "f1_weighted", "mean F1 of the classes, weighted by their documents",
        lambda counts: float(counts.f1 @ counts.support / counts.support.sum()), title="F1 weighted", shown=(),
    ),
    Metric(
        "f1_samples", "mean F1 of the documents' label sets; 0/0 is 0", lambda counts: counts.tally.f1 / counts.tally.n,
        title="F1 samples", shown=MULTI,
    ),
    Metric(
        "no_input", "documents that hold nothing the model reads; they count as wrong",
        lambda counts: float(counts.tally.no_input), lower_is_better=True, unit="documents", shown=(),
    ),
    Metric(
        "unknown_label", "documents whose labels were unseen in training; they count as wrong",
        lambda counts: float(counts.tally.unknown_label), lower_is_better=True, unit="documents", shown=(),
    ),
    Metric(
        "log_loss", "mean -log probability of the own labels, nats",
        lambda counts: counts.tally.loss / counts.tally.loss_n, lambda tally: tally.loss_n, lower_is_better=True,
        unit="nats",
    ),
    hit_at(3), hit_at(10), ECE, AUC, KAPPA,
)  # fmt: skip
METRICS: Registry[Metric] = Registry("metric", {metric.kind: metric for metric in OURS})


def counted(documents: Documents) -> Tally:
    """Count one block of documents for every metric; tallies of different documents add.

    Raises ValueError when a document has no label of its own.
    """
    base = tally(documents.truth, documents.predicted, best=documents.best, rank=documents.rank, loss=documents.loss)
    if not base.n:
        return base
    sums = {name: metric.sums(documents) for name, metric in METRICS.items() if metric.sums is not None}
    return replace(base, sums=Sums({name: value for name, value in sums.items() if value is not None}))


def scores(tally: Tally, *, multi_label: bool) -> dict[str, tuple[float, int]]:
    """Return metric -> (value, documents it was computed on); empty without documents."""
    counts = Counts(tally, multi_label=multi_label)
    on = {name: metric.documents(tally) for name, metric in METRICS.items()} if tally.n else {}
    return {name: (float(METRICS[name].value(counts)), n) for name, n in on.items() if n}


def intervals(tally: Tally, *, multi_label: bool) -> dict[str, Interval]:
    """Return metric -> its 95 % interval, of those that have one; empty without documents."""
    counts = Counts(tally, multi_label=multi_label)
    having = ((name, metric.interval) for name, metric in METRICS.items()) if tally.n else ()
    return {name: interval(counts) for name, interval in having if interval is not None}


def comparable() -> list[str]:
    """Return the metrics that models can be compared by: those that count no documents and are there in any case."""
    return [name for name, metric in METRICS.items() if metric.unit != "documents" and not metric.full]


def checked_metric(name: str) -> str:
    """Return the name of a metric that models can be compared by; raises ValueError for another, as pydantic wants."""
    if name not in (names := comparable()):
        raise ValueError(f"expected one of {names}, got {name!r}; `fuseline list metrics` says what each is")
    return name


def checked_selection(name: str) -> str:
    """Return the name of a metric that epochs can be chosen by, as `checked_metric`, or one of every class."""
    return name if name in METRICS and METRICS[name].full else checked_metric(name)


# The name of a metric in a configuration; plugins are asked for when a configuration is read.
Compared = Annotated[str, AfterValidator(checked_metric)]
Selected = Annotated[str, AfterValidator(checked_selection)]


def registry_rows() -> list[dict[str, str]]:
    """Return name, summary and weights ("") of every metric, for `fuseline list metrics`."""
    return [{"name": name, "summary": metric.summary, "weights": ""} for name, metric in METRICS.items()]
