"""Bad rows between good ones, in their place."""

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from stores.schemas import DOCUMENTS
from tasks.readers.base import Split, mark
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
    """Give the rows where `bad` their slug, and leave them nothing but id and source."""
    if not any(bad):
        return table
    rows = pa.array(bad, pa.bool_())
    status = pc.if_else(rows, pa.array(slugs, pa.string()), table["status"])
    index = table.schema.get_field_index("status")
    # a bad row has no fields yet, and `mark` would keep a slug that says only that
    cleared = table.set_column(index, DOCUMENTS.field("status"), pc.if_else(rows, "ok", table["status"]))
    return mark(cleared, rows, status)
