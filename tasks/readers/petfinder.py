"""Kaggle PetFinder.my: CSV with quoted line breaks, several photos, sentiment JSON, tables of breeds and colours."""

import re
from collections import defaultdict
from collections.abc import Iterator
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from fuseline.tasks.readers import petfinder_findings as faults
from fuseline.tasks.readers.base import (
    Finding,
    ReaderOptions,
    Refers,
    SourceFile,
    SourceFormat,
    Split,
    documents,
    image_array,
)
from fuseline.tasks.readers.image_files import copied, is_image
from fuseline.tasks.readers.mapping import TableOptions, as_labels, as_tabular, as_text, check_ids
from fuseline.tasks.readers.overlay import overlay
from fuseline.tasks.readers.petfinder_photos import json_number, metadata_files, photo_columns
from fuseline.tasks.readers.places import Place, same_root, walk
from fuseline.tasks.readers.records import Columns, headed_columns
from fuseline.tasks.readers.sidecars import whole_json

PUBLISHED = {"train": 14_993, "test": 3_972, "labels": 5}
NUMBERS = ("Age", "Quantity", "Fee", "VideoAmt", "PhotoAmt")
TABLES = {  # columns -> the table that names their numbers
    ("Breed1", "Breed2"): ("BreedLabels", "BreedID", "BreedName"),
    ("Color1", "Color2", "Color3"): ("ColorLabels", "ColorID", "ColorName"),
    ("State",): ("StateLabels", "StateID", "StateName"),
}
CATEGORIES = ("Type", "Gender", "MaturitySize", "FurLength", "Vaccinated", "Dewormed", "Sterilized", "Health")
UNSPECIFIED = frozenset({"MaturitySize", "FurLength", "Health", "Breed1", "Breed2", "Color1", "Color2", "Color3"})
LOOKS_FOR = "train.csv and test.csv, in any folder"


class PetfinderOptions(ReaderOptions):
    """Options of the PetFinder reader."""

    photos: Literal["first", "each"] = Field(
        "first", description="first: one document per pet; each: one per photo, all of a pet in one group"
    )
    group: Literal["RescuerID", "PetID"] = Field(
        "RescuerID", description="Column of the group that never lies on both sides of a split"
    )


def read(path: str, options: PetfinderOptions) -> Iterator[pa.Table]:
    """Yield one document per pet, or per photo: AdoptionSpeed as label, 19 tabular columns and two of sentiment.

    Where the release's metadata folders are there, columns of the shown photo follow. A number 0 that stands for
    "none" or "unspecified" is null, and so are the values of an absent sentiment or metadata file.
    Statuses: bad_row, missing_id, bad_encoding, too_large, bad_file.
    """
    return copied(_read(path, options), path, options)


def _read(path: str, options: PetfinderOptions) -> Iterator[pa.Table]:
    root = same_root(path)
    names = [file.uri for file in walk(root)]
    photos, metadata, sentiments = photo_lists(names), metadata_files(names), sentiment_files(names)
    tables = label_tables(root, names, options)
    for name in names:
        split = TABLE_SPLITS.get(name.rsplit("/", 1)[-1])
        if split is None:
            continue
        for rows in _records(root / name, name, options):
            feelings = [sentiment(root, sentiments.get(pet or ""), options) for pet in rows.get("petid")]
            table = _table(rows, feelings, split, tables, options)
            for part in _photos(table, photos, options):
                shown = pc.struct_field(part["image"], "uri").to_pylist()
                yield with_columns(part, photo_columns(root, shown, metadata, options))


def with_columns(table: pa.Table, columns: dict[str, pa.Array]) -> pa.Table:
    """Return the table with columns added."""
    for name, values in columns.items():
        table = table.append_column(name, values)
    return table


def _records(file: Place, name: str, options: PetfinderOptions) -> Iterator[Columns]:
    settings = TableOptions(**{name: getattr(options, name) for name in ReaderOptions.model_fields})
    return headed_columns(file, name, settings)


def _table(
    rows: Columns,
    feelings: list[tuple[float | None, float | None]],
    split: Split,
    tables: dict[str, dict[str, str]],
    options: PetfinderOptions,
) -> pa.Table:
    def column(name: str) -> pa.Array:
        return as_text(rows.get(name.lower()))[0]

    table = documents(
        len(rows.slugs),
        id=column("PetID"),
        source=rows.sources,
        split=pa.repeat(split, len(rows.slugs)),
        group=column(options.group),
        labels=as_labels(rows.get("adoptionspeed"), TableOptions())[0],
        title=column("Name"),
        description=column("Description"),
        extra=_tabular(column, tables, feelings),
    )
    return check_ids(overlay(table, rows.slugs, rows.bad))


def _tabular(
    column: Any, tables: dict[str, dict[str, str]], feelings: list[tuple[float | None, float | None]]
) -> dict[str, pa.Array]:
    columns = {f"num_{name}": as_tabular(column(name), "number") for name in NUMBERS}
    for name in (*CATEGORIES, *tables):
        names = tables.get(name, {})
        values = [None if name in UNSPECIFIED and one == "0" else one for one in column(name).to_pylist()]
        columns[f"cat_{name}"] = pa.array(
            [names.get(one, one) if one is not None else None for one in values], pa.string()
        )
    columns["num_sentiment_score"] = pa.array([score for score, _ in feelings], pa.float64())
    columns["num_sentiment_magnitude"] = pa.array([size for _, size in feelings], pa.float64())
    return columns


def label_tables(root: Place, names: list[str], options: PetfinderOptions) -> dict[str, dict[str, str]]:
    """Return column -> {number: name} from the three tables, under either of their file names."""
    tables: dict[str, dict[str, str]] = {}
    for columns, (stem, number, text) in TABLES.items():
        wanted = stem.lower()
        file = next(
            (name for name in names if re.sub(r"[^a-z]", "", name.rsplit("/", 1)[-1].lower()).endswith(f"{wanted}csv")),
            None,
        )
        names_of: dict[str, str] = {}
        if file is not None:
            for rows in _records(root / file, file, options):
                pairs = zip(rows.get(number.lower()), rows.get(text.lower()), strict=True)
                names_of |= {one: name for one, name in pairs if one is not None and name is not None}
        tables |= dict.fromkeys(columns, names_of)
    return tables


def sentiment_files(names: list[str]) -> dict[str, str]:
    """Return PetID -> path of its JSON, of the files under train_sentiment/ and test_sentiment/."""
    paths = [name for name in names if "_sentiment/" in name and name.endswith(".json")]
    return {name.rsplit("/", 1)[-1].removesuffix(".json"): name for name in paths}


def sentiment(root: Place, name: str | None, options: PetfinderOptions) -> tuple[float | None, float | None]:
    """Return (score, magnitude) of a description; nulls when the file is absent or damaged."""
    value, _ = whole_json(root / name, options) if name is not None else (None, "missing")
    whole = value.get("documentSentiment") if isinstance(value, dict) else None
    if not isinstance(whole, dict):
        return None, None
    return json_number(whole.get("score")), json_number(whole.get("magnitude"))


def photo_lists(names: list[str]) -> dict[str, list[tuple[int, str]]]:
    """Return PetID -> [(k, path)] in the order of k, which starts at 1 and may have gaps."""
    photos: dict[str, list[tuple[int, str]]] = defaultdict(list)
    for name in names:
        pet, dash, digits = name.rsplit("/", 1)[-1].rpartition(".")[0].rpartition("-")
        if dash and digits.isdecimal() and is_image(name):
            photos[pet].append((int(digits), name))
    return {pet: sorted(paths) for pet, paths in photos.items()}


def _photos(table: pa.Table, photos: dict[str, list[tuple[int, str]]], options: PetfinderOptions) -> Iterator[pa.Table]:
    """Give each pet its first photo, or repeat its row for each photo as PetID-k."""
    ids = table["id"].to_pylist()
    good = [status == "ok" for status in table["status"].to_pylist()]
    lists = [photos.get(pet, []) if fine else [] for pet, fine in zip(ids, good, strict=True)]
    if options.photos == "first":
        lists = [some[:1] for some in lists]
    rows = [row for row, some in enumerate(lists) for _ in (some or [None])]  # type: ignore[list-item]
    shown = [one for some in lists for one in (some or [None])]  # type: ignore[list-item]
    table = table.take(pa.array(rows, pa.int64()))
    images = image_array([one[1] if one else None for one in shown])
    table = table.set_column(table.schema.get_field_index("image"), table.schema.field("image"), images)
    if options.photos == "each":
        named = [f"{ids[row]}-{one[0]}" if one else ids[row] for row, one in zip(rows, shown, strict=True)]
        table = table.set_column(0, table.schema.field(0), pa.array(named, pa.string()))
    for start in range(0, len(table), options.batch_rows):
        yield table.slice(start, options.batch_rows)


def findings(path: str, options: PetfinderOptions, refers: Refers) -> Iterator[Finding]:
    """Yield rows with a wrong photo count or without sentiment, and files that are unreadable or have no row."""
    root = same_root(path)
    names = [file.uri for file in walk(root)]
    photos, metadata, sentiments = photo_lists(names), metadata_files(names), sentiment_files(names)
    pets: set[str | None] = set()
    for name in names:
        if name.rsplit("/", 1)[-1] in TABLE_SPLITS:
            for rows in _records(root / name, name, options):
                pets.update(rows.get("petid"))
                yield from faults.counts(rows, photos, sentiments)
    shots = {pet: [uri for _, uri in some] for pet, some in photos.items()}
    yield from faults.strangers(shots, pets.__contains__, "photos")
    for what, files in (("sentiments", sentiments), ("metadata", metadata)):
        by_pet = {key: [uri] for key, uri in files.items()}
        yield from faults.strangers(by_pet, lambda key: key in pets or key.rpartition("-")[0] in pets, what)
    yield from faults.unreadable(root, sentiments, "bad_sentiment", options)
    yield from faults.unreadable(root, metadata, "bad_metadata", options)


def vocabulary(path: str, options: PetfinderOptions) -> tuple[str, ...]:
    """Return the five adoption speeds in order, 0 (same day) to 4 (not adopted)."""
    return ("0", "1", "2", "3", "4")


def files(path: str, options: PetfinderOptions) -> Iterator[SourceFile]:
    """List the tables, photos and sentiment files."""
    yield from (file for file in walk(same_root(path)) if is_image(file.uri) or file.uri.endswith((".csv", ".json")))


TABLE_SPLITS: dict[str, Split] = {"train.csv": "train", "test.csv": "test"}


FORMAT = SourceFormat(
    "petfinder", "Kaggle PetFinder.my adoption speed", PetfinderOptions, read, files,
    published=PUBLISHED, vocabulary=vocabulary, findings=findings, looks_for=LOOKS_FOR,
)  # fmt: skip
