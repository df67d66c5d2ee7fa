"""JSON lines, one document a line, plain or packed: a file, or every such file of a folder."""

from collections.abc import Iterator
from typing import ClassVar

import pyarrow as pa

from fuseline.tasks.readers.base import SourceFile, SourceFormat, Split, faults
from fuseline.tasks.readers.image_files import copied
from fuseline.tasks.readers.json_objects import Objects, parse_block
from fuseline.tasks.readers.manifests import finished, sources, table_files
from fuseline.tasks.readers.mapping import LINE, TableOptions, as_text, check_ids, map_rows, resolve, template_columns
from fuseline.tasks.readers.overlay import overlay
from fuseline.tasks.readers.strays import stray_images
from fuseline.tasks.readers.streams import file_blocks

SUFFIXES = (".jsonl", ".ndjson", ".json", ".json.txt")
LOOKS_FOR = "*.jsonl, *.ndjson, *.json; each may be packed"


class JsonlOptions(TableOptions):
    """Options of the JSON lines reader."""

    archived: ClassVar[bool] = True


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
    for file, name, split in sources(path, suffixes, options):
        for member, block in file_blocks(file, options, options.encoding):
            where = f"{name}/{member}" if member else name
            objects = parse_block(block, where, options)
            keys = objects.keys()
            if keys - seen:
                # Lines may lack what later ones have: a role once resolved stays, others may still turn up.
                seen |= keys
                roles = {**resolve(options, sorted(seen), where=where), **(roles or {})}
            if objects.rows:
                yield from finished(_table(objects, options, roles, split), name, options)


def columns(path: str, options: JsonlOptions) -> list[str]:
    """Return the keys of the objects in the first block of lines, in the order in which they occur."""
    for file, name, _ in sources(path, SUFFIXES, options):
        for _, block in file_blocks(file, options, options.encoding):
            return list(dict.fromkeys(key for row in parse_block(block, name, options).rows for key in row or ()))
    return []


def _table(objects: Objects, options: JsonlOptions, roles: dict[str, str] | None, split: Split | None) -> pa.Table:
    """Map the good rows, keep the bad ones in between with what can be read of them."""
    if roles is None:
        key = options.columns.get("id", "id")
        ids = objects.places if key == LINE else as_text(objects.ids(key))[0]
        return check_ids(faults(objects.places, objects.slugs, ids))
    names = {name for column in roles.values() for name in template_columns(column)} | set(options.tabular)
    numbers = {name for name, kind in options.tabular.items() if kind == "number"} - set(roles.values())
    columns = {name: objects.column(name, digits=name not in numbers) for name in names - {roles["id"], LINE}}
    if roles["id"] != LINE:
        columns[roles["id"]] = objects.ids(roles["id"])
    return overlay(map_rows(columns, objects.places, options, roles, split=split), objects.slugs, objects.bad)


def files(path: str, options: JsonlOptions) -> Iterator[SourceFile]:
    """List the manifests and the images beside them."""
    return table_files(path, options, SUFFIXES)


findings = stray_images


FORMAT = SourceFormat(
    "jsonl", "JSON lines, one document a line", JsonlOptions, read, files,
    findings=findings, looks_for=LOOKS_FOR, columns=columns,
)  # fmt: skip
