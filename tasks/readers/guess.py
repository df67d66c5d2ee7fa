"""Which reader a source is for and what its columns hold: each is tried on the first rows."""

from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from fuseline.stores.errors import ConfigError, FuselineError, mismatch
from fuseline.tasks.readers import READERS
from fuseline.tasks.readers.mapping import LINE, OBVIOUS, TableOptions
from fuseline.tasks.readers.places import source_names
from fuseline.tasks.readers.products import PRESETS

ROWS = 256  # looked at
# What reads nearly everything comes after what reads one layout; those left out have no layout of their own.
ONE_LAYOUT = ("webvision", "yfcc", "petfinder", "pitt_ads", "mmimdb", "products", "img2dataset", "webdataset")
TABLES = ("parquet", "jsonl", "csv")
FOLDERS = ("food101", "imagefolder")
BY_NAME_ALONE = ("flickrtag", "ads_parallelity")
# Names that likely play a role, beside the obvious ones; compared without case.
LIKELY = {
    "id": ("sku", "uid", "uuid", "guid", "doc_id", "document_id", "item_id", "product_id"),
    "title": ("name", "headline", "product_name"),
    "text": ("body", "content", "sentence", "review"),
    "image": ("photo", "picture", "filename", "image_file", "image_name"),
    "labels": ("category", "class", "target", "genres"),
}


class Guess(NamedTuple):
    """A reader that understands a source."""

    reader: str
    options: dict[str, Any]  # those that it needs here
    columns: list[str]  # of a table; [] elsewhere
    sample: pa.Table  # first documents
    tabular: dict[str, str]  # columns without a role: number or category


def guess(path: str, reader: str | None = None) -> Guess:
    """Return the reader that makes documents of a source, with the options that it needs.

    Args:
        path: file, folder or URL.
        reader: take this one; by default the first that reads at least half of the first rows.

    Raises:
        ConfigError: there is no such reader, or none that reads this source.
    """
    if reader is not None and reader not in READERS:
        raise ConfigError(mismatch("--reader", sorted(READERS), reader, "`fuseline list readers` describes them"))
    there = source_names(path, 5)
    cure = "name one with --reader; `fuseline list readers` shows them"
    if reader is not None:
        cure = f"reader {reader} looks for {READERS[reader].looks_for or 'other files'}"
    for name, options, labelled in _attempts(path):
        if reader not in (None, name):
            continue
        try:
            sample = _sample(path, name, options)
        except FuselineError as error:
            cure = cure if reader is None else str(error)
            continue
        if _fits(sample, labelled=labelled and reader is None) or (reader is not None and len(sample)):
            columns = _columns(path, name)
            return Guess(name, options, columns, sample, _tabular(path, name, options, columns))
    raise ConfigError(mismatch(f"source {path}", "documents for a reader", there, cure))


def has_labels(sample: pa.Table) -> bool:
    """Return whether any of these documents has a label."""
    return bool(pc.sum(pc.list_value_length(sample["labels"])).as_py())


def _attempts(path: str) -> Iterator[tuple[str, dict[str, Any], bool]]:
    """Yield (reader, options, whether labels prove that it is the right one), the most special first."""
    for name in ONE_LAYOUT:
        yield from ((name, one, False) for one in ([{"preset": p} for p in PRESETS] if name == "products" else [{}]))
    known = {*ONE_LAYOUT, *TABLES, *FOLDERS, *BY_NAME_ALONE, "fasttext"}
    yield from ((name, {}, True) for name in (*sorted(READERS.keys() - known), "food101"))
    for name in TABLES:
        with suppress(FuselineError):
            if columns := _columns(path, name):
                yield name, {"columns": _roles(columns)}, False
    yield "fasttext", {}, True
    yield from ((name, {}, False) for name in (*reversed(FOLDERS), *BY_NAME_ALONE))


def _roles(columns: list[str]) -> dict[str, str]:
    """Return the column of each role that a name tells; without an id, rows are known by their place."""
    by_name = {column.lower(): column for column in reversed(columns)}
    roles: dict[str, str] = {}
    for role, obvious in OBVIOUS.items():
        for name in (*obvious, *LIKELY.get(role, ())):
            if name in by_name and by_name[name] not in roles.values():
                roles.setdefault(role, by_name[name])
    return {"id": LINE, **roles}


def _columns(path: str, name: str) -> list[str]:
    columns, options = READERS[name].columns, READERS[name].options
    return [] if columns is None else columns(path, options())


def _sample(path: str, name: str, options: dict[str, Any]) -> pa.Table:
    entry = READERS[name]
    try:
        parsed = entry.options(**options, batch_rows=ROWS, watch_images=False)
    except ValueError as error:  # it needs options that nobody can guess
        raise ConfigError(mismatch(f"reader {name}", "no option that it must be given", options, str(error))) from error
    tables = list(islice(entry.read(path, parsed), 2))
    return pa.concat_tables(tables, promote_options="default").slice(0, ROWS) if tables else pa.table({"status": []})


def _fits(sample: pa.Table, *, labelled: bool) -> bool:
    good = pc.sum(pc.equal(sample["status"], "ok")).as_py() or 0 if len(sample) else 0
    return good * 2 >= len(sample) > 0 and not (labelled and not has_labels(sample))


def _tabular(path: str, name: str, options: dict[str, Any], columns: list[str]) -> dict[str, str]:
    """Return the columns that no role takes: numbers, and categories of few values."""
    if not issubclass(READERS[name].options, TableOptions):
        return {}
    free = [column for column in columns if column not in options.get("columns", {}).values()]
    sample = _sample(path, name, {**options, "tabular": dict.fromkeys(free, "category")})
    kinds = {}
    for column in free:
        values = sample[f"cat_{column}"].drop_null().to_pylist()
        if values and all(map(_is_number, values)):
            kinds[column] = "number"
        elif values and len(set(values)) <= max(2, len(values) // 2):
            kinds[column] = "category"
    return kinds


def _is_number(value: str) -> bool:
    try:
        float(value)
    except ValueError:
        return False
    return True
