"""Groups of documents beside the whole: the largest ones, and nothing where there is one alone."""

import pyarrow as pa

from fuseline.flows.results.tables import measure_table
from fuseline.reports.page_data import ReportData
from fuseline.reports.sections.comparisons import comparisons
from fuseline.reports.sections.groups import SHOWN, group_matrices, render
from fuseline.stores.schemas import RESULTS
from fuseline.stores.score_schemas import COMPARISONS, GROUPS


def data(groups=(), pairs=()) -> ReportData:
    metrics = [
        {"model": model, "split": split, "metric": "accuracy", "value": value, "n": 10, "seed": 0}
        for model, value in (("a", 0.6), ("b", 0.5))
        for split in ("valid", "test")
    ]
    rows = [
        dict(zip(GROUPS.names, (model, "test", "source", name, "accuracy", value, n), strict=True))
        for model, name, value, n in groups
    ]
    compared = [dict(zip(COMPARISONS.names, ("test", "accuracy", *row, 10), strict=True)) for row in pairs]
    return ReportData("t", "r", "c", {
        "measures": measure_table(), "metrics": pa.Table.from_pylist(metrics, schema=RESULTS),
        "groups": pa.Table.from_pylist(rows, schema=GROUPS),
        "comparisons": pa.Table.from_pylist(compared, schema=COMPARISONS),
    })  # fmt: skip


def test_the_largest_groups_stand_beside_the_whole():
    rows = [("a", "google", 0.7, 6), ("a", "", 0.4, 4), ("b", "google", 0.5, 6)]
    ((split, column, matrix, hidden),) = group_matrices(data(rows))
    assert (split, column, hidden) == ("test", "source", 0)
    assert matrix.columns == ["all", "google (6)", "(top) (4)"]
    found = {line.name: [line.start, *(cell and cell.text for cell in line.cells)] for line in matrix.lines}
    assert found == {"a": ["60.0", "+10.0", "-20.0"], "b": ["50.0", "+0.0", None]}
    many = [("a", f"g{i:02d}", 0.5, i + 1) for i in range(SHOWN + 4)]
    ((*_, matrix, hidden),) = group_matrices(data(many))
    assert (len(matrix.columns), matrix.columns[1], hidden) == (SHOWN + 1, "g23 (24)", 4)


def test_one_group_is_the_whole_and_not_shown():
    assert render(data([("a", "google", 0.6, 10), ("b", "google", 0.5, 10)])) is None
    assert render(data()) is None


def test_the_best_model_on_valid_is_compared_with_each_other_one():
    pairs = [
        ("a", None, 0.6, 0.5, 0.7, None, None), ("b", None, 0.5, 0.4, 0.6, None, None),
        ("c", None, 0.8, 0.7, 0.9, None, None), ("a", "b", 0.1, -0.05, 0.25, "mcnemar", 0.2),
        ("b", "a", -0.1, -0.25, 0.05, "mcnemar", 0.2), ("a", "c", -0.2, -0.3, -0.1, "mcnemar", 0.0002),
        ("c", "a", 0.2, 0.1, 0.3, "mcnemar", 0.0002),
    ]  # fmt: skip
    (found,) = comparisons(data(pairs=pairs))
    assert (found.best, found.own, found.n, found.test) == ("a", "60.0 [50.0, 70.0]", 10, "McNemar's exact test")
    assert [tuple(row) for row in found.rows] == [
        ("c", "80.0 [70.0, 90.0]", "-20.0 [-30.0, -10.0]", "< 0.001", "worse"),
        ("b", "50.0 [40.0, 60.0]", "+10.0 [-5.0, +25.0]", "0.200", "no"),
    ]
    assert comparisons(data()) == []
