"""CSV and TSV manifests, plain or packed: a file, or every such file of a folder."""

from collections.abc import Iterator
from typing import Any, Literal

import pyarrow as pa
from pydantic import Field

from stores.errors import DataError, mismatch
from tasks.readers.base import SourceFile, Split
from tasks.readers.images import copied
from tasks.readers.mapping import LINE, TableOptions, map_rows, resolve, template_columns
from tasks.readers.overlay import overlay
from tasks.readers.records import Record, csv_records, plain_records
from tasks.readers.tables import finished, sources, table_files

SUFFIXES = (".csv", ".tsv", ".tab")
BATCH_CHARACTERS = 32 << 20  # in one table, about


class CsvOptions(TableOptions):
    """Options of the CSV reader; the dialect is the data set's, not guessed (R3)."""

    delimiter: str | None = Field(None, min_length=1, max_length=1)  # default: tab for .tsv and .tab, else comma
    quoting: bool = True  # off: a quote is a character like any other and a line is a row
    header: bool = True  # the first row names the columns
    names: tuple[str, ...] = ()  # the columns' names, instead of or over a header
    overflow: Literal["bad_row", "join_last"] = "bad_row"  # join_last: fields too many belong to the last column


def read(path: str, options: CsvOptions) -> Iterator[pa.Table]:
    """Yield the documents of a CSV source in file order.

    Statuses: bad_row (wrong number of fields, or a quote out of place), bad_encoding, too_large, bad_file, bomb, and
    map_rows'. An empty field is a missing value; "NA" is a text. Blank lines are no rows.
    """
    return copied(read_files(path, options), path, options)


def read_files(path: str, options: CsvOptions, suffixes: tuple[str, ...] = SUFFIXES) -> Iterator[pa.Table]:
    """Yield the documents of the files with these suffixes, images as references."""
    for file, name, split in sources(path, suffixes):
        delimiter = options.delimiter or ("\t" if _suffix(name) in (".tsv", ".tab") else ",")
        maker = csv_records if options.quoting else plain_records
        batch: list[Record] = []
        held = 0
        names: list[str] | None = list(options.names) or None
        skip = options.header
        for record in maker(file, name, options, delimiter=delimiter):
            if record.fields is not None and skip:
                names, skip = names or checked_names(record.fields, record.source), False
                continue
            batch.append(record)
            held += sum(map(len, record.fields or ()))
            if len(batch) == options.batch_rows or held > BATCH_CHARACTERS:
                yield from finished(_table(batch, names, options, split, where=name), name, options)
                batch, held = [], 0
        if batch:
            yield from finished(_table(batch, names, options, split, where=name), name, options)


def _suffix(name: str) -> str:
    stem = name.lower()
    for packed in (".gz", ".bz2", ".zst", ".zip"):
        stem = stem.removesuffix(packed)
    return stem[stem.rfind(".") :] if "." in stem else ""


def checked_names(fields: list[str], where: str) -> list[str]:
    """Return the header's column names; DataError when two are the same."""
    names = [field.strip() for field in fields]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(mismatch(f"header at {where}", "names that differ", twice, "name the columns with `names`"))
    return names


def _table(
    batch: list[Record], names: list[str] | None, options: CsvOptions, split: Split | None, *, where: str
) -> pa.Table:
    """Map the records of a batch; those with a wrong number of fields keep their place and their id."""
    if names is None:
        if options.header:
            cure = "mend the first line, or set header: false and name the columns with `names`"
            raise DataError(mismatch(f"header of {where}", "column names", batch[0].slug, cure))
        names = [str(index) for index in range(max(len(record.fields or []) for record in batch))]
    roles = resolve(options, names, where=where)
    width = len(names)
    fields = [fitted(record, width, options) for record in batch]
    slugs = [
        "bad_row" if row.slug == "ok" and good is None else row.slug for row, good in zip(batch, fields, strict=True)
    ]
    bad = [slug != "ok" for slug in slugs]
    blank = [""] * width
    values = list(
        zip(*[blank if is_bad or good is None else good for is_bad, good in zip(bad, fields, strict=True)], strict=True)
    )
    wanted = {name for column in roles.values() for name in template_columns(column)} | set(options.tabular)
    columns: dict[str, Any] = {name: list(values[names.index(name)]) for name in wanted - {LINE}}
    if roles["id"] != LINE:
        for index in (index for index, is_bad in enumerate(bad) if is_bad):
            columns[roles["id"]][index] = record_id(batch[index], names, roles["id"])
    return overlay(map_rows(columns, [record.source for record in batch], options, roles, split=split), slugs, bad)


def fitted(record: Record, width: int, options: CsvOptions) -> list[str] | None:
    """Return the record's fields when there are as many as columns, after `overflow`; else None."""
    fields = record.fields
    if fields is None or len(fields) < width:
        return None
    if len(fields) > width and options.overflow == "join_last" and record.slug == "ok":
        return [*fields[: width - 1], record.delimiter.join(fields[width - 1 :])]
    return fields if len(fields) == width else None


def record_id(record: Record, names: list[str], column: str) -> str | None:
    """Return the id of a bad record: its first field when ids stand first and the field is whole; else None."""
    fields = record.fields
    if fields is None:
        fields = record.head.split(record.delimiter)
    told = bool(names) and names[0] == column and (len(fields) > 1 or len(names) == 1)
    return fields[0].strip('"') if told and fields[0] and "\ufffd" not in fields[0] else None


def files(path: str, options: CsvOptions) -> list[SourceFile]:
    """List the manifests and the images beside them."""
    return table_files(path, options, SUFFIXES)
