"""The HTML page: everything escaped, nothing fetched, every section optional."""

import dataclasses
import re

import pyarrow as pa
import pytest

from fuseline.reports.figures.heat_map import MAX_CLASSES, heat_map
from fuseline.reports.figures.shares import modality_colours
from fuseline.reports.markup import breakable, duration, size
from fuseline.reports.page import render
from fuseline.reports.page_data import ReportData
from fuseline.reports.sections.data import data_table
from fuseline.reports.sections.quarantine import quarantine_first
from fuseline.stores.report_schemas import IMPORTANCE
from fuseline.stores.schemas import QUARANTINE, STATISTICS
from tests.reports.full import EVIL, check, full


def test_everything_from_outside_is_escaped():
    page = render(full(EVIL))
    checker = check(page)
    assert "script" not in checker.tags
    assert checker.handlers == []
    assert "<script" not in page
    assert "alert(" in page
    assert "49" not in re.sub(r"<style>.*?</style>", "", page, flags=re.S)


@pytest.mark.parametrize("name", [*full().tables, "detectors", "lineage", "versions", "config_yaml", "notes"])
def test_each_table_can_be_absent(name):
    data, default = full(), ReportData("t", "r", "c")
    tables = {other: table for other, table in data.tables.items() if other != name}
    change = {"tables": tables} if name in data.tables else {name: getattr(default, name)}
    page = render(dataclasses.replace(data, **change))
    check(page)
    assert "<h1>name</h1>" in page


def test_an_empty_report_is_a_page():
    page = render(ReportData("Nothing yet", "r", "c"))
    check(page)
    assert "every document could be used" in page
    assert "Results" not in page


def test_the_page_needs_nothing_from_outside():
    page = render(full())
    checker = check(page)
    assert all(address.startswith(("#", "data:image/webp;base64,")) for address in checker.addresses)
    assert "default-src 'none'" in page
    assert "url(" not in page
    assert "@import" not in page
    assert not re.search(r"https?:|//[a-z]", page)


def test_the_same_data_give_the_same_page():
    assert render(full()) == render(full())


def test_figures_on_the_page():
    page = render(full())
    shown = ("50.0", "+25.0", "+2", "95 % interval 40.0 to 60.0", "1 min 15 s", "1.23 M", "4.94 MB", ">980<", ">2.5<")
    tokens = (
        "name 80 %, decode 20 %<",
        "12 documents · coherence 0.88",
        ">0.75<",
        "width:75%",
        ">1.50<",
        ">0.123<",
        "fit again: name",
        "6 (60.0 %)",
        "3 (30.0 %)",
    )
    for text in (*shown, *tokens, "no text after cleaning"):
        assert (text in page.replace("\u00a0", " ")) == (text != "no text after cleaning"), text


def test_data_table_counts_per_split_and_in_total():
    rows = [
        ("train", "documents", "documents", 8),
        ("test", "documents", "documents", 2),
        ("train", "clean", "words", 20),
        ("test", "image", "missing", 1),
        ("train", "image", "failed", 2),
        ("train", "title", "missing", 8),
        ("test", "title", "missing", 2),
        ("train", "label:b", "documents", 5),
        ("test", "label:a", "documents", 5),
    ]
    names = ("split", "field", "measure", "value")
    table = pa.Table.from_pylist([dict(zip(names, row, strict=True)) for row in rows], schema=STATISTICS)
    found = data_table(table)
    assert found.splits == ["train", "test", "all"]
    values = {row.name: row.values for row in found.rows}
    assert values["documents"] == ["8", "2", "10"]
    assert values["words per document"] == ["2.5", "0.0", "2.0"]
    assert values["no image in the source"] == ["0 (0.0 %)", "1 (50.0 %)", "1 (10.0 %)"]
    assert values["image not found"] == ["2 (25.0 %)", "0 (0.0 %)", "2 (20.0 %)"]
    assert "cleaning failed" not in values
    assert "no title" not in values  # nobody has one: not a gap in the data
    assert found.labels == [("a", 5), ("b", 5)]


def test_the_heat_map_shows_the_largest_classes_and_counts_the_rest():
    many = MAX_CLASSES + 5
    rows = [
        {"model": "m", "split": "test", "label": f"{i:03}", "predicted": f"{i:03}", "n": i + 1} for i in range(many)
    ]
    rows.append({"model": "m", "split": "test", "label": "064", "predicted": None, "n": 35})
    heat = heat_map(rows)
    assert (len(heat.labels), heat.classes) == (MAX_CLASSES, many)
    assert heat.labels[0] == "005"
    assert heat.outside == 1 + 2 + 3 + 4 + 5 + 35
    assert heat.cells[-1][-1] == (65, 0.65, True)


def test_every_reason_is_among_the_first_quarantined_rows():
    rows = [{"stage": "a", "id": str(i), "source": "s", "reason": "often", "shard": 0} for i in range(500)]
    rows.append({"stage": "a", "id": "x", "source": "s", "reason": "rare", "shard": 0})
    first = quarantine_first(pa.Table.from_pylist(rows, schema=QUARANTINE))
    assert "rare" in {row["reason"] for row in first}
    assert len(first) == 20


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.04, "0.0 s"), (59.94, "59.9 s"), (61.4, "1 min 01 s"), (3725, "1 h 02 min")]
)
def test_durations(seconds, text):
    assert duration(seconds) == text


def test_names_break_after_slashes_and_stay_escaped():
    assert breakable("a/<b>_c") == "a/<wbr>&lt;b&gt;_<wbr>c"


def test_a_modality_has_one_colour_everywhere():
    rows = [("a", "text", 1.0), ("b", "image", 0.5), ("b", "text", 0.5)]
    table = pa.Table.from_pylist(
        [{"model": m, "split": "test", "modality": name, "share": share, "n": 1} for m, name, share in rows],
        schema=IMPORTANCE,
    )
    data = ReportData("t", "r", "c", tables={"importance": table})
    assert modality_colours(data) == {"image": 0, "text": 1}
    page = render(data)
    assert page.count('class="m1" style="width:100.0%"') == 1


@pytest.mark.parametrize(
    ("number", "text"), [(0, "0"), (999, "999"), (1000, "1 k"), (66_123, "66.1 k"), (5.21e6, "5.21 M"), (2e9, "2 G")]
)
def test_sizes(number, text):
    assert size(number).replace("\u00a0", " ") == text
    assert size(number, "B").replace("\u00a0", " ") == (text + "B" if number >= 1000 else text + " B")
