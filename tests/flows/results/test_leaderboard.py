"""What a run ends with: its models, the best first."""

import io
from pathlib import Path

import pyarrow as pa
import pytest
from rich.console import Console

from fuseline.flows.cli.console import leaderboard_table
from fuseline.flows.results.leaderboard import Standing, leaderboard, published_leaderboard
from fuseline.stores.places import open_root
from fuseline.stores.schemas import MODELS, RESULTS
from tests.flows.conftest import Cli

MADE = pa.Table.from_pylist(
    [
        {"model": "pq", "seconds": 12.34, "bytes": 1_500_000},
        {"model": "text", "seconds": 3.0, "bytes": 900},
        {"model": "unscored", "seconds": 1.0},
    ],
    schema=MODELS,
)


def metrics(metric: str, *rows: tuple[str, str, float], n: int = 311) -> pa.Table:
    """Return RESULTS rows of (model, split, value), each with an interval of 0.05 to both sides."""
    bounds = {metric: 0.0, f"{metric}_low": -0.05, f"{metric}_high": 0.05}
    found = [
        {"model": model, "split": split, "seed": 0, "metric": name, "value": value + offset, "n": n}
        for model, split, value in rows
        for name, offset in bounds.items()
    ]
    return pa.Table.from_pylist(found, schema=RESULTS)


def printed(rows: list[Standing]) -> list[str]:
    """Return the lines of the table, white space squeezed."""
    out = io.StringIO()
    Console(file=out, width=120).print(leaderboard_table(rows))
    return [" ".join(line.split()) for line in out.getvalue().splitlines()]


def test_the_best_on_valid_comes_first_and_a_model_without_scores_last() -> None:
    scored = [("text", "valid", 0.5), ("text", "test", 0.9), ("pq", "valid", 0.7), ("pq", "test", 0.6)]
    first, second, last = leaderboard(metrics("accuracy", *scored), MADE, multi_label=False)
    assert (first.model, first.metric.metric, *first[2:4]) == ("pq", "accuracy", 0.7, 0.6)
    assert (first.low, first.high) == pytest.approx((0.55, 0.65))
    assert first[6:10] == (311, 311, 12.34, 1_500_000)
    assert (second.model, last.model) == ("text", "unscored")
    assert last[2:8] == (None, None, None, None, 0, 0)
    assert printed([first, second, last]) == [
        "accuracy, %, on 311 valid, 311 test documents",
        "model valid test 95 % interval fit size",
        "pq 70.0 60.0 55.0 to 65.0 12.3 s 1.5 MB",
        "text 50.0 90.0 85.0 to 95.0 3.0 s 900 bytes",
        "unscored 1.0 s",
    ]


def test_test_decides_where_there_is_no_valid_split() -> None:
    rows = leaderboard(metrics("accuracy", ("pq", "test", 0.2), ("text", "test", 0.4)), MADE, multi_label=False)
    assert [row.model for row in rows] == ["text", "pq", "unscored"]
    assert rows[0].valid is None
    assert rows[0].n_valid == 0


def test_multi_label_models_are_ranked_by_their_micro_f1() -> None:
    table = pa.concat_tables([metrics("accuracy", ("pq", "valid", 0.9)), metrics("f1_micro", ("pq", "valid", 0.5))])
    (row, *_) = leaderboard(table, MADE, multi_label=True)
    assert (row.model, row.metric.metric, row.valid) == ("pq", "f1_micro", 0.5)


def test_another_metric_ranks_where_it_is_asked_for() -> None:
    """The lower log loss comes first, and is printed as what it is."""
    table = metrics("log_loss", ("pq", "valid", 1.5), ("text", "valid", 0.75), ("text", "test", 1.0))
    rows = leaderboard(table, MADE, multi_label=False, metric="log_loss")
    assert [row.model for row in rows] == ["text", "pq", "unscored"]
    assert printed(rows)[0] == "log loss, on 311 valid, 311 test documents"
    assert printed(rows)[2] == "text 0.750 1.000 0.950 to 1.050 3.0 s 900 bytes"


def test_folds_are_a_column_of_their_own_and_rank_nothing() -> None:
    scored = metrics("accuracy", ("text", "valid", 0.5), ("pq", "valid", 0.4), ("text", "test", 0.6))
    fold = {"model": "pq", "split": "test", "metric": "accuracy", "seed": 0, "n": 20}
    folds = [{**fold, "fold": k, "value": value} for k, value in enumerate((0.9, 0.8))]
    rows = leaderboard(pa.concat_tables([scored, pa.Table.from_pylist(folds, schema=RESULTS)]), MADE, multi_label=False)
    assert [row.model for row in rows] == ["text", "pq", "unscored"]
    assert printed(rows)[1:4] == [
        "model valid test 95 % interval 2 folds fit size",
        "text 50.0 60.0 55.0 to 65.0 3.0 s 900 bytes",
        "pq 40.0 85.0 ± 7.1 12.3 s 1.5 MB",
    ]


def test_nothing_published_gives_no_leaderboard(tmp_path: Path) -> None:
    assert published_leaderboard(open_root(tmp_path)) == []


def test_a_run_ends_with_its_leaderboard_also_when_nothing_was_to_do(cli: Cli, finished: Path) -> None:
    rows = published_leaderboard(open_root(finished.parent / "out"))
    assert {row.model for row in rows} == {"additive", "pq", "text"}
    assert [row.valid for row in rows] == sorted((row.valid for row in rows), reverse=True)
    assert all(row.low <= row.test <= row.high and row.seconds and row.bytes for row in rows)
    lines = [" ".join(line.split()) for line in cli("run", finished).output.splitlines()]
    assert "nothing to do: every shard is fresh" in lines
    start = lines.index(printed(rows)[0])
    assert lines[start : start + 5] == printed(rows)
    assert lines[-3].startswith("report ")
