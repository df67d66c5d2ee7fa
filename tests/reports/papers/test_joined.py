"""Several sweeps as the paper's tables: which cells stand in which column, and that each table keeps to its sets."""

import re
from dataclasses import replace

import polars as pl
import pyarrow as pa
import pytest

from fuseline.flows.results.tables import measure_table
from fuseline.reports.papers.kiela_data import DATA, TIMES, PaperData, scores_schema
from fuseline.reports.papers.kiela_joined import CELLS, VERDICTS, cell_table, claim_rows, render_joined, verdict_table
from fuseline.reports.papers.kiela_tables import (
    columns_of,
    counts_table,
    published_column,
    score_table,
    study_column,
    time_table,
    whole_table,
)

EVIL = "<script>alert(1)</script>"


def study(title="clip", *, published=None, multi_label=False, models=None, **over):
    models = models or {"text": ("text", 0.50), "pq": ("pq", 0.62)}
    rows = [
        {"model": name, "kind": kind, "valid": value, "seeds": 5, "n": 200, "accuracy": value, "accuracy_std": 0.01,
         "p_at_1": value + 0.1, "p_at_1_std": 0.02, "f1_micro": 0.3, "f1_micro_std": 0.01, "extra_correct": 24}
        for name, (kind, value) in models.items()
    ]  # fmt: skip
    times = [{"model": name, "seconds": 2.0 + 2 * i, "fastest": 1, "slowest": 9} for i, name in enumerate(models)]
    data = [{"split": "train", "documents": 3000, "words": 70000}]
    values = {
        "title": title, "created": "2026-01-01", "metric": "accuracy", "multi_label": multi_label, "complete": True,
        "published": published, "line": "done", "measures": measure_table(),
        "scores": pa.Table.from_pylist(rows, schema=scores_schema("accuracy")),
        "times": pa.Table.from_pylist(times, schema=TIMES), "data": pa.Table.from_pylist(data, schema=DATA),
    }  # fmt: skip
    return PaperData(**{**values, **over})


def printed(table):
    """Return (row, our model) -> the texts of its cells."""
    return {(row.label, row.model): [cell.text for cell in row.cells] for _, rows in table.groups for row in rows}


def test_data_sets_are_columns_and_a_sweep_of_a_published_one_stands_beside_it():
    studies = [study("clip"), study("mine", published="mmimdb", multi_label=True)]
    table = score_table(columns_of(studies))
    assert table.heads == [("UPMC Food-101", 1), ("MM-IMDB", 2), ("FlickrTag-1", 1), ("clip", 1)]
    assert table.columns == ["published", "published", "here: mine", "published", "here"]
    rows = printed(table)
    assert rows["FastText", "text"] == ["88.0 ± 0.1", "58.8 ± 0.1", "60.0 ± 2.0 (30.0)", "23.0 ± 0.0", "50.0 ± 1.0"]
    assert rows["(Wang et al. 2015)", "avg_tfidf"] == ["85.1", "", "", "", ""]
    assert [title for title, _ in table.groups] == ["Previous work", "Baselines", "Continuous", "Discretized"]


def test_several_models_of_a_kind_have_a_row_each_and_the_published_cell_stands_once():
    models = {"additive_unit": ("additive", 0.3), "additive": ("additive", 0.4), "trees": ("lightgbm", 0.6)}
    table = score_table(columns_of([study(models=models)]))
    rows = printed(table)
    assert rows["Additive", "additive"] == ["90.4 ± 0.1", "61.0 ± 0.0", "26.8 ± 0.0", "40.0 ± 1.0"]
    assert rows["Additive", "additive_unit"] == ["", "", "", "30.0 ± 1.0"]
    assert table.groups[-1][0] == "Not in the paper"
    assert rows["trees", ""] == ["", "", "", "60.0 ± 1.0"]
    assert study_column(study(models=models)).chosen["additive"] == "additive"  # the better on valid


def test_minutes_stand_beside_the_one_set_that_they_are_of():
    studies = [study("food", published="food101"), study("shard", published="flickrtag1")]
    table = time_table([column for column in columns_of(studies) if column.times])
    assert table.heads == [("UPMC Food-101", 2), ("FlickrTag-1", 4)]
    assert table.columns == ["s", "× text", "published, min", "× text", "s", "× text"]
    assert printed(table)["PQ (n=4, k=256)", "pq"] == ["4", "2.0", "1", "1.0", "4", "2.0"]
    assert printed(table)["Bilinear-gated", "bilinear_gated"] == ["", "", "66", "66.0", "", ""]


def test_the_whole_of_flickrtag_is_table_4_and_in_no_other():
    whole = study("whole", published="flickrtag")
    table = whole_table([published_column("flickrtag"), study_column(whole)])
    assert table.heads == [("FlickrTag", 4)]
    assert printed(table)["PQ (n=4, k=256)", "pq"] == ["38.9", "", "62.0 ± 1.0", "+24"]
    page = render_joined([study("clip"), whole])
    assert re.findall(r'<section id="([^"]+)"', page) == ["claims", "table1", "table2", "table3", "table4", "table5"]
    assert "whole" not in page.split('id="table2"')[1].split("</section>")[0]
    assert 'id="table4"' not in render_joined([study("clip")])


def test_counts_stand_below_the_published():
    table = counts_table([study("clip")])
    assert printed(table)["FlickrTag-1", ""][:2] == ["7,166,110", "92,651,036"]
    assert printed(table)["clip", ""] == ["3,000", "70,000", "", "", "", ""]


def test_the_words_of_the_published_tokens_are_there():
    page = render_joined([study()])
    assert "_q-_0_253" in page
    assert "doughnuts" in page
    assert "0.981" in page


def test_claims_are_decided_for_the_paper_and_for_every_sweep():
    table = verdict_table([study("a"), study("b")])
    assert table.schema.equals(VERDICTS)
    rows = pl.DataFrame(table)
    assert len(rows) == 7 * 5
    assert rows.filter((pl.col("source") == "b") & (pl.col("claim") == 5))["decided_by"].to_list() == [
        "pq − text +12.0"
    ]
    held = [row.held(ours=False) for row in claim_rows([study()])]
    assert held == ["3 of 3", "3 of 3", "3 of 3", "2 of 3", "3 of 3", "not measured", "1 of 1"]
    assert claim_rows([study()])[1].held(ours=True) == "not measured"


def test_every_cell_is_a_row():
    table = cell_table([study("clip"), study("mine", published="food101")])
    assert table.schema.equals(CELLS)
    rows = pl.DataFrame(table)
    own = rows.filter((pl.col("source") == "mine") & (pl.col("model") == "pq"))
    assert own.select("table", "metric", "value").rows() == [
        ("2", "score", pytest.approx(62.0)), ("2", "extra_correct", 24.0), ("3", "seconds", 4.0), ("3", "ratio", 2.0),
    ]  # fmt: skip
    assert set(own["dataset"]) == {"UPMC Food-101"}


def test_nothing_of_a_name_is_markup():
    page = render_joined([replace(study(), title=EVIL)])
    assert "<script" not in page
    assert "&lt;script&gt;" in page
