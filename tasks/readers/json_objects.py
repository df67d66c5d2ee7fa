"""Lines that are JSON objects: parsed a block at a time, each bad line in its place, numbers with every digit."""

import json
import re
from collections.abc import Sequence
from operator import itemgetter
from typing import Any, NamedTuple

import orjson
import pyarrow as pa

from fuseline.tasks.readers.base import numbered
from fuseline.tasks.readers.mapping import TableOptions
from fuseline.tasks.readers.streams import LineBlock, text_lines


class Objects(NamedTuple):
    """Some lines of a file; blank ones are left out."""

    rows: list[dict[str, Any] | None]  # None where a line is no object
    lines: Sequence[str | bytes]  # their text, for what the parser does not keep
    places: pa.Array  # "file:line"
    slugs: list[str]

    @property
    def bad(self) -> list[bool]:
        """Which lines are no objects."""
        return [row is None for row in self.rows]

    def keys(self) -> set[str]:
        """Return the keys of all objects."""
        return set().union(*filter(None, self.rows))

    def column(self, name: str, *, digits: bool = True) -> list[Any]:
        """Return the values of a key, null where there is none.

        With `digits`, a value that the parser took for a float comes as it is written: 64 bits are not enough for
        some ids, and 1.0 is another text than 1 (R1, R2).
        """
        try:
            values = list(map(itemgetter(name), self.rows))  # type: ignore[arg-type]
        except (KeyError, TypeError):  # not every line is an object that has it
            values = [row.get(name) if row else None for row in self.rows]
        kinds = set(map(type, values)) if digits else set()
        if float not in kinds and list not in kinds:
            return values
        return [
            self._exact(index, name) if type(value) is float or _holds_float(value) else value
            for index, value in enumerate(values)
        ]

    def _exact(self, index: int, name: str) -> Any:
        try:
            return json.loads(self.lines[index], parse_int=str, parse_float=str)[name]
        except (ValueError, RecursionError):  # deeper than this parser goes
            self.rows[index], self.slugs[index] = None, "bad_json"
            return None

    def ids(self, key: str) -> list[Any]:
        """Return the ids, of bad lines as far as they can be read."""
        values = self.column(key)
        for index in (index for index, row in enumerate(self.rows) if row is None):
            values[index] = line_id(self.lines[index], key)
        return values


def _holds_float(value: object) -> bool:
    return type(value) is list and float in map(type, value)


def parse_block(block: LineBlock, where: str, options: TableOptions) -> Objects:
    """Parse the lines of a block.

    Statuses: bad_json, bad_row (no object), bad_encoding, and the block's fault.
    """
    if block.fault:
        head = block.data.decode("utf-8", "replace")
        return Objects([None], [head], numbered(where, [block.first]), [block.fault])
    lines = block.data.split(b"\n")
    rows = _all_objects(lines) if b"\0" not in block.data else None
    if rows is not None:
        return Objects(rows, lines, numbered(where, range(block.first, block.first + len(rows))), ["ok"] * len(rows))
    return _each(block, where, options)


def _all_objects(lines: list[bytes]) -> list[dict[str, Any] | None] | None:
    """Parse lines that are all objects, in a third of the time; None when one is not."""
    try:
        rows = list(map(orjson.loads, lines))
    except orjson.JSONDecodeError:
        return None
    return rows if set(map(type, rows)) == {dict} else None


def _each(block: LineBlock, where: str, options: TableOptions) -> Objects:
    texts, numbers, rows, slugs = [], [], [], []
    for number, (text, broken) in enumerate(zip(*text_lines(block, holes=True), strict=True), block.first):
        if not text or text.isspace():
            continue
        row, slug = parse_line(text)
        if broken and options.encoding_errors == "mark":
            row, slug = None, "bad_encoding"
        texts.append(text)
        numbers.append(number)
        rows.append(row)
        slugs.append(slug)
    return Objects(rows, texts, numbered(where, numbers), slugs)


def parse_line(line: str) -> tuple[dict[str, Any] | None, str]:
    """Return (object, "ok"), or (None, slug)."""
    try:
        row = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None, "bad_json"
    return (row, "ok") if isinstance(row, dict) else (None, "bad_row")


def line_id(line: str | bytes, key: str) -> str | None:
    """Return the id of a line that is no JSON, when `"key": value` still stands in it; None when it cannot be read."""
    head = line[:65536]
    text = head if isinstance(head, str) else head.decode("utf-8", "replace")
    match = re.search(rf'"{re.escape(key)}"\s*:\s*("(?:[^"\\]|\\.)*"|-?\d+)\s*[,}}]', text)
    if not match:
        return None
    token = match.group(1)
    if not token.startswith('"'):
        return token
    try:
        value = str(orjson.loads(token))
    except orjson.JSONDecodeError:
        return None
    return None if "\ufffd" in value else value
