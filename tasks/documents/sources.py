"""Position of a document in its source: one text as readers give it, file and row apart as datasets hold it."""

import pyarrow as pa
import pyarrow.compute as pc

from fuseline.stores.schemas import INGESTED

SOURCE = ("source_file", "source_row")
# "file:row", of a reader that counts rows; a member of an archive ("a.tar:b.jpg") is never a number alone.
_NUMBERED = r"(?s)^(?P<file>.*):(?P<row>[0-9]{1,18})$"


def split_source(table: pa.Table) -> pa.Table:
    """Return a reader's rows with `source_file` and `source_row` in place of `source`."""
    at, source = table.schema.get_field_index("source"), table["source"]
    groups = pc.extract_regex(source, _NUMBERED)
    file = pc.coalesce(pc.struct_field(groups, "file"), source)
    row = pc.struct_field(groups, "row").cast(pa.int64())
    parts = table.remove_column(at).add_column(at, INGESTED.field("source_file"), file)
    return parts.add_column(at + 1, INGESTED.field("source_row"), row)


def source_text(table: pa.Table) -> pa.ChunkedArray:
    """Return "file" or "file:row" for each row of `source_file` and `source_row`, (n,) string."""
    numbered = pc.binary_join_element_wise(table["source_file"], table["source_row"].cast(pa.string()), ":")
    return pc.coalesce(numbered, table["source_file"])
