"""Reports without forgotten documents."""

import dataclasses

import pyarrow as pa
import pytest

from fuseline.reports.page import render
from fuseline.reports.redact import redacted, shown, tells_all
from fuseline.stores.report_schemas import CONTACT_SHEET
from fuseline.stores.schemas import QUARANTINE, TOKENS
from tests.reports.full import EVIL, check, full

SINGLE = ("instances", "matrices")


def page(*names: str) -> str:
    """Return a report that shows one example and one quarantined row per name."""
    data = full()
    gallery = data.tables["gallery"]
    rows = [{**row, "id": name, "text": f"text of {name}"} for name in names for row in gallery.to_pylist()[:1]]
    held = [{"stage": "clean/text", "id": name, "source": "x", "reason": "bad_html", "shard": 0} for name in names]
    nobody = {"stage": "ingest/x", "id": None, "source": "x", "reason": "no_id", "shard": None}
    changed = {
        **{table: data.tables[table].slice(0, 0) for table in ("maps", "class_maps", "quadrant_gallery", *SINGLE)},
        "gallery": pa.Table.from_pylist(rows, schema=gallery.schema),
        "tokens": TOKENS.empty_table(),
        "contact_sheet": CONTACT_SHEET.empty_table(),
        "quarantine": pa.Table.from_pylist([*held, nobody], schema=QUARANTINE),
    }
    return render(dataclasses.replace(data, tables={**data.tables, **changed}))


@pytest.mark.parametrize("name", ["doc-1", EVIL, "it's", '"]', "日本語"])
def test_what_a_report_shows_can_be_told_and_taken_out(name):
    whole = page(name, "other")
    assert shown(whole) == [name, "other", name, "other"]
    assert tells_all(whole)
    left = redacted(whole, lambda ids: name in ids)
    assert shown(left) == ["other", "other"]
    assert "text of other" in left
    assert left.count("text of ") == 1
    assert left.count("<article") == 1
    check(left)


def test_a_report_that_shows_none_of_them_stays_as_it_is():
    whole = page("a", "b")
    assert redacted(whole, lambda ids: "c" in ids) == whole


def test_a_picture_whose_document_is_not_told_is_noticed():
    assert not tells_all(page("a") + "<figure><img src='data:image/png;base64,AA=='></figure>")
    assert tells_all(page("a") + "<figure data-shows='[\"a\"]'><img src='data:image/png;base64,AA=='></figure>")


def test_every_section_says_whom_it_shows():
    whole = render(full("doc"))
    assert "data:image/" in whole
    assert tells_all(whole)
    left = redacted(whole, lambda ids: "doc" in ids)
    assert shown(left) == []
    assert "data:image/" not in left
    check(left)
