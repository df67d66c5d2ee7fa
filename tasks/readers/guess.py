"""Which reader a source is for and what its columns hold: each is tried on the first rows."""

from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from fuseline.stores.errors import ConfigError, FuselineError, mismatch
from fuseline.tasks.readers import READERS
from fuseline.tasks.readers.base import BAD_SPLIT
from fuseline.tasks.readers.image_archive import archives_beside
from fuseline.tasks.readers.mapping import LINE, OBVIOUS, TEXTS, TableOptions
from fuseline.tasks.readers.places import source_names
from fuseline.tasks.readers.products import PRESETS

ROWS = 256  # looked at
MORE = 16  # times as many are looked through where none of them has a label
FILLED = 0.5  # share of the rows with a label from which on a column of labels is taken before others
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
    options: dict[str, object]  # those that it needs here
    columns: list[str]  # of a table; [] elsewhere
    sample: pa.Table  # first documents
    tabular: dict[str, str]  # columns without a role: number or category


class Survey(NamedTuple):
    """What the rows of a source hold."""

    first: pa.Table  # labels, num_* and cat_* of the first documents
    documents: int
    images: int  # documents that refer to an image
    whole: bool  # whether these are all documents
    odd_splits: int = 0  # documents whose split has a name that is none of ours


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
    bare: Guess | None = None
    for name, options, share in _attempts(path):
        if reader not in (None, name) or (bare is not None and reader is None and name not in TABLES):
            continue
        try:
            sample = _sample(path, name, options)
        except FuselineError as error:
            cure = cure if reader is None else str(error)
            continue
        fits = _fits(sample, share) and ("images" not in options or _holds_images(sample))
        if (fits and not _is_bare(sample)) or (reader is not None and fits):
            return _guess(path, name, options, sample)
        # Images alone give way to a table that speaks of them.
        if bare is None and (fits or (reader is not None and len(sample))):
            bare = _guess(path, name, options, sample)
    if bare is not None:
        return bare
    raise ConfigError(mismatch(f"source {path}", "documents for a reader", there, cure))


def _guess(path: str, name: str, options: dict[str, Any], sample: pa.Table) -> Guess:
    options, sample = _in_archive(path, name, options, sample)
    columns = _columns(path, name, options)
    return Guess(name, options, columns, sample, _tabular(path, name, options, columns))


def answered(path: str, guessed: Guess, columns: dict[str, str]) -> Guess:
    """Return a guess with other columns in the roles, its sample read again; ConfigError for one that is not there."""
    options = {name: value for name, value in guessed.options.items() if name != "images"} | {"columns": columns}
    if isinstance(images := guessed.options.get("images"), dict) and images["archive"].endswith(".parquet"):
        options["images"] = images  # else it would be read as a table
    return _guess(path, guessed.reader, options, _sample(path, guessed.reader, options))


def survey(path: str, guessed: Guess, *, looked_at: int, counted: int) -> Survey:
    """Read a source on: columns and labels of its first documents, and how many there are, up to a limit."""
    tabular = {"tabular": guessed.tabular} if guessed.tabular else {}
    options = READERS[guessed.reader].options(**{**guessed.options, **tabular, "watch_images": False})
    first, documents, images, odd = list[pa.Table](), 0, 0, 0
    for table in READERS[guessed.reader].read(path, options):
        if documents < looked_at:
            first.append(table.select(["labels", *(n for n in table.column_names if n.startswith(("num_", "cat_")))]))
        documents += len(table) - table["id"].null_count
        images += len(table) - table["image"].null_count
        odd += pc.sum(pc.equal(table["status"], BAD_SPLIT)).as_py() or 0
        if documents >= counted:
            break
    rows = pa.concat_tables(first, promote_options="default") if first else pa.table({"labels": []})
    return Survey(rows, documents, images, documents < counted, odd)


def _in_archive(path: str, name: str, options: dict[str, Any], sample: pa.Table) -> tuple[dict[str, Any], pa.Table]:
    """Return the options with the archive that holds the images of the rows, where one lies beside the table."""
    if name not in TABLES or not pc.any(pc.struct_field(sample["image"], "uri").is_valid()).as_py():
        return options, sample
    for archive in () if "images" in options else archives_beside(path):
        within = {**options, "images": {"archive": archive}}
        with suppress(FuselineError):
            found = _sample(path, name, within)
            if _holds_images(found):
                return within, found
    return options, sample


def _holds_images(sample: pa.Table) -> bool:
    """Return whether the image of any row lies in an archive."""
    held = pc.or_(*(pc.struct_field(sample["image"], part).is_valid() for part in ("offset", "bytes")))
    return bool(pc.any(held).as_py())


def has_labels(sample: pa.Table) -> bool:
    """Return whether any of these documents has a label."""
    return bool(pc.sum(pc.list_value_length(sample["labels"])).as_py())


def _attempts(path: str) -> Iterator[tuple[str, dict[str, Any], float]]:
    """Yield (reader, options, share of labelled rows that proves that they are right), the most special first."""
    some = 1 / (2 * ROWS)
    for name in ONE_LAYOUT:
        yield from ((name, one, 0.0) for one in ([{"preset": p} for p in PRESETS] if name == "products" else [{}]))
    known = {*ONE_LAYOUT, *TABLES, *FOLDERS, *BY_NAME_ALONE, "fasttext"}
    yield from ((name, {}, some) for name in (*sorted(READERS.keys() - known), "food101"))
    for name in TABLES:
        with suppress(FuselineError):
            # read as one table with the documents, a file of images would be an odd part of it
            stored = [one for one in archives_beside(path) if one.endswith(".parquet")] if name == "parquet" else []
            for given in (*({"images": {"archive": one}} for one in stored), {}):
                yield from _table_attempts(path, name, given)
    yield "fasttext", {}, some
    yield from ((name, {}, 0.0) for name in (*reversed(FOLDERS), *BY_NAME_ALONE))


def _table_attempts(path: str, name: str, given: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any], float]]:
    if columns := _columns(path, name, given):
        roles, labels = _roles(columns), _label_columns(columns)
        if len(labels) > 1:
            yield from ((name, {"columns": {**roles, "labels": column}, **given}, FILLED) for column in labels)
        yield name, {"columns": roles, **given}, 0.0


def _label_columns(columns: list[str]) -> list[str]:
    """Return the columns whose names say that they hold labels, the likeliest first."""
    by_name = {column.lower(): column for column in reversed(columns)}
    return [by_name[name] for name in (*OBVIOUS["labels"], *LIKELY["labels"]) if name in by_name]


def _roles(columns: list[str]) -> dict[str, str]:
    """Return the column of each role that a name suggests; without an id, rows are known by their place."""
    by_name = {column.lower(): column for column in reversed(columns)}
    roles: dict[str, str] = {}
    for role, obvious in OBVIOUS.items():
        for name in (*obvious, *LIKELY.get(role, ())):
            if name in by_name and by_name[name] not in roles.values():
                roles.setdefault(role, by_name[name])
    return {"id": LINE, **roles}


def is_named(role: str, column: str) -> bool:
    """Return whether the name of a column suggests a role."""
    return column.lower() in (*OBVIOUS.get(role, ()), *LIKELY.get(role, ()))


def _columns(path: str, name: str, given: dict[str, Any]) -> list[str]:
    """Return the names of a table's columns; of the options, where its images lie counts."""
    columns, options = READERS[name].columns, READERS[name].options
    images = {key: value for key, value in given.items() if key == "images"}
    return [] if columns is None else columns(path, options(**images))


def _sample(path: str, name: str, options: dict[str, Any]) -> pa.Table:
    entry = READERS[name]
    try:
        parsed = entry.options(**options, batch_rows=ROWS, watch_images=False)
    except ValueError as error:  # it needs options that cannot be guessed
        raise ConfigError(mismatch(f"reader {name}", "no option that it must be given", options, str(error))) from error
    tables = iter(entry.read(path, parsed))
    first = list(islice(tables, 2))
    if not first:
        return pa.table({"status": []})
    sample = pa.concat_tables(first, promote_options="default").slice(0, ROWS)
    later = [] if has_labels(sample) else [table for table in islice(tables, MORE) if has_labels(table)][:1]
    return pa.concat_tables([sample, *later], promote_options="default")


def _fits(sample: pa.Table, share: float) -> bool:
    """Return whether at least half of the rows are good and, of the first ones, at least a share has a label."""
    if not len(sample):
        return False
    good = pc.sum(pc.equal(sample["status"], "ok")).as_py() or 0
    first = sample.slice(0, ROWS)
    labelled = pc.sum(pc.greater(pc.list_value_length(first["labels"]), 0)).as_py() or 0
    return bool(good * 2 >= len(sample) and labelled >= share * len(first))


def _is_bare(sample: pa.Table) -> bool:
    """Return whether rows have neither text nor label."""
    return not has_labels(sample) and all(sample[name].null_count == len(sample) for name in TEXTS)


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
