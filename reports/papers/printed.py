"""Tables of papers as printed: groups of rows, spans of columns."""

from typing import NamedTuple


class Cell(NamedTuple):
    """What is printed in one place."""

    text: str = ""
    best: bool = False


class Row(NamedTuple):
    """One row: its name in the paper, that of our model where it is another, and a cell per column."""

    label: str
    model: str
    cells: list[Cell]


class Table(NamedTuple):
    """One table: spans of columns, columns, groups of rows, and what stands below it."""

    heads: list[tuple[str, int]]
    columns: list[str]
    groups: list[tuple[str, list[Row]]]
    note: str = ""
