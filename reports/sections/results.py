"""The result table: models x metrics, the best in bold, the difference to a baseline."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa

SPLITS = ("test", "valid", "train")
SINGLE = ("accuracy", "top_5", "f1_macro", "log_loss")
MULTI = ("f1_micro", "f1_macro", "f1_samples", "p_at_1", "top_5", "log_loss")
LOWER_IS_BETTER = {"log_loss"}
# Fractions are shown in per cent, everything else as it is.
FRACTIONS = {"accuracy", "top_5", "p_at_1", "f1_micro", "f1_macro", "f1_weighted", "f1_samples"}
NAMES = {
    "accuracy": "accuracy",
    "top_5": "top 5",
    "p_at_1": "P@1",
    "f1_micro": "F1 micro",
    "f1_macro": "F1 macro",
    "f1_weighted": "F1 weighted",
    "f1_samples": "F1 samples",
    "log_loss": "log loss",
}


class Cell(NamedTuple):
    """One number of the table; `text` is ready to print."""

    value: float | None
    text: str
    best: bool = False


class Row(NamedTuple):
    """One model on one split."""

    model: str
    cells: list[Cell]
    delta: float | None  # of the first metric to the baseline, in its own unit
    extra_right: int | None  # documents more (or less) than the baseline got right (paper K, section 5)
    low: float | None  # 95 % confidence interval of the first metric
    high: float | None
    n: int


class ResultTable(NamedTuple):
    """All models on one split, the best first."""

    split: str
    metrics: list[str]
    rows: list[Row]
    n: int
    unknown_label: int
    repeats: int  # seeds and folds that were averaged


Values = dict[tuple[str, str, str], list[float]]


def headline(multi_label: bool) -> str:
    """Return the metric that ranks the models."""
    return (MULTI if multi_label else SINGLE)[0]


def best_model(metrics: pa.Table, *, multi_label: bool = False) -> str | None:
    """Return the model with the best headline metric on valid; on test only when there is no valid split.

    Ties go to the name that sorts first; None without metrics.
    """
    return next(iter(ranking(metrics, multi_label=multi_label)), None)


def ranking(metrics: pa.Table, *, multi_label: bool = False) -> list[str]:
    """Return the models in the order that `best_model` ranks them by, the best first."""
    values = _grouped(metrics)
    for split in ("valid", "test", "train"):
        ranked = sorted((-np.mean(v), m) for (m, s, k), v in values.items() if (s, k) == (split, headline(multi_label)))
        if ranked:
            return [str(model) for _, model in ranked]
    return []


def result_tables(metrics: pa.Table, *, baseline: str, multi_label: bool) -> list[ResultTable]:
    """Return one table per split that was evaluated, test first."""
    splits = set(metrics["split"].to_pylist())
    return [_result_table(metrics, split, baseline, multi_label) for split in SPLITS if split in splits]


def _result_table(metrics: pa.Table, split: str, baseline: str, multi_label: bool) -> ResultTable:
    rows = [row for row in metrics.to_pylist() if row["split"] == split]
    values = _grouped(pa.Table.from_pylist(rows, schema=metrics.schema))
    models = sorted({row["model"] for row in rows})
    wanted = [name for name in (MULTI if multi_label else SINGLE) if any(row["metric"] == name for row in rows)]
    table = {(model, name): values.get((model, split, name), []) for model in models for name in wanted}
    best = {
        name: _best(name, [np.mean(table[model, name]) for model in models if table[model, name]]) for name in wanted
    }
    # What a document counts as right by (paper K, section 5): its most probable label is one of its own.
    counted = "p_at_1" if multi_label else "accuracy"
    sizes = {name: {row["model"]: row["n"] for row in rows if row["metric"] == name} for name in (wanted[0], counted)}

    def mean(model: str, name: str) -> float | None:
        found = values.get((model, split, name))
        return float(np.mean(found)) if found else None

    made = []
    for model in models:
        cells = [_cell(name, table[model, name], best[name]) for name in wanted]
        own, other = mean(model, wanted[0]), mean(baseline, wanted[0])
        delta = None if own is None or other is None or model == baseline else own - other
        n, right, others = sizes[wanted[0]].get(model, 0), mean(model, counted), mean(baseline, counted)
        known = right is not None and others is not None and model != baseline
        extra = round((right - others) * sizes[counted][model]) if known else None  # type: ignore[operator]
        low, high = mean(model, f"{wanted[0]}_low"), mean(model, f"{wanted[0]}_high")
        made.append(Row(model, cells, delta, extra, low, high, n))
    made.sort(key=_first_value, reverse=True)
    unknown = max((int(row["value"]) for row in rows if row["metric"] == "unknown_label"), default=0)
    repeats = max((len(found) for found in table.values()), default=0)
    return ResultTable(split, wanted, made, max(sizes[wanted[0]].values(), default=0), unknown, repeats)


def _grouped(metrics: pa.Table) -> Values:
    """Return (model, split, metric) -> values over seeds and folds."""
    values: Values = {}
    for row in metrics.to_pylist():
        values.setdefault((row["model"], row["split"], row["metric"]), []).append(row["value"])
    return values


def _best(name: str, means: Sequence[np.floating]) -> str:
    """Return the best value as it is printed, so that what looks equal is equally bold."""
    if not means:
        return ""
    return number(name, float(min(means) if name in LOWER_IS_BETTER else max(means)))


def _cell(name: str, values: list[float], best: str) -> Cell:
    if not values:
        return Cell(None, "")
    value = float(np.mean(values))
    text = number(name, value)
    spread = f" ± {number(name, float(np.std(values, ddof=1)))}" if len(values) > 1 else ""
    return Cell(value, text + spread, text == best)


def _first_value(row: Row) -> float:
    value = row.cells[0].value
    return -1.0 if value is None else value


def number(name: str, value: float) -> str:
    """Print a metric: fractions in per cent with one decimal, others with three."""
    return f"{100 * value:.1f}" if name in FRACTIONS else f"{value:.3f}"
