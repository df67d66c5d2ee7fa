"""Bad rows between good ones, in their place."""

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from tasks.readers.base import Split, faults
from tasks.readers.mapping import LINE, TableOptions, map_rows, template_columns


def map_objects(
    rows: Sequence[Mapping[str, Any] | None],
    slugs: list[str],
    places: list[str],
    ids: Sequence[str | None],
    options: TableOptions,
    roles: Mapping[str, str],
    *,
    split: Split | None,
) -> pa.Table:
    """Map rows that are objects; a row that is None keeps its place with its slug and what `ids` tells."""
    names = {name for column in roles.values() for name in template_columns(column)} | set(options.tabular)
    columns = {name: [row.get(name) if row else None for row in rows] for name in names - {LINE}}
    bad = [row is None for row in rows]
    if roles["id"] != LINE:
        for index in (index for index, is_bad in enumerate(bad) if is_bad):
            columns[roles["id"]][index] = ids[index]
    return overlay(map_rows(columns, places, options, roles, split=split), slugs, bad)


def overlay(table: pa.Table, slugs: list[str], bad: list[bool]) -> pa.Table:
    """Replace the rows where `bad` by rows that hold their id, source and slug alone."""
    if not any(bad):
        return table
    pieces, start = [], 0
    ids, places = table["id"].to_pylist(), table["source"].to_pylist()
    for index in [index for index, is_bad in enumerate(bad) if is_bad]:
        fault = faults([places[index]], [slugs[index]], [ids[index]])
        extra = {field.name: pa.nulls(1, field.type) for field in table.schema if field.name not in fault.column_names}
        for name, nulls in extra.items():
            fault = fault.append_column(name, nulls)
        pieces += [table.slice(start, index - start), fault]
        start = index + 1
    return pa.concat_tables([*pieces, table.slice(start)]).combine_chunks()
