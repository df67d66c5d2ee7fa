"""MM-IMDB: the raw archive of JSON and posters, and the Fuel file multimodal_imdb.hdf5."""

import re
from collections.abc import Iterator
from typing import Any, Literal

import pyarrow as pa
from pydantic import Field

from fuseline.stores.errors import DataError, mismatch
from fuseline.tasks.readers import mmimdb_hdf5
from fuseline.tasks.readers.base import ReaderOptions, SourceFile, SourceFormat, Split, documents, image_array
from fuseline.tasks.readers.image_files import copied, is_image
from fuseline.tasks.readers.mapping import as_tabular, as_text, check_ids
from fuseline.tasks.readers.overlay import overlay
from fuseline.tasks.readers.places import Place, check_keys, listed, place, walk
from fuseline.tasks.readers.sidecars import required_json, whole_json

PUBLISHED = {"train": 15_552, "valid": 2_608, "test": 7_799, "documents": 25_959, "labels": 23}
# fmt: off
GENRES = (
    "Drama", "Comedy", "Romance", "Thriller", "Crime", "Action", "Adventure", "Horror", "Documentary", "Mystery",
    "Sci-Fi", "Fantasy", "Family", "Biography", "War", "History", "Music", "Animation", "Musical", "Western", "Sport",
    "Short", "Film-Noir",
)
# fmt: on
LOOKS_FOR = "<number>.json and <number>.jpeg with split.json, or the file multimodal_imdb.hdf5"


class MmimdbOptions(ReaderOptions):
    """Options of the MM-IMDB reader."""

    genres: Literal["benchmark", "all"] = Field(
        "benchmark", description="benchmark: the 23 genres of the paper, others are dropped from a row; all: every one"
    )
    plot: Literal["longest", "first", "all"] = Field(
        "longest", description="Which of a film's plots is the text; the official recipe takes the longest"
    )
    strip_author: bool = Field(False, description="Cut ::author from the end of a plot")
    tabular: dict[str, Literal["number", "category"]] = Field(
        default_factory=dict, description="Keys of the JSON that become columns, such as year: number"
    )
    words: str | None = Field(
        None, description="For the HDF5 file: text file of one word a line, for its sequences of word numbers"
    )


def read(path: str, options: MmimdbOptions) -> Iterator[pa.Table]:
    """Yield the documents in the order of split.json, then films that it does not name; or the rows of the HDF5 file.

    Statuses: missing (a film of the split without JSON), bad_json, bad_file, too_large. Ids keep their zeros (R1).
    """
    if not place(path).is_dir():
        return mmimdb_hdf5.read(path, options.words)
    return copied(_read(path, options), path, options)


def _read(path: str, options: MmimdbOptions) -> Iterator[pa.Table]:
    names = {file.uri.rsplit("/", 1)[-1]: file.uri for file in walk(place(path)) if _is_film(file.uri)}
    images: dict[str, str] = {}
    for name, uri in names.items():
        if is_image(name):
            images.setdefault(name.rpartition(".")[0], uri)
    texts = {name.removesuffix(".json"): uri for name, uri in names.items() if name.endswith(".json")}
    splits = film_splits(path, options)
    seen: set[str] = set()  # keys of all films
    films = [*splits, *sorted((set(texts) | set(images)) - set(splits))]
    for start in range(0, len(films), options.batch_rows):
        part = films[start : start + options.batch_rows]
        yield _table(place(path), part, texts, images, splits, options, seen)
    check_keys("tabular", options.tabular, seen)


def _is_film(uri: str) -> bool:
    return bool(re.search(r"(?:^|/)\d+\.(?:json|jpe?g|png)$", uri, re.IGNORECASE))


def film_splits(path: str, options: MmimdbOptions) -> dict[str, Split]:
    """Return id -> split of split.json in its order; {} when there is none; DataError when it holds no lists."""
    name = next((file.uri for file in walk(place(path)) if file.uri.rsplit("/", 1)[-1] == "split.json"), None)
    if name is None:
        return {}
    lists = required_json(place(path) / name, options, dict)
    names: dict[str, Split] = {"train": "train", "dev": "valid", "test": "test"}
    given = {split: lists.get(split, []) for split in names}
    if not all(isinstance(some, list) for some in given.values()):
        cure = "take this file from the release again"
        raise DataError(mismatch(name, "lists of ids", {key: type(some).__name__ for key, some in given.items()}, cure))
    return {str(one): names[split] for split, some in given.items() for one in some}


def _table(
    root: Place,
    films: list[str],
    texts: dict[str, str],
    images: dict[str, str],
    splits: dict[str, Split],
    options: MmimdbOptions,
    seen: set[str],
) -> pa.Table:
    parsed = [film(root / texts[one], options) if one in texts else (None, "missing") for one in films]
    rows = [row or {} for row, _ in parsed]
    seen.update(*rows)
    slugs = [slug for _, slug in parsed]
    table = documents(
        len(films),
        id=as_text(films)[0],
        source=[texts.get(one, f"{one}.json") for one in films],
        split=[splits.get(one) for one in films],
        labels=[genres(row, options) for row in rows],
        title=[_text(row.get("title")) for row in rows],
        description=[_text(row.get("plot outline")) for row in rows],
        text=[plot(row, options) for row in rows],
        image=image_array([images.get(one) for one in films]),
        extra={
            f"{'num' if kind == 'number' else 'cat'}_{name.replace(' ', '_')}": as_tabular(
                [_first(row.get(name)) for row in rows], kind
            )
            for name, kind in options.tabular.items()
        },
    )
    return check_ids(overlay(table, slugs, [slug != "ok" for slug in slugs]))


def film(file: Place, options: MmimdbOptions) -> tuple[dict[str, Any] | None, str]:
    """Parse one film's JSON; the key set varies, only genres and plot are to be expected."""
    row, slug = whole_json(file, options)
    return (None, "bad_json") if slug == "ok" and not isinstance(row, dict) else (row, slug)


def genres(row: dict[str, Any], options: MmimdbOptions) -> list[str]:
    """Return the genres that count, as the release spells them."""
    names = row.get("genres")
    labels = dict.fromkeys(one for one in names if isinstance(one, str)) if isinstance(names, list) else {}
    return [one for one in labels if options.genres == "all" or one in GENRES]


def plot(row: dict[str, Any], options: MmimdbOptions) -> str | None:
    """Return the plot that the options choose out of several."""
    value = row.get("plot")
    plots = [one for one in (value if isinstance(value, list) else [value]) if isinstance(one, str) and one]
    if options.strip_author:
        plots = [re.sub(r"::[^:\n]*$", "", one) for one in plots]
    if not plots:
        return None
    if options.plot == "all":
        return "\n".join(plots)
    return plots[0] if options.plot == "first" else max(plots, key=len)


def _first(value: Any) -> Any:
    if isinstance(value, list):
        value = value[0] if value else None
    return value if isinstance(value, str | int | float) else None


def _text(value: Any) -> str | None:
    entry = _first(value)
    return None if entry is None or entry == "" else str(entry)


def vocabulary(path: str, options: MmimdbOptions) -> tuple[str, ...]:
    """Return the 23 genres of the benchmark in its order, most frequent first."""
    return GENRES if options.genres == "benchmark" else ()


def files(path: str, options: MmimdbOptions) -> Iterator[SourceFile]:
    """List the films, posters and the split; or the HDF5 file."""
    source = place(path)
    if not source.is_dir():
        yield listed(source, source.name)
        return
    yield from (file for file in walk(source) if _is_film(file.uri) or file.uri.rsplit("/", 1)[-1] == "split.json")


FORMAT = SourceFormat(
    "mmimdb", "MM-IMDB: JSON and posters, or multimodal_imdb.hdf5", MmimdbOptions, read, files,
    published=PUBLISHED, vocabulary=vocabulary, looks_for=LOOKS_FOR,
)  # fmt: skip
