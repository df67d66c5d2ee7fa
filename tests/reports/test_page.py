"""The HTML page: everything escaped, nothing fetched, every section optional."""

import dataclasses
import html.parser
import re

import pyarrow as pa
import pytest

from fuseline.reports.page import breakable, duration, render, size
from fuseline.reports.page_data import PRESENCE, STAGES, ReportData
from fuseline.reports.sections.rows import MAX_CLASSES, data_table, heat_map, modality_colours, quarantine_first
from fuseline.stores.schemas import DRIFT, MODELS, QUARANTINE, RESULTS, STATISTICS, TOKENS

EVIL = "<script>alert('x')</script>\"'&{{ 7*7 }}"
VOID = {"meta", "br", "wbr", "img", "link", "hr"}
DRIFTED = {
    "repeat": 0, "part": 1, "shards": 3, "rows": 1200, "error": 0.6, "known_error": 0.4, "held_out": 500,
    "error_ratio": 1.5, "used": 250, "empty": 90, "expected_empty": 11.4, "hot": 2, "divergence": 0.123, "refit": True,
}  # fmt: skip
CLASS_NAMES = ("model", "split", "label", "precision", "recall", "f1", "support", "predicted")


class Checker(html.parser.HTMLParser):
    """Collects tags, addresses and event handlers, and checks that tags close in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.addresses: list[str] = []
        self.handlers: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        if tag not in VOID:
            self.open.append(tag)
        for name, value in attrs:
            if name in {"src", "href", "action", "data"}:
                self.addresses.append(value)
            if name.startswith("on"):
                self.handlers.append(name)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, f"{tag} closes out of order"


def check(page: str) -> Checker:
    checker = Checker()
    checker.feed(page)
    checker.close()
    assert checker.open == []
    return checker


def full(name: str = "name") -> ReportData:
    """Return a report with every section, in which every string is `name`."""
    label, other = f"{name}/a", f"{name}/b"
    rows = [
        {"model": name, "split": split, "metric": metric, "value": value, "n": 10, "seed": 0}
        for split in ("valid", "test")
        for metric, value in (("accuracy", 0.5), ("accuracy_low", 0.4), ("accuracy_high", 0.6), ("log_loss", 1.0))
    ]
    rows += [{**row, "model": "text", "value": row["value"] / 2} for row in rows]
    example = {
        "model": name, "split": "test", "id": name, "labels": [label], "text": name, "thumbnail": b"RIFF",
        "top_k": [{"label": other, "score": 0.9}], "importance": [{"modality": name, "share": 1.0}],
    }  # fmt: skip
    statistics = [("documents", "documents", 10), ("clean", "words", 40), (f"label:{label}", "documents", 7)]
    return ReportData(
        title=name,
        run=name,
        created=name,
        metrics=pa.Table.from_pylist(rows, schema=RESULTS),
        statistics=pa.Table.from_pylist(
            [{"split": name, "field": f, "measure": m, "value": v} for f, m, v in statistics], schema=STATISTICS
        ),
        classes=pa.Table.from_pylist(
            [dict(zip(CLASS_NAMES, (name, "test", label, 0.5, 0.25, 0.33, 7, 3), strict=True))]
        ),
        confusion=pa.Table.from_pylist(
            [
                {"model": name, "split": "test", "label": t, "predicted": p, "n": n}
                for t, p, n in ((label, label, 3), (label, other, 4), (other, label, 1), (other, None, 2))
            ]
        ),
        gallery=pa.Table.from_pylist([{**example, "kind": kind} for kind in ("right", "wrong", "confident_error")]),
        importance=pa.Table.from_pylist([{"model": name, "split": "test", "modality": name, "share": 1.0, "n": 1}]),
        models=pa.Table.from_pylist(
            [
                {
                    "model": name,
                    "kind": name,
                    "seed": 0,
                    "documents": 90,
                    "seconds": 75.0,
                    "parameters": 1_234_567,
                    "bytes": 4_938_268,
                    "bytes_per_document": 16,
                    "multiply_adds_per_document": 980,
                    "key": name,
                },
                {"model": "text", "kind": "text", "seed": 0, "documents": 90, "seconds": 30.0, "key": name},
            ],
            schema=MODELS,
        ),
        drift=pa.Table.from_pylist([{**DRIFTED, "codebook": name, "why": name}], schema=DRIFT),
        contact_sheet=pa.Table.from_pylist(
            [
                {"id": name, "status": status, "picture": data, "words": name, "found": [{"detector": name, "n": 2}]}
                for status, data in (("ok", b"RIFF"), (name, None))
            ]
        ),
        detectors={name: "rgb(0, 114, 178)"},
        presence=pa.Table.from_pylist([{"stage": name, "present": 6, "missing": 1, "failed": 3}], schema=PRESENCE),
        tokens=pa.Table.from_pylist(
            [
                {
                    "model": name,
                    "repeat": 0,
                    "part": 1,
                    "centroid": 7,
                    "token": name,
                    "n_documents": 12,
                    "n_train": 9,
                    "words": [{"word": name, "cosine": 0.75}],
                    "coherence": 0.875,
                    "clarity": 0.5,
                    "documents": [{"id": name, "distance": 0.5}],
                    "thumbnails": [b"RIFF", None],
                }
            ],
            schema=TOKENS,
        ),
        stages=pa.Table.from_pylist(
            [
                {
                    "stage": name,
                    "fresh": 1,
                    "computed_shards": 2,
                    "rows_computed": 30,
                    "rows_reused": 4,
                    "seconds": 75,
                    "shares": [("decode", 0.196), (name, 0.8), ("wait", 0.004)],
                }
            ],
            schema=STAGES,
        ),
        quarantine=pa.Table.from_pylist(
            [{"stage": name, "id": name, "source": name, "reason": name, "shard": 0}], schema=QUARANTINE
        ),
        lineage={name: name},
        versions={name: name},
        config_yaml=name,
        notes=(name,),
    )


def test_everything_from_outside_is_escaped():
    page = render(full(EVIL))
    checker = check(page)
    assert "script" not in checker.tags
    assert checker.handlers == []
    assert "<script" not in page
    assert "alert(" in page
    assert "49" not in re.sub(r"<style>.*?</style>", "", page, flags=re.S)


@pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(ReportData)])
def test_each_section_can_be_absent(field):
    required = {"title", "run", "created"}
    default = ReportData("t", "r", "c")
    page = render(full() if field in required else dataclasses.replace(full(), **{field: getattr(default, field)}))
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
    heat = heat_map(pa.Table.from_pylist(rows), model="m", split="test")
    assert (len(heat.labels), heat.classes) == (MAX_CLASSES, many)
    assert heat.labels[0] == "005"
    assert heat.hidden == 1 + 2 + 3 + 4 + 5 + 35
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
        [{"model": m, "split": "test", "modality": name, "share": share, "n": 1} for m, name, share in rows]
    )
    assert modality_colours(table, None) == {"image": 0, "text": 1}
    page = render(dataclasses.replace(ReportData("t", "r", "c"), importance=table))
    assert page.count('class="m1" style="width:100.0%"') == 1


@pytest.mark.parametrize(
    ("number", "text"), [(0, "0"), (999, "999"), (1000, "1 k"), (66_123, "66.1 k"), (5.21e6, "5.21 M"), (2e9, "2 G")]
)
def test_sizes(number, text):
    assert size(number).replace("\u00a0", " ") == text
    assert size(number, "B").replace("\u00a0", " ") == (text + "B" if number >= 1000 else text + " B")
