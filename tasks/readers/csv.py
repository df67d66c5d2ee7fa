"""CSV and TSV manifests, plain or packed: a file, or every such file of a folder."""

from collections.abc import Iterator
from typing import ClassVar, Literal

import pyarrow as pa
from pydantic import Field

from fuseline.stores.errors import DataError, mismatch
from fuseline.tasks.readers.base import SourceFile, SourceFormat, Split, faults
from fuseline.tasks.readers.image_files import copied
from fuseline.tasks.readers.manifests import finished, sources, table_files
from fuseline.tasks.readers.mapping import LINE, TableOptions, map_rows, resolve, template_columns
from fuseline.tasks.readers.overlay import overlay
from fuseline.tasks.readers.places import Place
from fuseline.tasks.readers.records import Records, columns_of, csv_records, plain_records
from fuseline.tasks.readers.strays import stray_images

SUFFIXES = (".csv", ".tsv", ".tab")
LOOKS_FOR = "*.csv, *.tsv, *.tab; each may be packed"


class CsvOptions(TableOptions):
    """Options of the CSV reader; the dialect is the data set's, not guessed (R3)."""

    archived: ClassVar[bool] = True

    delimiter: str | None = Field(
        None,
        min_length=1,
        max_length=1,
        description="Character between fields; default: a tab for .tsv and .tab, else a comma",
    )
    quoting: bool = Field(
        True,
        description="Whether quotes enclose fields; if not, a quote is a character like any other and a line is a row",
    )
    header: bool = Field(True, description="Whether the first row names the columns")
    names: tuple[str, ...] = Field((), description="Names of the columns, instead of or over a header")
    overflow: Literal["bad_row", "join_last"] = Field(
        "bad_row", description="What a row with too many fields is: marked bad_row, or joined into the last column"
    )


def read(path: str, options: CsvOptions) -> Iterator[pa.Table]:
    """Yield the documents of a CSV source in file order.

    Statuses: bad_row (wrong number of fields, or a quote out of place), bad_encoding, too_large, bad_file, bomb, and
    map_rows'. An empty field is a missing value; "NA" is a text. Blank lines are no rows.
    """
    return copied(read_files(path, options), path, options)


def read_files(path: str, options: CsvOptions, suffixes: tuple[str, ...] = SUFFIXES) -> Iterator[pa.Table]:
    """Yield the documents of the files with these suffixes, images as references."""
    for file, name, split in sources(path, suffixes, options):
        delimiter, where, names = _delimiter(name, options), "", None
        for batch in _records(file, name, options):
            if batch.where != where:  # each file in a zip has its own header
                where, names = batch.where, None
            if names is None:
                names, batch = told_names(batch, options)
            if not batch.lines:
                continue
            if names is None:
                yield faults(batch.sources, batch.slugs)
            else:
                yield from finished(_table(batch, names, options, split, delimiter), name, options)


def columns(path: str, options: CsvOptions) -> list[str]:
    """Return the columns' names of the first file that has any; [] when none has."""
    batches = (batch for file, name, _ in sources(path, SUFFIXES, options) for batch in _records(file, name, options))
    return next((names for batch in batches if (names := told_names(batch, options)[0])), [])


def _records(file: Place, name: str, options: CsvOptions) -> Iterator[Records]:
    maker = csv_records if options.quoting else plain_records
    return maker(file, name, options, delimiter=_delimiter(name, options))


def _delimiter(name: str, options: CsvOptions) -> str:
    return options.delimiter or ("\t" if _suffix(name) in (".tsv", ".tab") else ",")


def told_names(batch: Records, options: CsvOptions) -> tuple[list[str] | None, Records]:
    """Return the columns' names, None where no record could be parsed, and the records without the header."""
    first = batch.first_whole()
    if first is None:
        return None, batch
    fields = batch.fields[first] or []
    if not options.header:
        return list(options.names) or [str(index) for index in range(len(fields))], batch
    return list(options.names) or checked_names(fields, f"{batch.where}:{batch.lines[first]}"), batch.without(first)


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


def _table(batch: Records, names: list[str], options: CsvOptions, split: Split | None, delimiter: str) -> pa.Table:
    """Map the records of a batch; those with a wrong number of fields keep their place and their id."""
    roles = resolve(options, names, where=batch.where)
    overflow = delimiter if options.overflow == "join_last" else None
    columns, slugs = columns_of(batch, names, overflow=overflow)
    wanted = {name for column in roles.values() for name in template_columns(column)} | set(options.tabular)
    chosen = {name: columns[name] for name in wanted - {LINE}}
    bad = [slug != "ok" for slug in slugs]
    if roles["id"] != LINE and any(bad):
        ids = [told_id(batch, row, names, roles["id"], delimiter) if is_bad else None for row, is_bad in enumerate(bad)]
        chosen[roles["id"]] = [own or given for own, given in zip(ids, chosen[roles["id"]], strict=True)]
    return overlay(map_rows(chosen, batch.sources, options, roles, split=split), slugs, bad)


def told_id(batch: Records, row: int, names: list[str], column: str, delimiter: str) -> str | None:
    """Return the id of a bad record: its first field when ids stand first and the field is whole; else None."""
    fields = batch.fields[row]
    if fields is None:
        fields = batch.heads[row].split(delimiter)
    quoted = bool(names) and names[0] == column and (len(fields) > 1 or len(names) == 1)
    return fields[0].strip('"') if quoted and fields[0] and "\ufffd" not in fields[0] else None


def files(path: str, options: CsvOptions) -> Iterator[SourceFile]:
    """List the manifests and the images beside them."""
    return table_files(path, options, SUFFIXES)


findings = stray_images


FORMAT = SourceFormat(
    "csv", "CSV and TSV manifests", CsvOptions, read, files,
    findings=findings, looks_for=LOOKS_FOR, columns=columns,
)  # fmt: skip
