"""The page of a sweep: what is shown beside what, what is left out, and that nothing runs."""

import re

import pyarrow as pa
import pytest

from fuseline.flows.results.tables import measure_table
from fuseline.reports.measures import Measure
from fuseline.reports.papers.kiela import (
    GridRow,
    frontier_points,
    grid_rows,
    headline,
    number,
    options,
    points,
    published,
    render_paper,
)
from fuseline.reports.papers.kiela_data import (
    DATA,
    HIDDEN,
    PAIRED,
    SCORES,
    SIZES,
    TIMES,
    GateScore,
    PaperData,
    scores_schema,
)
from fuseline.stores.report_schemas import MEASURES
from fuseline.stores.schemas import RESULTS, TOKENS, TRIALS

EVIL = "<script>alert(1)</script>"


def scores(metric="accuracy", **over):
    text = {
        "model": "text", "kind": "text", "options": '{"lr":0.5}', "valid": 0.48, "seeds": 5, "n": 200,
        "accuracy": 0.5, "accuracy_std": 0.01, "p_at_1": 0.5, "f1_micro": 0.5, "f1_macro": 0.4, "f1_weighted": 0.45,
        "f1_samples": 0.5, "published_as": "FastText", "published": 0.88, "published_std": 0.001, "gap": -0.38,
    }  # fmt: skip
    pq = {
        **text,
        "model": "pq",
        "kind": "pq",
        "valid": 0.6,
        "accuracy": 0.62,
        "p_at_1": 0.62,
        "extra_correct": 24,
        **over,
    }
    return pa.Table.from_pylist([text, pq], schema=scores_schema(metric))


def paper(**over):
    values = {
        "title": "clip", "created": "2026-01-01", "metric": "accuracy", "multi_label": False, "published": "food101",
        "complete": True, "line": "done", "scores": scores(), "measures": measure_table(),
    }  # fmt: skip
    return PaperData(**{**values, **over})


def cells(page):
    """Return the text of the cells of every row."""
    rows = re.findall(r"<tr[^>]*>(.*?)</tr>", page, re.DOTALL)
    return [
        [re.sub(r"<[^>]+>", "", cell).strip() for cell in re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", row)] for row in rows
    ]


def test_ours_stand_beside_the_published():
    rows = cells(render_paper(paper()))
    assert rows[0] == [
        "Model",
        "accuracy",
        "F1 macro",
        "F1 weighted",
        "Published",
        "Gap",
        "More right",
        "Seeds",
        "Chosen options",
    ]
    assert rows[1] == ["pq", "62.0 ± 1.0", "40.0", "45.0", "88.0 ± 0.1", "-38.0", "+24", "5", "lr=0.5"]
    assert rows[2][:2] == ["text", "50.0 ± 1.0"]


def test_several_labels_are_told_by_every_measure():
    table = scores(gap_f1_micro=0.02)
    page = render_paper(paper(multi_label=True, metric="f1_micro", published="mmimdb", scores=table))
    assert cells(page)[0][1:10] == ["accuracy", "P@1", "F1 micro", "F1 macro", "F1 weighted", "F1 samples", "Published",
                                    "Gap of P@1", "Gap of F1"]  # fmt: skip
    assert "may be P@1 or micro-F1" in page


@pytest.mark.parametrize(
    ("published", "said"),
    [
        ("food101", "which this is not: it is left out"),
        ("flickrtag1", "see conf/kiela_flickrtag.yaml"),
        (None, "publish nothing for this data set"),
    ],
)
def test_table_4_is_about_the_whole_of_flickrtag(published, said):
    assert said in render_paper(paper(published=published))


def test_the_whole_of_flickrtag_is_table_4():
    page = render_paper(paper(published="flickrtag"))
    assert "Table 4 of Kiela et al. 2018 for FlickrTag" in page
    assert "left out" not in page


def test_the_model_chosen_on_valid_is_highlighted_even_when_another_is_better_on_test():
    page = render_paper(paper(scores=scores(valid=0.1)))
    assert re.search(r"<tr class=chosen><td>text</td>", page)
    assert "<b>62.0 ± 1.0</b>" in page


def test_nothing_of_a_document_or_a_name_is_markup():
    words = tokens({"model": EVIL, "token": "t", "clarity": 0.5, "words": word(EVIL, 0.8)})
    paired = pa.Table.from_pylist(
        [{"metric": "accuracy", "model": a, "other": b, "difference": 0.1, "low": 0.05, "high": 0.2, "p": 0.01, "n": 9}
         for a, b in ((EVIL, "text"), ("text", EVIL))],
        schema=PAIRED,
    )  # fmt: skip
    page = render_paper(paper(title=EVIL, scores=scores(model=EVIL), tokens=words, paired=paired, line=EVIL))
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert "default-src &#39;none&#39;" in page or "default-src 'none'" in page


def test_sections_without_data_are_left_out():
    page = render_paper(paper(scores=SCORES.empty_table()))
    assert re.findall(r'<section id="([^"]+)"', page) == []
    times = pa.Table.from_pylist([{"model": "text", "seconds": 1.0, "fastest": 0.9, "slowest": 1.2, "fits": 3,
                                   "processor_seconds": 1.0}], schema=TIMES)  # fmt: skip
    sizes = pa.Table.from_pylist([{"model": "text", "text_bytes": 30.0, "image_bytes": 0.0, "document_bytes": 30.0}],
                                 schema=SIZES)  # fmt: skip
    hidden = pa.Table.from_pylist([{"model": "text", "metric": "accuracy", "test": 0.5}], schema=HIDDEN)
    data = pa.Table.from_pylist([{"split": "train", "documents": 3, "words": 1234567}], schema=DATA)
    page = render_paper(paper(times=times, sizes=sizes, hidden=hidden, data=data))
    assert re.findall(r'<section id="([^"]+)"', page) == ["scores", "frontier", "times", "sizes", "hidden", "data"]
    assert "1,234,567" in page


def test_points_of_the_figure_are_the_scores_and_costs():
    times = pa.Table.from_pylist([{"model": "pq", "seconds": 2.5}], schema=TIMES)
    sizes = pa.Table.from_pylist([{"model": "pq", "document_bytes": 34.0}], schema=SIZES)
    found = {p.model: p for p in frontier_points(paper(times=times, sizes=sizes))}
    assert found["pq"][2:] == (0.62, 0.01, 2.5, 34.0)
    assert found["text"][2:] == (0.5, 0.01, None, None)
    assert headline(paper(metric="top_5")).metric == "top_5"


def test_the_metric_of_the_choice_has_a_column_even_a_plugins():
    extra = {"metric": "own_score", "title": "own score", "unit": "points", "lower_is_better": True}
    measures = pa.concat_tables([measure_table(), pa.Table.from_pylist([extra], schema=MEASURES)])
    table = scores("own_score", valid=2.5, own_score=3.25, own_score_std=0.5)
    data = paper(metric="own_score", scores=table, measures=measures)
    rows = cells(render_paper(data))
    assert rows[0][4] == "own score"
    assert rows[1][4] == "3.250 ± 0.500"
    assert rows[2][4] == ""  # text has none, and comes last
    assert [point.score for point in frontier_points(data)] == [3.25]


def tokens(*rows):
    fixed = {"repeat": 0, "part": 0, "centroid": 1, "n_train": 9, "coherence": 0.9, "documents": [], "thumbnails": []}
    return pa.Table.from_pylist([{**fixed, **row} for row in rows], schema=TOKENS)


def word(text, cosine):
    return [{"word": text, "cosine": cosine}]


def test_the_clearest_tokens_of_every_model_are_shown_with_their_words():
    table = tokens(
        {"model": "pq", "token": "_q-_0_1", "clarity": 0.5, "words": word("donut", 0.987)},
        {"model": "pq", "token": "_q-_0_2", "clarity": 0.7, "words": word("cream", 0.9)},
        {"model": "rspq", "token": "_q-_1_0_3", "clarity": 0.6, "words": word("tea", 0.8)},
        {"model": "rspq", "token": "_q-_1_0_4", "clarity": 0.9, "n_train": 1, "words": word("rare", 1.0)},
    )
    page = render_paper(paper(tokens=table))
    assert re.findall(r'<section id="tokens[^>]*>\s*<h2>([^<]*)', page) == [
        "Words nearest to visual tokens: pq", "Words nearest to visual tokens: rspq",
    ]  # fmt: skip
    assert page.index("_q-_0_2") < page.index("_q-_0_1")
    assert "0.987" in page
    assert "rare" not in page  # one training document is no evidence


def trials(*ends, metric="accuracy"):
    """Return TRIALS and RESULTS of trials with a status, a learning rate and a score on valid."""
    rows, results = [], []
    for seed, (status, lr, value) in enumerate(ends):
        own = {"model": "m", "options": f'{{"lr":{lr}}}', "seed": seed}
        rows.append({**own, "phase": "search", "status": status})
        results += [{**own, "split": "valid", "metric": metric, "value": value}] if value is not None else []
        results += [{**own, "split": "test", "metric": metric, "value": 9.0}]
        results += [{**own, "split": "valid", "condition": "image masked", "metric": metric, "value": 9.0}]
    return pa.Table.from_pylist(rows, schema=TRIALS), pa.Table.from_pylist(results, schema=RESULTS)


def test_grids_are_counted():
    ends = trials(("ok", 0.1, 0.3), ("ok", 0.1, 0.5), ("diverged", 2.0, None), ("missing", 1.0, None))
    (row,) = grid_rows(*ends, Measure("accuracy", "accuracy", unit="share"))
    assert row == GridRow("m", trials=4, diverged=1, missing=1, by_rate={0.1: 0.5}, best=0.5)
    page = render_paper(paper(trials=ends[0], results=ends[1]))
    assert ["m", "4", "1", "1", "50.0", "50.0", "", ""] in cells(page)


def test_both_gates_are_shown():
    gates = (GateScore("m", "text", 0.5, '{"gate":"text"}', True), GateScore("m", "image", None, None, False))
    rows = cells(render_paper(paper(gates=gates)))
    assert ["m", "text", "50.0", "yes", "gate=text"] in rows
    assert ["m", "image", "", "", "-"] in rows


def test_where_lower_is_better_the_lowest_is_best():
    measure = Measure("log_loss", "log loss", unit="nats", lower_is_better=True)
    ends = trials(*(("ok", 0.1, value) for value in (0.75, 0.5, 0.9)), metric="log_loss")
    assert grid_rows(*ends, measure)[0].best == 0.5
    page = render_paper(paper(metric="log_loss", scores=scores("log_loss", valid=0.4)))
    assert re.search(r"<tr class=chosen><td>pq</td>", page)  # 0.4 nats on valid, against 0.48 of text


def test_numbers_are_printed_for_people():
    assert [number(value) for value in (None, 0.0, 5120.0, 12345678, 0.12345, 29.817)] == [
        "", "0", "5,120", "12,345,678", "0.123", "29.8",
    ]  # fmt: skip
    assert (points(None), points(0.0123), points(-0.5)) == ("", "+1.2", "-50.0")
    assert (published(None, None), published(0.5, None), published(0.5, 0.012)) == ("", "50.0", "50.0 ± 1.2")
    assert (options(None), options("{}"), options('{"lr":0.1,"gate":"text"}')) == ("-", "-", "lr=0.1 gate=text")
