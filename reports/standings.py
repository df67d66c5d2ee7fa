"""Who is best: models x metrics from the results table, the best in bold, the difference to a baseline."""

from collections.abc import Iterable
from typing import Any, NamedTuple

import pyarrow as pa

from fuseline.reports.measures import RIGHT, Measure, Measures
from fuseline.stores.results import plain, summary

SPLITS = ("test", "valid", "train")


class Cell(NamedTuple):
    """One number of the table; `text` is ready to print."""

    value: float | None
    text: str
    best: bool = False


class Row(NamedTuple):
    """One model on one split."""

    model: str
    cells: list[Cell]  # of the metrics of the main table
    delta: float | None  # of the first metric to the baseline, in its own unit
    extra_right: int | None  # documents more (or less) than the baseline got right (paper K, section 5)
    low: float | None  # 95 % confidence interval of the first metric
    high: float | None
    n: int
    every: list[Cell]  # of all metrics


class ResultTable(NamedTuple):
    """All models on one split, the best first."""

    split: str
    metrics: list[Measure]  # of the main table, the headline first
    rows: list[Row]
    n: int
    unknown_label: int
    seeds: int  # that were averaged
    every: list[Measure]  # metrics of the full table


Means = dict[tuple[str, str], dict[str, Any]]  # (model, metric) -> SUMMARY row


def ranking(results: pa.Table, measures: Measures) -> list[str]:
    """Return the models by the headline metric on valid, the best first; on test only when there is no valid split.

    Folds and conditions do not count. Ties go to the name that sorts first; empty without scores.
    """
    means = _means(results)
    for split in ("valid", "test", "train"):
        own = means.get(split, {}).items()
        scored = [(model, row["mean"]) for (model, name), row in own if name == measures.headline.metric]
        if scored:
            return [model for model, _ in sorted(scored, key=lambda one: (measures.headline.order(one[1]), one[0]))]
    return []


def result_tables(results: pa.Table, measures: Measures, *, baseline: str) -> list[ResultTable]:
    """Return one table per split that was evaluated, test first; rows of folds and conditions are left out."""
    means = _means(results)
    splits = (*SPLITS, *sorted(means.keys() - {*SPLITS}))
    tables = (_result_table(means.get(split, {}), split, measures, baseline) for split in splits)
    return [table for table in tables if table.metrics]


def _result_table(means: Means, split: str, measures: Measures, baseline: str) -> ResultTable:
    models, names = sorted({model for model, _ in means}), {name for _, name in means}
    shown, every = measures.shown(names), measures.every(names)
    first, right = shown[0] if shown else measures.headline, RIGHT[measures.task]

    def mean(model: str, name: str) -> float | None:
        return means[model, name]["mean"] if (model, name) in means else None

    best = {one.metric: _best(one, [mean(model, one.metric) for model in models]) for one in (*shown, *every)}
    rows = []
    for model in models:
        cells = {one: _cell(one, means.get((model, one.metric)), best[one.metric]) for one in (*shown, *every)}
        delta = extra = None
        if model != baseline:
            delta = _less(mean(model, first.metric), mean(baseline, first.metric))
            more = _less(mean(model, right), mean(baseline, right))
            extra = None if more is None else round(more * means[model, right]["n"])
        low, high = (mean(model, f"{first.metric}_{bound}") for bound in ("low", "high"))
        n = means[model, first.metric]["n"] if (model, first.metric) in means else 0
        main, full = ([cells[one] for one in chosen] for chosen in (shown, every))
        rows.append(Row(model, main, delta, extra, low, high, n, full))
    rows.sort(key=lambda row: (first.order(row.cells[0].value if row.cells else None), row.model))
    unknown = max((int(row["mean"]) for (_, name), row in means.items() if name == "unknown_label"), default=0)
    seeds = max((row["values"] for row in means.values()), default=0)
    return ResultTable(split, shown, rows, max((row.n for row in rows), default=0), unknown, seeds, every)


def _means(results: pa.Table) -> dict[str, Means]:
    """Return what ordinary evaluations come to over their seeds, by split."""
    means: dict[str, Means] = {}
    for row in summary(plain(results)).to_pylist():
        means.setdefault(row["split"], {})[row["model"], row["metric"]] = row
    return means


def _best(measure: Measure, means: Iterable[float | None]) -> str:
    """Return the best value as it is printed, so that what looks equal is equally bold."""
    values = [value for value in means if value is not None]
    return measure.text(min(values, key=measure.order)) if values else ""


def _cell(measure: Measure, row: dict[str, Any] | None, best: str) -> Cell:
    if row is None:
        return Cell(None, "")
    text = measure.text(row["mean"])
    return Cell(row["mean"], spread_text(measure, row), text == best)


def spread_text(measure: Measure, row: dict[str, Any]) -> str:
    """Print the mean and, of several values, the standard deviation of a SUMMARY row."""
    text = measure.text(row["mean"])
    return text if row["std"] is None else f"{text} ± {measure.text(row['std'])}"


def _less(a: float | None, b: float | None) -> float | None:
    return None if a is None or b is None else a - b
