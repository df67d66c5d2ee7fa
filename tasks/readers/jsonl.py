"""JSON lines, one document a line, plain or packed: a file, or every such file of a folder."""

import json
import re
from collections.abc import Iterator
from typing import Any

import orjson
import pyarrow as pa

from tasks.readers.base import SourceFile, Split, faults
from tasks.readers.images import copied
from tasks.readers.mapping import LINE, TableOptions, resolve
from tasks.readers.overlay import map_objects
from tasks.readers.streams import Block, file_blocks, text_lines
from tasks.readers.tables import finished, sources, table_files

SUFFIXES = (".jsonl", ".ndjson", ".json", ".json.txt")


class JsonlOptions(TableOptions):
    """Options of the JSON lines reader."""


def read(path: str, options: JsonlOptions) -> Iterator[pa.Table]:
    """Yield the documents of a JSON lines source in file order.

    Statuses: bad_json, bad_row (a line that is no object), bad_encoding, too_large, bad_file, bomb, and map_rows'.
    Blank lines are no rows.
    """
    return copied(read_files(path, options), path, options)


def read_files(path: str, options: JsonlOptions, suffixes: tuple[str, ...] = SUFFIXES) -> Iterator[pa.Table]:
    """Yield the documents of the files with these suffixes, images as references."""
    roles: dict[str, str] | None = None
    seen: set[str] = set()
    for file, name, split in sources(path, suffixes):
        for member, block in file_blocks(file, options, options.encoding):
            where = f"{name}/{member}" if member else name
            rows, slugs, places, heads = parse_block(block, where, options)
            keys = {key for row in rows if row for key in row}
            if keys - seen:
                # Lines may lack what later ones have: a role that is once found stays, others may still turn up.
                seen |= keys
                roles = {**resolve(options, sorted(seen), where=where), **(roles or {})}
            if rows:
                yield from finished(_table(rows, slugs, places, heads, options, roles, split), name, options)


def parse_block(block: Block, where: str, options: TableOptions) -> tuple[list[Any], list[str], list[str], list[str]]:
    """Return the rows of a block (None where there is no object), their slugs, places and the text of bad lines."""
    if block.fault:
        head = block.data.decode("utf-8", "replace")
        return [None], [block.fault], [f"{where}:{block.first}"], [head]
    if block.data.isspace():
        return [], [], [], []
    rows, slugs, places, heads = [], [], [], []
    for number, (line, broken) in enumerate(zip(*text_lines(block), strict=True), block.first):
        if not line or line.isspace():
            continue
        row, slug = parse_line(line)
        if broken and options.encoding_errors == "mark":
            row, slug = None, "bad_encoding"
        rows.append(row)
        slugs.append(slug)
        places.append(f"{where}:{number}")
        heads.append("" if row is not None else line)
    return rows, slugs, places, heads


def parse_line(line: str) -> tuple[dict[str, Any] | None, str]:
    """Return (object, "ok"), or (None, slug). Whole numbers keep every digit (R1, R2)."""
    try:
        row = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None, "bad_json"
    if not isinstance(row, dict):
        return None, "bad_row"
    if float in map(type, row.values()):
        # orjson turns whole numbers over 64 bits, and 1.0, into floats: an id would be another one
        try:
            row = {**row, **json.loads(line, parse_int=str, parse_float=str)}
        except (ValueError, RecursionError):  # deeper than Python's parser goes
            return None, "bad_json"
    return row, "ok"


def _table(
    rows: list[Any],
    slugs: list[str],
    places: list[str],
    heads: list[str],
    options: JsonlOptions,
    roles: dict[str, str] | None,
    split: Split | None,
) -> pa.Table:
    """Map the good rows, fill the bad ones in between with what can be told of them."""
    key = (roles or {}).get("id", "id")
    ids = [line_id(head, key, where) if head else None for head, where in zip(heads, places, strict=True)]
    if roles is None:
        return faults(places, slugs, ids)
    return map_objects(rows, slugs, places, ids, options, roles, split=split)


def line_id(line: str, key: str, where: str) -> str | None:
    """Return the id of a line that is no JSON, when `"key": value` still stands in it; None when it cannot be told."""
    if key == LINE:
        return where
    found = re.search(rf'"{re.escape(key)}"\s*:\s*("(?:[^"\\]|\\.)*"|-?\d+)\s*[,}}]', line[:65536])
    if not found:
        return None
    token = found.group(1)
    if not token.startswith('"'):
        return token
    try:
        value = str(orjson.loads(token))
    except orjson.JSONDecodeError:
        return None
    return None if "\ufffd" in value else value


def files(path: str, options: JsonlOptions) -> list[SourceFile]:
    """List the manifests and the images beside them."""
    return table_files(path, options, SUFFIXES)
