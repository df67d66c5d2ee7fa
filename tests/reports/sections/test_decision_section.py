"""The section of decisions: texts of its tables, and what is said of the time that is saved."""

from fuseline.reports.sections.decisions import DRAWN, curve_tables, decision_tables, quadrant_tables

FIXED = {"models": ["text", "image"], "split": "test", "n": 200}
ROW = {
    **FIXED, "model": "policy", "kind": "policy", "accuracy": 0.715, "first_accuracy": 0.7, "others_accuracy": [0.57],
    "oracle_accuracy": 0.776, "best": "text", "best_accuracy": 0.7, "better": 6, "worse": 3, "p": 0.0004,
    "called": 0.1, "should_call": 0.08, "choice_accuracy": 0.842, "choice_balanced": 0.6, "choice_auc": None,
    "choice_precision": 0.2, "choice_recall": 0.3,
}  # fmt: skip


def test_decisions_stand_below_their_models_the_best_first() -> None:
    mean = {**ROW, "model": "mean", "accuracy": 0.72, "p": 0.5}
    mean |= {name: None for name in ROW if name.startswith(("choice", "called"))}
    (table,) = decision_tables([ROW, mean])
    assert table.singles == [("text", "70.0"), ("image", "57.0")]
    assert [row["model"] for row in table.rows] == ["mean", "policy"]
    assert (table.oracle, table.oracle_gain) == ("77.6", "+7.6")
    assert table.rows[1]["gain"] == "+1.5"
    assert table.rows[1]["texts"] == ["< 0.001", "10.0", "84.2", "60.0", "", "20.0", "30.0"]
    assert table.rows[0]["texts"] == ["0.500", "", "", "", "", "", ""]


def test_quadrants_are_shares_of_their_label() -> None:
    rows = [(None, [], 10), (None, ["text"], 30), ("a", ["text"], 30), ("b", [], 10)]
    (table,) = quadrant_tables([{**FIXED, "label": of, "right": right, "n": n} for of, right, n in rows])
    assert table.columns == ["text only", "none"]
    assert table.rows == [("all", 40, ["75.0", "25.0"]), ("a", 30, ["100.0", "0.0"]), ("b", 10, ["0.0", "100.0"])]


def test_saved_time_is_that_of_the_stages_of_this_run() -> None:
    rows = [
        {**FIXED, "model": "p", "by": by, "rate": rate, "accuracy": 0.5 + rate / 10, "spared": spared}
        for by, spared in (("confidence", ["embed/image", "predict/logits-image"]), ("policy", []))
        for rate in (0.0, 0.5, 1.0)
    ]
    (table,) = curve_tables(rows, {"embed/image": 0.004, "clean/text": 1.0})
    assert table.rates == ["0.0 %", "100.0 %"]
    assert table.rows == [("doubt of text", ["50.0", "60.0"]), ("p", ["50.0", "60.0"])]
    assert table.figure is not None
    assert table.figure.count('class="line"') == 2
    assert "documents for which image is asked" in table.figure
    assert "saves embed/image, predict/logits-image: 4 ms of work a document in this run" in table.saved
    assert "not measured, as nothing was made in this run: predict/logits-image." in table.saved
    (table,) = curve_tables(rows[3:], {})
    assert table.saved == "No time is saved: what ranks the documents looks at all models."


def test_of_many_curves_those_that_lie_highest_are_drawn() -> None:
    rows = [
        {
            **FIXED,
            "model": f"p{k}",
            "by": "policy",
            "rate": rate,
            "accuracy": 0.5 + k / 100 * (rate == 0.5),
            "spared": [],
        }
        for k in range(DRAWN + 2)
        for rate in (0.0, 0.5, 1.0)
    ]
    (table,) = curve_tables(rows, {})
    names = [f"p{k}" for k in range(DRAWN + 2)]
    assert [name for name, _ in table.rows] == names
    assert [name for name in names if f"<title>{name}</title>" in str(table.figure)] == names[2:]
