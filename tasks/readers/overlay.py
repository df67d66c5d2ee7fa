"""Bad rows between good ones, in their place."""

import pyarrow as pa

from tasks.readers.base import faults


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
