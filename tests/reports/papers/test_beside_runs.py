"""Papers Z and M beside runs: which cells stand where, what claims come to, all on numbers worked by hand."""

import math
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest
import yaml

from fuseline.flows.results.tables import measure_table
from fuseline.reports.page_data import ReportData
from fuseline.reports.papers import miller, zahavy
from fuseline.reports.papers.cells import CELLS
from fuseline.reports.papers.paper import VERDICTS
from fuseline.reports.papers.published import published_rows
from fuseline.reports.papers.rows import MILLER, PETFINDER, ZAHAVY, models_of
from fuseline.reports.papers.rules import ABOVE, Claim, Difference, Facts, Region, averaged, mean_of, paired, unpaired
from fuseline.reports.papers.runs import DataSet
from fuseline.stores.tables import TABLES

CONF = Path(__file__).parents[3] / "conf" / "papers"
EVIL = "<script>alert(1)</script>"
PAIR = ["textcnn", "picture"]


def run(name="clip", *, seed=0, multi_label=False, **rows):
    """Return a run whose tables have these rows."""
    tables = {kind: pa.Table.from_pylist(own, schema=TABLES[kind].schema) for kind, own in rows.items()}
    tables["measures"] = measure_table()
    return ReportData(title=name, run=f"run{seed}", created="", tables=tables, multi_label=multi_label)


def scores(model, value, *, seed=0, metric="accuracy", condition=None, n=200):
    return {
        "model": model,
        "seed": seed,
        "split": "test",
        "condition": condition,
        "metric": metric,
        "value": value,
        "n": n,
    }


def decision(model, accuracy, *, choice=None, first=0.70, image=0.55, oracle=0.80, **more):
    row = {
        "model": model, "kind": "policy", "models": PAIR, "split": "test", "n": 200, "accuracy": accuracy,
        "first_accuracy": first, "others_accuracy": [image], "oracle_accuracy": oracle, "best": "textcnn",
        "best_accuracy": first, "better": 10, "worse": 4, "p": 0.18, "choice_accuracy": choice,
    }  # fmt: skip
    return row | more


def z(**rows):
    return DataSet("clip", (run(**rows),))


def printed(table):
    """Return (row, our model) -> the texts of its cells; stars are left out."""
    return {
        (row.label.rstrip("*"), row.model.rstrip("*")): [cell.text for cell in row.cells]
        for _, rows in table.groups
        for row in rows
    }


def verdicts(paper, data, title="clip"):
    rows = paper.verdicts(data)
    assert rows.schema.equals(VERDICTS)
    return {row["claim"]: row for row in rows.to_pylist() if row["dataset"] == title}


# The map of rows


@pytest.mark.parametrize(("file", "rows"), [("zahavy", ZAHAVY), ("miller", MILLER), ("petfinder", PETFINDER)])
def test_every_preset_is_in_the_map_and_every_entry_has_one_or_says_why_not(file, rows):
    presets = yaml.safe_load((CONF / f"{file}.yaml").read_text("utf-8"))["models"]
    assert set(presets) == set(models_of(rows))
    assert len(models_of(rows)) == sum(bool(one.model) for one in rows)
    assert all(one.note for one in rows if not one.model)
    assert all(one.row or one.label for one in rows)


def test_every_published_row_of_a_model_is_in_the_map():
    table_1 = {row["row"] for row in published_rows("Z", "1")}
    networks = {row["row"] for row in published_rows("Z", "text") if row["metric"] in ("hit@1", "accuracy")}
    assert {one.row for one in ZAHAVY} - {""} == table_1 | networks
    assert {one.row for one in MILLER} == {row["row"] for row in published_rows("M", "3")}
    assert miller.OPTIMIZERS.keys() == {row["row"] for row in published_rows("M", "2")}


def test_stand_ins_of_presets_are_named_by_the_run():
    one = z(
        models=[{"model": "vgg_frozen", "seed": 0, "stands_in_for": ["VGG16"]}], metrics=[scores("vgg_frozen", 0.5)]
    )
    rows = pl.DataFrame(zahavy.PAPER.cells([one])).filter(pl.col("model") == "vgg_frozen")
    assert rows.select("value", "published", "gap", "stands_in_for").rows() == [
        (50.0, 36.7, pytest.approx(13.3), ["VGG16"])
    ]
    _, table, _ = zahavy.PAPER.tables([one], zahavy.PAPER.values([one]))
    assert table.table.note == "* not as in the paper: another network for VGG16 (vgg_frozen)"
    names = [row.model for _, rows in table.table.groups for row in rows]
    assert "vgg_frozen*" in names
    assert "textcnn" in names


# Tables


def test_table_1_of_z_has_the_published_row_ours_and_the_gap():
    one = z(decisions=[decision("policy_cp3_2", 0.74, choice=0.82)])
    table, *_ = zahavy.PAPER.tables([one], zahavy.PAPER.values([one]))
    assert table.table.heads == [("Walmart, published", 8), ("clip", 7)]
    assert table.table.columns[8:15] == ["text", "image", "policy", "gap", "gain", "oracle", "choice right"]
    assert printed(table.table)["CP-3", "policy_cp3_2"] == [
        "2", "5", "70.2", "56.7", "71.8", "+1.6", "77.7", "84.2",
        "70.0", "55.0", "74.0", "+2.2", "+4.0", "80.0", "82.0",
    ]  # fmt: skip


def test_seeds_are_averaged():
    runs = (run(seed=s, metrics=[scores("textcnn", value, seed=s)], decisions=[decision("policy_cp3_2", value + 0.1)])
            for s, value in enumerate((0.5, 0.6)))  # fmt: skip
    one = DataSet("clip", tuple(runs))
    table_1, models, _ = zahavy.PAPER.tables([one], zahavy.PAPER.values([one]))
    std = 100 * math.sqrt(0.005)  # of 0.5 and 0.6
    assert printed(models.table)["best text CNN (sec. 4.2)", "textcnn"] == ["70.1", f"55.0 ± {std:.1f}", "-15.1"]
    assert printed(table_1.table)["CP-3", "policy_cp3_2"][10] == f"65.0 ± {std:.1f}"


def test_only_whole_test_scores_count_and_what_is_published_stands_once():
    plain, high = scores("textcnn", 0.5), scores("textcnn", 0.9)
    one = z(metrics=[plain, {**high, "split": "valid"}, {**high, "fold": 0}, scores("textcnn_softmax", 0.6)])
    _, models, _ = zahavy.PAPER.tables([one], zahavy.PAPER.values([one]))
    rows = printed(models.table)
    assert rows["best text CNN (sec. 4.2)", "textcnn"] == ["70.1", "50.0", "-20.1"]
    assert rows["best text CNN (sec. 4.2)", "textcnn_softmax"][:3] == ["", "60.0", "-10.1"]
    # Seeds are averaged, splits and folds are not.
    mean = one.score("textcnn")
    assert mean is not None
    assert mean.std is None


def test_quadrants_stand_beside_figure_3():
    rights = {("textcnn", "picture"): 90, ("textcnn",): 50, ("picture",): 20, (): 40}
    rows = [
        {"models": PAIR, "split": "test", "label": None, "right": list(names), "n": n} for names, n in rights.items()
    ]
    rows.append({"models": PAIR, "split": "test", "label": "a", "right": [], "n": 7})
    one = z(decisions=[decision("policy_cp3_2", 0.74)], quadrants=rows)
    *_, figure = zahavy.PAPER.tables([one], zahavy.PAPER.values([one]))
    assert printed(figure.table) == {
        ("both right", ""): ["47.9", "45.0"], ("title only", ""): ["21.9", "25.0"],
        ("image only", ""): ["7.8", "10.0"], ("both wrong", ""): ["22.4", "20.0"],
    }  # fmt: skip


def test_models_that_the_paper_has_not_come_last():
    one = z(metrics=[scores("mine", 0.9), scores("textcnn", 0.5)])
    _, models, _ = zahavy.PAPER.tables([one], zahavy.PAPER.values([one]))
    assert [title for title, _ in models.table.groups] == ["Single networks", "Not in the paper"]
    assert printed(models.table)["mine", ""] == ["", "90.0", ""]


def test_tables_2_and_3_of_m():
    row = {"model": "use-dnn", "seed": 0, "options": '{"optimizer":"adamax","batch":64}', "stands_in_for": ["USE v4"]}
    metrics = [scores("use-dnn", 0.40), scores("use-dnn", 0.65, metric="top_5")]
    one = DataSet("clip", (run(models=[row], metrics=metrics),))
    _, table_2, table_3, gains = miller.PAPER.tables([one], miller.PAPER.values([one]))
    assert printed(table_2.table)["USE-DNN", "use-dnn"] == ["AdaMax", "256", "adamax", "64"]
    assert printed(table_3.table)["USE-DNN", "use-dnn"] == [
        "50.3", "66.2", "40.0", "-10.3", "65.0", "-1.2"
    ]  # fmt: skip
    assert printed(gains.table)["ResNet50V2-USE", "resnet50v2-use"] == ["+17.05", ""]
    cells = pl.DataFrame(miller.PAPER.cells([one]))
    assert cells.schema == pl.DataFrame(CELLS.empty_table()).schema
    own = cells.filter((pl.col("source") == "here") & (pl.col("table") == "2"))
    assert own.select("value", "published", "gap").rows() == [(64.0, 256.0, -192.0)]


def test_what_stands_in_is_said_once_and_the_pages_name_sizes_and_the_choice_on_valid():
    fit = {"model": "use-dnn", "stands_in_for": ["USE v4"]}
    metrics = [scores("use-dnn", 0.40), {**scores("use-dnn", 0.5), "split": "valid"}]
    data = [DataSet(name, (run(name, models=[fit], metrics=metrics),)) for name in ("a", "b")]
    *_, table_3, _ = miller.PAPER.tables(data, miller.PAPER.values(data))
    assert table_3.table.note.count("another network for USE v4 (use-dnn)") == 1
    assert "Best on valid: use-dnn by accuracy (a), use-dnn by accuracy (b)." in table_3.lead
    assert "b (200 test documents, 1 run: run0)" in miller.PAPER.render(data)


def test_missing_texts_are_counted_by_source():
    rows = [
        {"split": split, "field": field, "measure": measure, "value": value, "source": "flickr"}
        for split, field, measure, value in (
            ("train", "documents", "documents", 60), ("test", "documents", "documents", 40),
            ("train", "title", "missing", 3), ("test", "title", "missing", 2), ("train", "description", "missing", 25),
        )
    ]  # fmt: skip
    one = DataSet("clip", (run(statistics=rows, metrics=[]),))
    table = printed(miller.PAPER.tables([one], [])[0].table)
    assert table["Flicker, Descriptions", ""] == ["2,647,007", "34.3"]
    assert (table["flickr, titles", ""], table["flickr, descriptions", ""]) == (["5", "5.0"], ["25", "25.0"])


# Claims


def test_what_the_printed_cells_of_z_say():
    found = verdicts(zahavy.PAPER, [], "Walmart")
    assert {number: row["verdict"] for number, row in found.items()} == {
        "1": "holds", "2": "holds", "3a": "holds", "3b": "holds", "3c": "holds", "4": "holds", "5": "holds",
        "6": "not decided", "7": "holds", "8": "holds",
    }  # fmt: skip
    assert found["5"]["decided_by"] == "fixed_mean \u2212 textcnn -4.7"
    assert found["6"]["decided_by"] is None


def test_what_the_printed_cells_of_m_say():
    found = verdicts(miller.PAPER, [], "WebVision 2.0")
    assert {number: row["verdict"] for number, row in found.items()} == {
        "1": "not decided", "2": "not decided", "3": "not decided", "4": "not decided", "5a": "fails", "5b": "holds",
    }  # fmt: skip
    assert found["5a"]["decided_by"] == "mobilenetv2-bert \u2212 mobilenetv2 -29.8"
    assert found["5b"]["value"] == pytest.approx(54.57 - 50.30)


def test_claims_are_decided_by_intervals_of_paired_tests():
    def pair(other, value, low, high):
        return {"split": "test", "metric": "accuracy", "model": "policy_cp3_2", "other": other, "value": value,
                "low": low, "high": high, "test": "mcnemar", "p": 0.004, "n": 200}  # fmt: skip

    rows = [pair("policy_cp3_2_q1", 0.03, 0.01, 0.05), pair("policy_cp3_2_q7", 0.02, -0.01, 0.05)]
    found = verdicts(zahavy.PAPER, [z(comparisons=rows, decisions=[decision("policy_cp3_2", 0.73)])])
    assert (found["3a"]["verdict"], found["3a"]["measured"]) == ("not decided", 2)
    assert found["3a"]["decided_by"] == "policy_cp3_2 \u2212 policy_cp3_2_q7 +2.0 [-1.0, +5.0], mcnemar p = 0.004"
    found = verdicts(zahavy.PAPER, [z(comparisons=rows[:1])])
    assert (found["3a"]["verdict"], found["3a"]["low"]) == ("holds", pytest.approx(1.0))


def test_a_decision_is_compared_with_the_best_by_its_own_counts():
    """10 documents gained and 4 lost of 200: 3 points, +- 1.96 sqrt((14/200 - 0.03^2) / 200)."""
    found = verdicts(zahavy.PAPER, [z(decisions=[decision("policy_cp3_2", 0.73)])])["8"]
    half = 1.959964 * math.sqrt((0.07 - 0.0009) / 200) * 100
    assert (found["value"], found["low"], found["high"]) == (
        pytest.approx(3.0), pytest.approx(3 - half, abs=1e-4), pytest.approx(3 + half, abs=1e-4)
    )  # fmt: skip
    assert (found["verdict"], found["p"]) == ("not decided", 0.18)
    assert verdicts(zahavy.PAPER, [z(decisions=[decision("policy_cp3_2", 0.73, best="picture")])])["8"]["value"] is None


def test_the_oracle_and_the_choices_have_intervals():
    rows = [decision("policy_cp3_2", 0.73, choice=0.80), decision("policy_cp3_2_q1", 0.70, choice=0.95)]
    found = verdicts(zahavy.PAPER, [z(decisions=rows)])
    assert found["7"]["value"] == pytest.approx(10.0)  # 80 less 70
    assert found["3b"]["value"] == pytest.approx(15.0)
    half = 1.959964 * math.sqrt((0.16 + 0.0475) / 200) * 100
    assert found["3b"]["low"] == pytest.approx(15 - half, abs=1e-4)
    assert found["3b"]["verdict"] == "holds"


def test_one_missing_input_is_compared_with_none():
    def metrics(*masked):
        whole = scores("resnet50v2-use", 0.6)
        return [whole, *(scores("resnet50v2-use", value, condition=name) for name, value in masked)]

    found = verdicts(miller.PAPER, [DataSet("clip", (run(metrics=metrics(("title masked", 0.5))),))])["4"]
    assert found["value"] == pytest.approx(-10.0)
    assert found["verdict"] == "not decided"  # 200 documents
    rows = metrics(("title masked", 0.2), ("title masked in 50 %", 0.1))
    found = verdicts(miller.PAPER, [DataSet("clip", (run(metrics=rows),))])["4"]
    assert (found["verdict"], found["measured"]) == ("fails", 1)
    assert found["decided_by"].startswith("resnet50v2-use without title -40.0 [")


def test_purity_is_compared_on_documents_that_both_maps_have():
    def places(vectors, *purities):
        return [{"vectors": vectors, "id": f"d{i}", "purity": one} for i, one in enumerate(purities)]

    rows = places("embed/description", 0.9, 0.8, 0.9, None) + places("embed/title", 0.5, 0.6, 0.5, 0.1, 0.2)
    found = verdicts(miller.PAPER, [DataSet("clip", (run(maps=rows, metrics=[]),))])["1"]
    assert found["value"] == pytest.approx(100 * (0.4 + 0.2 + 0.4) / 3)
    assert found["verdict"] == "holds"


def test_regions_decide_by_the_whole_interval():
    def one(value, low=None, high=None):
        return Difference("a", value, low, high)

    assert ABOVE.verdict(one(1.0)) == "holds"
    assert ABOVE.verdict(one(0.0)) == "fails"
    assert [ABOVE.verdict(one(1, low, high)) for low, high in ((0.1, 2), (-0.1, 2), (-2, 0))] == [
        "holds", "not decided", "fails"
    ]  # fmt: skip
    near = Region(-0.45, 0.45)
    assert [near.verdict(one(0, low, high)) for low, high in ((-0.4, 0.4), (-1, 1), (0.5, 1))] == [
        "holds", "not decided", "fails"
    ]  # fmt: skip


def test_a_claim_fails_where_one_number_is_outside_and_holds_where_all_are_inside():
    def on(*numbers):
        return Claim("1", "", "", lambda _: numbers, ABOVE).on(Facts("", "", lambda a, b: None))

    good, open_, bad = Difference("good", 2, 1, 3), Difference("open", 1, -1, 3), Difference("bad", -2, -3, -1)
    assert on(good, open_, bad, None) == ("fails", bad, 3)
    assert on(good, open_) == ("not decided", open_, 2)
    assert on(good, good.named("other")._replace(value=1.5)).by.said == "other"  # the least
    assert on(None) == ("not decided", None, 0)


def test_differences_with_intervals():
    assert unpaired("a", 0.5, 0.5, 0).low == -math.inf
    assert paired("a", 3, 1, 100, 0.6).value == pytest.approx(2.0)
    assert mean_of("a", [0.1]) is None
    assert mean_of("a", [0.1, 0.1])[1:4] == (pytest.approx(10.0),) * 3
    both = averaged([Difference("a", 1, 0, 2, "t", 0.1), Difference("a", 3, 1, 5, "t", 0.3)])
    assert both == Difference("a", 2, 0.5, 3.5, "t", 0.3)
    assert averaged([]) is None
    assert Difference("a", 1, -1, 2).negated("b") == Difference("b", -1, -2, 1)


# Pages


@pytest.mark.parametrize("paper", [zahavy.PAPER, miller.PAPER])
def test_nothing_of_a_name_is_markup(paper):
    rows = {"metrics": [scores(EVIL, 0.5)], "models": [{"model": "textcnn", "seed": 0, "stands_in_for": [EVIL]}],
            "decisions": [decision(EVIL, 0.5)]}  # fmt: skip
    page = paper.render([DataSet(EVIL, (run(EVIL, **rows),))])
    assert "<script" not in page
    assert "&lt;script&gt;" in page


def test_figures_of_a_run_are_on_the_page():
    one = z(decisions=[decision("policy_cp3_2", 0.74)], metrics=[scores("textcnn", 0.5)])
    page = zahavy.PAPER.render([one])
    assert "clip: decisions between models" in page
    masked = [scores("use-dnn", 0.5), scores("use-dnn", 0.4, condition="title masked")]
    group = {"model": "use-dnn", "split": "test", "column": "source", "metric": "accuracy", "value": 0.5, "n": 9}
    groups = [{**group, "group": name} for name in ("flickr", "google")]
    page = miller.PAPER.render([DataSet("clip", (run(metrics=masked, groups=groups),))])
    assert "google" in page
    assert "clip: with a part of the input masked" in page
    assert 'class="heat wide"' in page


def test_a_run_without_any_table_makes_a_page():
    one = DataSet("bare", (run("bare", metrics=[]),))
    for paper in (zahavy.PAPER, miller.PAPER):
        assert "not measured" in paper.render([one])
        assert not set(paper.cells([one])["source"].to_pylist()) - {"published"}
