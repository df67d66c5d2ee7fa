"""The result table: means, the best in bold, differences to the baseline."""

import pyarrow as pa
import pytest

from fuseline.flows.results.tables import measure_table
from fuseline.reports import standings
from fuseline.reports.measures import Measures
from fuseline.stores.schemas import RESULTS


def result_tables(table: pa.Table, *, baseline: str, multi_label: bool) -> list[standings.ResultTable]:
    return standings.result_tables(table, Measures(measure_table(), multi_label=multi_label), baseline=baseline)


def best_model(table: pa.Table, *, multi_label: bool = False) -> str | None:
    return next(iter(standings.ranking(table, Measures(measure_table(), multi_label=multi_label))), None)


def metrics(*rows) -> pa.Table:
    """Return RESULTS rows of (model, split, metric, value[, seed])."""
    names = ("model", "split", "metric", "value", "seed")
    full = [(*row, 0) if len(row) == 4 else row for row in rows]
    return pa.Table.from_pylist([{**dict(zip(names, row, strict=True)), "n": 200} for row in full], schema=RESULTS)


TABLE = metrics(
    ("text", "valid", "accuracy", 0.50),
    ("text", "test", "accuracy", 0.52),
    ("text", "test", "log_loss", 2.0),
    ("pq", "valid", "accuracy", 0.61),
    ("pq", "test", "accuracy", 0.60),
    ("pq", "test", "accuracy_low", 0.55),
    ("pq", "test", "accuracy_high", 0.66),
    ("pq", "test", "log_loss", 1.5),
    ("pq", "test", "unknown_label", 3),
    ("additive", "valid", "accuracy", 0.60),
    ("additive", "test", "accuracy", 0.64),
    ("additive", "test", "log_loss", 1.4996),
)


def test_rows_are_sorted_and_compared_with_the_baseline():
    test, valid = result_tables(TABLE, baseline="text", multi_label=False)
    assert (test.split, valid.split, test.n, test.unknown_label, test.seeds) == ("test", "valid", 200, 3, 1)
    assert [row.model for row in test.rows] == ["additive", "pq", "text"]
    additive, pq, text = test.rows
    assert additive.delta == pytest.approx(0.12)
    assert (additive.extra_right, pq.extra_right, text.extra_right) == (24, 16, None)
    assert text.delta is None
    assert (pq.low, pq.high, text.low) == (0.55, 0.66, None)


def test_the_best_of_each_column_is_bold_and_ties_as_printed_are_both():
    test = result_tables(TABLE, baseline="text", multi_label=False)[0]
    bold = {
        (row.model, one.metric)
        for row in test.rows
        for one, cell in zip(test.metrics, row.cells, strict=True)
        if cell.best
    }
    assert [one.metric for one in test.metrics] == ["accuracy", "log_loss"]
    assert bold == {("additive", "accuracy"), ("additive", "log_loss"), ("pq", "log_loss")}
    assert test.rows[0].cells[0].text == "64.0"
    assert test.rows[0].cells[1].text == "1.500"


def test_the_best_model_is_chosen_on_valid_and_on_test_only_without_valid():
    assert best_model(TABLE) == "pq"
    assert best_model(metrics(("a", "test", "accuracy", 0.1), ("b", "test", "accuracy", 0.2))) == "b"
    assert best_model(metrics(("b", "valid", "accuracy", 0.2), ("a", "valid", "accuracy", 0.2))) == "a"
    assert best_model(RESULTS.empty_table()) is None


def test_several_seeds_become_mean_and_standard_deviation():
    table = metrics(("a", "test", "accuracy", 0.5, 0), ("a", "test", "accuracy", 0.6, 1))
    result = result_tables(table, baseline="text", multi_label=False)[0]
    assert result.rows[0].cells[0].text == "55.0 ± 7.1"
    assert result.seeds == 2


def test_multi_label_results_are_ranked_by_micro_f1():
    table = metrics(("a", "test", "f1_micro", 0.5), ("b", "test", "f1_micro", 0.6), ("a", "test", "accuracy", 0.9))
    result = result_tables(table, baseline="a", multi_label=True)[0]
    assert [row.model for row in result.rows] == ["b", "a"]
    assert [one.metric for one in result.metrics] == ["f1_micro"]
    assert result.rows[0].extra_right is None
    assert best_model(table, multi_label=True) == "b"


def test_a_model_without_the_headline_metric_comes_last():
    table = metrics(("a", "test", "top_5", 0.5), ("b", "test", "accuracy", 0.6))
    result = result_tables(table, baseline="text", multi_label=False)[0]
    assert [row.model for row in result.rows] == ["b", "a"]
    assert result.rows[1].cells[0].text == ""


def test_extra_right_documents_are_the_difference_times_their_number():
    """Paper K, section 5: 2.7 points more of 621,444 documents are 16,778 more right ones than text alone."""
    table = metrics(("text", "test", "accuracy", 0.367), ("rspq", "test", "accuracy", 0.394))
    table = table.set_column(table.column_names.index("n"), "n", pa.array([621_444, 621_444]))
    rspq, text = result_tables(table, baseline="text", multi_label=False)[0].rows
    assert rspq.extra_right == 16_779  # 0.027 x 621,444 = 16,778.99; the paper cuts it
    assert text.extra_right is None


def test_extra_right_counts_are_whole_documents_of_both_models():
    table = metrics(("text", "test", "accuracy", 184 / 311), ("pq", "test", "accuracy", 235 / 311))
    table = table.set_column(table.column_names.index("n"), "n", pa.array([311, 311]))
    assert result_tables(table, baseline="text", multi_label=False)[0].rows[0].extra_right == 235 - 184
    assert result_tables(table, baseline="pq", multi_label=False)[0].rows[1].extra_right == 184 - 235


def test_with_several_labels_a_document_is_right_when_its_most_probable_label_is():
    rows = [
        (model, "test", metric, value)
        for model, right, f1 in (("text", 0.4, 0.9), ("pq", 0.45, 0.8))
        for metric, value in (("p_at_1", right), ("f1_micro", f1))
    ]
    found = result_tables(metrics(*rows), baseline="text", multi_label=True)[0].rows
    assert [(row.model, row.extra_right) for row in found] == [("text", None), ("pq", 10)]
    assert found[1].delta == pytest.approx(-0.1)  # of the headline metric, F1
