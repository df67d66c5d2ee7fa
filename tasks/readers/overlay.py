"""Bad rows between good ones, in their place."""

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from fuseline.stores.schemas import DOCUMENTS
from fuseline.tasks.readers.base import mark


def overlay(table: pa.Table, slugs: Sequence[str], bad: Sequence[bool]) -> pa.Table:
    """Give the rows where `bad` their slug, and leave them nothing but id and source."""
    if not any(bad):
        return table
    rows = pa.array(bad, pa.bool_())
    status = pc.if_else(rows, pa.array(slugs, pa.string()), table["status"])
    index = table.schema.get_field_index("status")
    # a bad row has no fields yet, and `mark` would keep a slug that states only that
    cleared = table.set_column(index, DOCUMENTS.field("status"), pc.if_else(rows, "ok", table["status"]))
    return mark(cleared, rows, status)
