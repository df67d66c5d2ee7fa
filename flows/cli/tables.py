"""Tables at a terminal that need no more than their rows."""

from typing import Any

from rich.table import Table


def registry_table(rows: list[dict[str, str]]) -> Table:
    """Show one registry."""
    table = column_table("name", summary="left", weights="left")
    for row in rows:
        table.add_row(row["name"], row["summary"], row["weights"])
    return table


def weights_table(rows: list[dict[str, str]]) -> Table:
    """Show pretrained weights and whether they are here."""
    table = column_table("name", kind="left", state="left", weights="left")
    for row in rows:
        table.add_row(row["name"], row["kind"], row["state"], row["weights"])
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
