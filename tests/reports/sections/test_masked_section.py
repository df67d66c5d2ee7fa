"""What is lost with an input masked: the matrix, the shares, the classes."""

import pyarrow as pa
import pytest

from fuseline.flows.results.tables import measure_table
from fuseline.reports.figures.difference_matrix import line
from fuseline.reports.measures import Measure
from fuseline.reports.page_data import ReportData
from fuseline.reports.sections.conditions import MAX_CLASSES, masked_parts, render
from fuseline.stores.report_schemas import CLASSES
from fuseline.stores.schemas import RESULTS
from fuseline.stores.score_schemas import MASKED_CLASSES

SHARE, LOSS = Measure("accuracy", "accuracy", unit="share"), Measure("log_loss", "loss", "", "nats", True)


def data(rows, classes=(), masked=()) -> ReportData:
    fields = ("model", "condition", "value")
    metrics = [
        {**dict(zip(fields, row, strict=True)), "split": "test", "metric": "accuracy", "n": 10, "seed": 0}
        for row in rows
    ]
    classes = [
        {"model": "both", "split": "test", "label": label, "f1": f1, "support": 5} for label, f1 in classes
    ]  # fmt: skip
    masked = [
        {"model": "both", "split": "test", "condition": condition, "label": label, "f1": f1, "support": 5}
        for condition, label, f1 in masked
    ]
    return ReportData("t", "r", "c", {
        "measures": measure_table(), "metrics": pa.Table.from_pylist(metrics, schema=RESULTS),
        "classes": pa.Table.from_pylist(classes, schema=CLASSES),
        "masked_classes": pa.Table.from_pylist(masked, schema=MASKED_CLASSES),
    })  # fmt: skip


def texts(matrix) -> dict[str, list[str | None]]:
    return {one.name: [one.start, *(cell and cell.text for cell in one.cells)] for one in matrix.lines}


def test_the_matrix_has_a_cell_for_every_input_that_a_model_reads():
    (part,) = masked_parts(data([
        ("both", None, 0.8), ("both", "image masked", 0.6), ("both", "text masked", 0.8), ("text", None, 0.5),
        ("text", "text masked", 0.0),
    ]))  # fmt: skip
    assert part.everywhere.columns == ["nothing masked", "without image", "without text"]
    assert texts(part.everywhere) == {"both": ["80.0", "-20.0", "+0.0"], "text": ["50.0", None, "-50.0"]}
    assert (part.at_random, part.classes) == (None, None)
    (lost, kept) = part.everywhere.lines[0].cells
    assert (lost.depth, lost.gain, lost.value) == (pytest.approx(25), False, "60.0")
    assert (kept.depth, kept.gain) == (0, True)


def test_shares_are_a_row_per_model_and_input():
    (part,) = masked_parts(data([
        ("both", None, 0.8), ("both", "image masked", 0.4), ("both", "image masked in 10 %", 0.7),
        ("both", "image masked in 90 %", 0.45), ("both", "text masked", 0.1),
    ]))  # fmt: skip
    assert part.at_random.columns == ["nothing masked", "10 %", "90 %", "100 %"]
    assert texts(part.at_random) == {"both without image": ["80.0", "-10.0", "-35.0", "-40.0"]}


def test_the_classes_that_lose_most_come_first():
    rows = [("both", None, 0.8), ("both", "image masked", 0.4)]
    classes = [(f"c{i:02d}", 0.9) for i in range(MAX_CLASSES + 3)]
    masked = [("image masked", f"c{i:02d}", 0.9 - i / 100) for i in range(MAX_CLASSES + 3)]
    (part,) = masked_parts(data(rows, classes, [*masked, ("image masked", "unheard", 0.0)]))
    assert part.others == 3
    assert list(texts(part.classes))[:2] == ["c22", "c21"]
    assert "3 others lose less" in render(data(rows, classes, masked))


def test_a_condition_of_another_kind_is_shown_under_its_name():
    (part,) = masked_parts(data([("both", None, 0.8), ("both", "with noise", 0.7)]))
    assert part.everywhere.columns == ["nothing masked", "with noise"]


def test_a_model_without_a_plain_score_has_no_row():
    (part,) = masked_parts(data([("both", "image masked", 0.7)]))
    assert part.everywhere.lines == []


def test_more_of_a_loss_is_red_and_nothing_to_lose_is_no_division():
    cells = line("m", LOSS, 1.0, [1.5, 0.5, 1.0, None]).cells
    assert [cell and cell.gain for cell in cells] == [False, True, True, None]
    (cell,) = line("m", SHARE, 0.0, [0.1]).cells
    assert (cell.depth, cell.gain) == (100, True)


def test_nothing_masked_has_no_section():
    assert render(data([("both", None, 0.8)])) is None
