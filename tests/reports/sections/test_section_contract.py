"""What every section of the registry promises; one that a package registers is tested by being installed."""

import dataclasses
import re

import pytest
from markupsafe import Markup

from fuseline.reports.page import render
from fuseline.reports.page_data import ReportData
from fuseline.reports.sections import SECTIONS
from fuseline.stores.tables import TABLES
from tests.reports.full import EVIL, check, full

every = pytest.mark.parametrize("name", list(SECTIONS))


@every
def test_a_section_says_what_it_is(name: str) -> None:
    section = SECTIONS[name]
    assert section.kind == name
    assert re.fullmatch(r"[a-z][a-z0-9_]*", name)  # an anchor of the page
    assert section.title
    assert len(section.summary) > 10
    readable = {table for table, one in TABLES.items() if one.form in ("table", "report")}
    assert {*section.reads} <= readable


@every
def test_a_section_of_full_tables_is_markup_and_stands_on_the_page(name: str) -> None:
    content = SECTIONS[name].render(full())
    assert isinstance(content, Markup)
    checker = check(content)
    assert not checker.tags & {"html", "body", "section", "h1", "h2", "script", "style", "form", "iframe"}
    page = render(full())
    assert page.count(f'<section id="{name}">') == page.count(f'<a href="#{name}">{SECTIONS[name].title}</a>') == 1
    assert content in page


@every
def test_a_section_reads_no_other_tables_than_it_says(name: str) -> None:
    section, data = SECTIONS[name], full()
    own = {table: rows for table, rows in data.tables.items() if table in section.reads}
    assert section.render(dataclasses.replace(data, tables=own)) == section.render(data)
    assert section.tiles(dataclasses.replace(data, tables=own)) == section.tiles(data)


@every
def test_a_section_of_empty_tables_is_left_out_or_says_so(name: str) -> None:
    section, empty = SECTIONS[name], ReportData("t", "r", "c")
    assert section.render(empty) is None or (not section.reads or name == "quarantine")
    check(section.render(empty) or "")
    check(section.tiles(empty))


@every
def test_hostile_texts_are_escaped_in_a_section(name: str) -> None:
    for content in (SECTIONS[name].render(full(EVIL)), SECTIONS[name].tiles(full(EVIL))):
        checker = check(content or "")
        assert "script" not in checker.tags
        assert checker.handlers == []
        assert "<script" not in (content or "")
        assert "49" not in re.sub(r"&#\d+;", "", content or "")  # {{ 7*7 }} was not evaluated


@every
def test_a_section_asks_nothing_of_the_network(name: str) -> None:
    content = SECTIONS[name].render(full()) or ""
    assert all(address.startswith(("#", "data:image/webp;base64,")) for address in check(content).addresses)
    assert not re.search(r"https?:|//[a-z]|url\(|@import", content)


@every
def test_the_same_tables_give_the_same_section(name: str) -> None:
    assert SECTIONS[name].render(full()) == SECTIONS[name].render(full())
