"""Terminal tables that depend on their rows alone."""

from collections.abc import Iterator
from typing import Any

import orjson
from rich.table import Table
from rich.text import Text

from fuseline.reports.papers.paper import Printed


def claims_table(rows: list[dict[str, Any]]) -> Table:
    """Show what comes of a paper's claims, a column per data set."""
    columns = list(dict.fromkeys((row["dataset"], row["source"]) for row in rows))
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("claim", overflow="fold")
    for dataset, source in columns:
        table.add_column(f"{dataset}, {'published' if source == 'published' else 'here'}", overflow="fold")
    for number in dict.fromkeys(row["claim"] for row in rows):
        own = {(row["dataset"], row["source"]): row for row in rows if row["claim"] == number}
        said = (f"{row['verdict']}: {row['decided_by']}" if row["decided_by"] else "-" for row in own.values())
        table.add_row(f"{number} {next(iter(own.values()))['text']}", *said)
    return table


def printed_table(printed: Printed) -> Table:
    """Show one table of a paper: published columns, then those of each data set; what is said below it stands there."""
    heads, columns, groups, note = printed.table
    title = Text(printed.title, style="bold")
    table = Table(box=None, pad_edge=False, header_style="bold", title=title, title_justify="left")
    table.add_column("", max_width=30, overflow="fold")
    table.add_column("\nmodel", no_wrap=True)
    spans = [head for head, width in heads for head in (head, *[""] * (width - 1))]
    for head, name in zip(spans, columns, strict=True):
        table.add_column(f"{head}\n{name}", justify="right", overflow="fold")
    for group, rows in groups:
        table.add_row(Text(group, style="dim"))
        for row in rows:
            shown = (Text(cell.text, style="bold" if cell.best else "") for cell in row.cells)
            table.add_row(Text(row.label), Text(row.model), *shown)
    if note:
        table.caption, table.caption_justify = Text(note), "left"
    return table


def registry_table(rows: list[dict[str, str]]) -> Table:
    """Show one registry."""
    table = column_table("name", summary="left", weights="left")
    for row in rows:
        table.add_row(row["name"], row["summary"], row["weights"])
    return table


def head_lines(description: dict[str, object]) -> Iterator[str]:
    """Yield the lines above the options of a registry entry."""
    yield f"{description['name']}: {description['summary']}"
    for fact, value in description.items():
        if fact not in ("kind", "name", "summary", "options") and value:
            yield f"{fact}: {value}"


def options_table(rows: list[dict[str, Any]]) -> Table:
    """Show options; those with a star change no result."""
    table = column_table("option", type="left", default="left", meaning="left")
    for row in rows:
        cells = (row["option"] + ("" if row["key"] else "*"), row["type"], _default(row), row["meaning"])
        table.add_row(*(Text(cell) for cell in cells))
    table.caption, table.caption_justify = "* changes speed, memory or places, no result", "left"
    return table


def _default(row: dict[str, object]) -> str:
    """Show an option's default as a configuration has it."""
    value = row["default"]
    if row["required"]:
        return "required"
    if value is None:
        return "" if row["type"] == "settings" else "none"
    return value if isinstance(value, str) and value else orjson.dumps(value).decode()


def weights_table(rows: list[dict[str, str]]) -> Table:
    """Show pretrained weights and whether they are here."""
    table = column_table("name", kind="left", state="left", weights="left")
    for row in rows:
        table.add_row(row["name"], row["kind"], row["state"], row["weights"])
    return table


def needs_table(rows: list[dict[str, str]]) -> Table:
    """Show what a configuration needs and whether it is here."""
    table = column_table("needs", state="left", found="left")
    for row in rows:
        table.add_row(row["name"], row["state"], row["detail"] if row["state"] == "ok" else "see below")
    return table


def estimate_table(rows: list[tuple[str, ...]]) -> Table:
    """Show what a first run may take."""
    table = column_table("stage", datasets="right", time="right", disk="right")
    for row in rows:
        table.add_row(*row)
    return table


def column_table(first: str, **columns: Any) -> Table:
    """Return an empty table: the first column's heading, then heading=alignment of the others."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column(first)
    for name, justify in columns.items():
        table.add_column(name, justify=justify, overflow="fold")
    return table


def count(number: int) -> str:
    """Show a count; a dash for none."""
    return f"{number:,}" if number else "-"
