"""The leaderboard of a run: its models with their scores and costs, the best first."""

from collections.abc import Callable
from typing import NamedTuple

import orjson
import pyarrow as pa
from rich.filesize import decimal

from fuseline.flows.results.tables import measure_table
from fuseline.reports.measures import Measure, Measures
from fuseline.reports.standings import Row, ranking, result_tables, spread_text
from fuseline.stores.layouts.files import check_files
from fuseline.stores.layouts.parquet import get_table
from fuseline.stores.published import Published
from fuseline.stores.results import conform, summary
from fuseline.stores.root import Root
from fuseline.stores.schemas import RESULTS

SPLITS = ("valid", "test")


class Standing(NamedTuple):
    """One model of the leaderboard; what was not measured is None."""

    model: str
    metric: Measure  # what the scores are
    valid: float | None
    test: float | None
    low: float | None  # 95 % interval of `test`
    high: float | None
    n_valid: int  # documents
    n_test: int
    seconds: float | None  # of the fit, compilation aside
    bytes: int | None  # of the model in memory
    folds: int = 0  # of the cross-validation; 0 = there was none
    fold_mean: float | None = None
    fold_std: float | None = None  # n - 1 below


def leaderboard(results: pa.Table, models: pa.Table, *, multi_label: bool, metric: str | None = None) -> list[Standing]:
    """Return the models by their score on valid (on test without a valid split); those without any score come last.

    Args:
        results: RESULTS rows; scores of several seeds are averaged, folds by themselves.
        models: MODELS rows.
        multi_label: whether a document may carry several labels, which decides the metric.
        metric: the metric, if another than that of the task shall rank them.
    """
    measures = Measures(measure_table(), multi_label=multi_label, headline=metric)
    costs = {row["model"]: row for row in models.to_pylist()}
    tables = {table.split: table for table in result_tables(results, measures, baseline="")}
    scores = {split: {row.model: row for row in table.rows} for split, table in tables.items()}
    ranked = ranking(results, measures)
    folds = len(set(results["fold"].drop_null().to_pylist()))
    folded = {
        row["model"]: row
        for row in summary(results).to_pylist()
        if (row["over"], row["split"], row["metric"]) == ("folds", "test", measures.headline.metric)
    }
    standings = []
    for name in [*ranked, *sorted({*costs} - {*ranked})]:
        valid, test = (scores.get(split, {}).get(name) for split in SPLITS)
        cost, fold = costs.get(name, {}), folded.get(name, {})
        standings.append(
            Standing(
                model=name,
                metric=measures.headline,
                valid=_of(valid, lambda row: row.cells[0].value),
                test=_of(test, lambda row: row.cells[0].value),
                low=_of(test, lambda row: row.low),
                high=_of(test, lambda row: row.high),
                n_valid=valid.n if valid else 0,
                n_test=test.n if test else 0,
                seconds=cost.get("seconds"),
                bytes=cost.get("bytes"),
                folds=folds,
                fold_mean=fold.get("mean"),
                fold_std=fold.get("std"),
            )
        )
    return standings


def published_leaderboard(root: Root) -> list[Standing]:
    """Return the leaderboard of what was published; empty when nothing was. Raises DamagedError for damaged tables."""
    files = _published(root, "state.json", "metrics.parquet", "models.parquet")
    if not files:
        return []
    state = orjson.loads(root.get(files[0]))
    metrics, models = (get_table(root, name) for name in files[1:])
    return leaderboard(conform(metrics, RESULTS), models, multi_label=state["multi_label"], metric=state.get("metric"))


def published_cautions(root: Root) -> list[str]:
    """Return what must be known of the data that were published. Raises DamagedError for a damaged file."""
    return [line for state in _published(root, "state.json") for line in orjson.loads(root.get(state))["cautions"]]


def _published(root: Root, *names: str) -> list[str]:
    """Return the names of files of latest/, checked; none when one is not there."""
    listed = Published.load(root).files
    files = {f"latest/{name}": listed[f"latest/{name}"] for name in names if f"latest/{name}" in listed}
    if len(files) < len(names):
        return []
    check_files(root, files)
    return list(files)


def title(standings: list[Standing]) -> str:
    """Return what the scores are, and of how many documents: "accuracy, %, on 12 valid, 21 test documents"."""
    sizes = ", ".join(f"{max(getattr(one, f'n_{split}') for one in standings):,} {split}" for split in SPLITS)
    metric = standings[0].metric
    return f"{metric.title}{', %' if metric.unit == 'share' else ''}, on {sizes} documents"


def cells(standing: Standing) -> dict[str, str]:
    """Return a model's cells by column, as they are printed; shares in per cent, empty where nothing was measured."""
    metric, low, high = standing.metric, standing.low, standing.high
    scores = {split: score for split in SPLITS if (score := getattr(standing, split)) is not None}
    fold = {"mean": standing.fold_mean, "std": standing.fold_std}
    folds = {f"{standing.folds} folds": spread_text(metric, fold) if standing.fold_mean is not None else ""}
    return {
        "model": standing.model,
        **{split: metric.text(scores[split]) if split in scores else "" for split in SPLITS},
        "95 % interval": "" if low is None or high is None else f"{metric.text(low)} to {metric.text(high)}",
        **(folds if standing.folds else {}),
        "fit": "" if standing.seconds is None else f"{standing.seconds:,.1f} s",
        "size": "" if standing.bytes is None else decimal(standing.bytes),
    }


def _of(row: Row | None, value: Callable[[Row], float | None]) -> float | None:
    return None if row is None else value(row)
