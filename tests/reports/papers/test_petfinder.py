"""Paper P beside runs: folds give means and deviations, claims are decided over them, all by hand."""

import pytest

from fuseline.reports.papers import petfinder
from fuseline.reports.papers.runs import DataSet
from tests.reports.papers.test_beside_runs import printed, run, scores, verdicts

FOLDS = {"tabular": (0.60, 0.62, 0.64), "concat": (0.63, 0.66, 0.67), "attention": (0.60, 0.70, 0.62)}


def folded(**rows):
    own = [
        {**scores(model, value), "fold": fold} for model, values in FOLDS.items() for fold, value in enumerate(values)
    ]
    own += [scores("tabular", 0.9)]  # of the whole set: not what the paper prints
    return DataSet("clip", (run(metrics=own, **rows),))


def decoded(codes, mse, mean=0.05, *, split="test", of="embed/pixels"):
    return {
        "codes": codes,
        "split": split,
        "input": of,
        "inputs": ["embed/pixels"],
        "documents": 9,
        "mse": mse,
        "mean_mse": mean,
    }


def test_table_1_has_means_over_folds_beside_the_published() -> None:
    data = [folded()]
    table = petfinder.tables_of(data, petfinder.values_of(data))[0].table
    rows = printed(table)
    assert rows["#1 Tabular only", "tabular"] == ["36.7 ± 0.6", "62.0 ± 2.0", "+25.3"]
    assert rows["#2 Textual only", "textual"][0] == "29.4 ± 0.3"
    (concat,) = (cells for (label, _), cells in rows.items() if label.startswith("#4"))
    assert concat == ["37.1 ± 0.5", "65.3 ± 2.1", "+28.3"]


def test_without_folds_it_is_the_test_split() -> None:
    data = [DataSet("clip", (run(metrics=[scores("tabular", 0.5)]),))]
    rows = printed(petfinder.tables_of(data, petfinder.values_of(data))[0].table)
    assert rows["#1 Tabular only", "tabular"][1] == "50.0"


def test_claims_are_decided_by_differences_within_folds() -> None:
    found = verdicts(petfinder.PAPER, [folded()])
    # 3, 4 and 3 points: 3.33 with an interval of 1.96 x 0.33.
    assert found["1"]["verdict"] == "holds"
    assert found["1"]["value"] == pytest.approx(10 / 3)
    assert found["1"]["low"] == pytest.approx(10 / 3 - 1.959964 / 3)
    # -3, 4 and -5 points.
    assert found["3"]["verdict"] == "not decided"
    assert found["3"]["value"] == pytest.approx(-4 / 3)
    assert found["5"]["verdict"] == "not decided"
    assert found["5"]["decided_by"] is None


def test_the_published_cells_decide_the_claims_of_the_paper() -> None:
    found = verdicts(petfinder.PAPER, [], "PetFinder")
    assert {claim: row["verdict"] for claim, row in found.items()} == dict.fromkeys("1234567", "holds")
    assert found["5"]["value"] == pytest.approx(37.883 - 37.582)
    assert found["7"]["value"] == pytest.approx(100 * (0.03557 - 0.03468))


def test_table_2_tells_of_the_decoded_picture() -> None:
    rows = [decoded("ae_visual", 0.02), decoded("mmae_two", 0.03), decoded("mmae_two", 0.9, split="valid"),
            decoded("mmae", 0.01, of="embed/text")]  # fmt: skip
    data = [folded(reconstructions=rows)]
    table = printed(petfinder.tables_of(data, petfinder.values_of(data))[1].table)
    assert table["Visual Feature only", "ae_visual"] == ["0.03786", "0.02000", "40.0"]
    assert table["+ Tabular Feature", "mmae_two"] == ["0.03557", "0.03000", "60.0"]
    assert table["+ Textual Feature", "mmae"] == ["0.03468", "", ""]
    assert verdicts(petfinder.PAPER, data)["7"]["verdict"] == "fails"
