"""Metadata of WebVision: one JSON array per query; a list names the row of every image, and paths check it."""

import posixpath
from collections.abc import Callable
from typing import Any, NamedTuple


class QueryArray(NamedTuple):
    """The array of one query."""

    rows: list[object]
    by_id: dict[str, dict[str, Any]]  # the first row of every id
    named: bool  # every row has an id

    @classmethod
    def of(cls, rows: Any) -> "QueryArray | None":
        """Return the array; None for anything else."""
        if not isinstance(rows, list):
            return None
        named = [row for row in rows if isinstance(row, dict) and row.get("id") not in (None, "")]
        return cls(rows, {str(row["id"]): row for row in reversed(named)}, len(named) == len(rows))


class Metadata(NamedTuple):
    """The metadata of one image; `good` is False when there should be some but they cannot be read."""

    values: dict[str, Any]
    good: bool


LOST = Metadata({}, good=False)
Arrays = Callable[[str], QueryArray | None]  # path of a query's array -> the array, None when it cannot be had


def find_metadata(uri: str, line: str, arrays: Arrays, *, join: str) -> Metadata:
    """Return the metadata of an image.

    A list that lost a line names other rows from there on. So the array must be that of the image's folder, and the
    row the image's own, whose id is its stem: else it is looked for by its id.

    Args:
        uri: path of the image, ".../<query>/<stem>.<suffix>".
        line: "<path of the array> <row from 1>"; "" where the list has no such line.
        arrays: reads the array of a query.
        join: "row"; "id" to look by the stem alone; "row_only" to believe the rows whatever their ids are.
    """
    name, _, number = line.rpartition(" ")
    folder, file = posixpath.split(uri)
    if posixpath.splitext(posixpath.basename(name))[0] != posixpath.basename(folder):
        # The line is another image's; the array of this one lies beside its folder, as every array does.
        name, number = f"{folder}.json", ""
    array = arrays(name) if folder and not name.startswith("/") and ".." not in name.split("/") else None
    if array is None:
        return LOST
    own = None if join == "row_only" else array.by_id.get(posixpath.splitext(file)[0])
    if own is not None:
        return Metadata(own, good=True)
    index = int(number) - 1 if number.isdecimal() and len(number) < 10 else -1
    row = array.rows[index] if 0 <= index < len(array.rows) else None
    # Where every row has an id, an image without one of them has no row.
    believed = join == "row_only" or (join == "row" and not array.named)
    return Metadata(row, good=True) if isinstance(row, dict) and believed else LOST
