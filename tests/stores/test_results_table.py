"""The one results table: what is averaged with what, and how tables of older versions are read."""

import numpy as np
import pyarrow as pa
import pytest

from fuseline.stores.results import DDOF, SUMMARY, conform, plain, spread, summary
from fuseline.stores.schemas import RESULTS


def results(*rows: dict[str, object]) -> pa.Table:
    """Return RESULTS rows, of model m on test with accuracy of 10 documents unless they say otherwise."""
    fixed = {"model": "m", "split": "test", "metric": "accuracy", "seed": 0, "n": 10}
    return pa.Table.from_pylist([{**fixed, **row} for row in rows], schema=RESULTS)


def test_the_table_has_the_columns_of_the_design_in_their_order() -> None:
    assert RESULTS.names == [
        "model", "options", "seed", "fold", "split", "condition", "metric", "value", "n", "run",
    ]  # fmt: skip


def test_seeds_are_averaged_and_the_degrees_of_freedom_are_told() -> None:
    values = [0.5, 0.6, 0.1]
    table = summary(results(*({"seed": seed, "value": value} for seed, value in enumerate(values))))
    assert table.schema == SUMMARY
    (row,) = table.to_pylist()
    assert (row["mean"], row["std"]) == (float(np.mean(values)), float(np.std(values, ddof=1)))
    assert (row["over"], row["values"], row["n"], row["ddof"], DDOF) == ("seeds", 3, 10, 1, 1)


def test_folds_have_a_mean_of_their_own_and_their_documents_add() -> None:
    folds = [{"fold": fold, "value": value, "n": n} for fold, value, n in ((0, 0.2, 7), (1, 0.4, 8))]
    whole, folded = summary(results({"value": 0.9}, *folds)).to_pylist()
    assert (whole["over"], whole["mean"], whole["std"], whole["values"]) == ("seeds", 0.9, None, 1)
    assert (folded["over"], folded["values"], folded["n"]) == ("folds", 2, 15)
    assert folded["mean"] == pytest.approx(0.3)
    again = summary(results(*({**fold, "seed": seed} for seed in (0, 1) for fold in folds))).to_pylist()[0]
    assert (again["values"], again["n"]) == (4, 15)


@pytest.mark.parametrize("column", ["model", "options", "split", "condition", "metric"])
def test_what_differs_in_more_than_seed_and_fold_is_not_averaged(column: str) -> None:
    rows = summary(results({"value": 0.1}, {"value": 0.3, column: "other"})).to_pylist()
    assert [row["mean"] for row in rows] == [0.1, 0.3]
    assert [row[column] for row in rows][1] == "other"


def test_ordinary_rows_are_those_of_no_fold_and_no_condition() -> None:
    table = results({"value": 0.1}, {"value": 0.2, "fold": 0}, {"value": 0.3, "condition": "image masked"})
    assert plain(table)["value"].to_pylist() == [0.1]


def test_tables_of_older_versions_are_read() -> None:
    """It had neither options nor condition, and another order."""
    old = results({"value": 0.1}).select(["model", "split", "fold", "seed", "metric", "value", "n", "run"])
    assert conform(old, RESULTS).equals(results({"value": 0.1}))


def test_nothing_has_no_mean() -> None:
    assert spread([]) == (None, None)
    assert summary(RESULTS.empty_table()).equals(SUMMARY.empty_table())
