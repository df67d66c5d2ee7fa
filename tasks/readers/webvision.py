"""WebVision 1.0 and 2.0: file lists, aligned lists of metadata, one JSON array per query."""

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, Literal, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from stores.errors import DataError, mismatch
from tasks.readers.aligned import AlignedLines
from tasks.readers.base import Finding, ReaderOptions, Refers, SourceFile, Split, documents, image_array, mark
from tasks.readers.images import copied, folder_files
from tasks.readers.mapping import as_text, check_ids
from tasks.readers.places import Place, safe_references, same_root, walk
from tasks.readers.sidecars import whole_json
from tasks.readers.strays import stray_images
from tasks.readers.streams import file_blocks, text_lines
from tasks.readers.webvision_meta import Metadata, QueryArray, find_metadata
from tasks.readers.webvision_queries import query_number, query_synsets

PUBLISHED = {"valid": 50_000, "test": 50_000, "labels": 1_000}  # of 1.0; totals of 2.0 are not confirmed
ARRAYS = 64  # query files kept in memory; the lists go query by query
LOOKS_FOR = "info/synsets.txt with train_filelist_*.txt, val_filelist.txt or test_filelist.txt"


class WebvisionOptions(ReaderOptions):
    """Options of the WebVision reader."""

    label: Literal["wnid", "name"] = Field(
        "wnid", description="Label of a class: the first word of its line in synsets.txt, or the first of its names"
    )
    metadata_root: str = Field(
        "", description="Folder of the JSON arrays, where they were not unpacked beside the images"
    )
    sources: tuple[Literal["google", "flickr"], ...] = Field(
        ("google", "flickr"), description="Searches whose images are read"
    )
    join: Literal["row", "id", "row_only"] = Field(
        "row",
        description="How an image meets its metadata: by the list's row number, which must be its own where rows have "
        "ids; by id, the image's stem; or by the row number whatever its id is",
    )
    official: bool = Field(
        True, description="Read the release's own valid and test lists too; without them only train is left"
    )
    query_labels: bool = Field(
        True,
        description="Give an image without a label in the file lists the synset of its query, q<number>/, after "
        "queries_synsets_map.txt; whether that counts synsets from 0 or 1 is told by the file lists",
    )


class Entry(NamedTuple):
    """One line of a file list."""

    source: str
    uri: str
    label: str | None
    meta: str | None  # "<json> <row from 1>"; "" where the list of metadata has no such line, None without a list


def read(path: str, options: WebvisionOptions) -> Iterator[pa.Table]:
    """Yield one document per line of the file lists: train by source, then val, then test without labels.

    Titles and descriptions come from the query's JSON array; a flickr image's tags are its text. A training line
    without a label takes its query's (`query_labels`). Statuses: bad_row
    (a line without a label number, or one that synsets.txt does not have), bad_metadata (a query's array that is
    missing or damaged, or that has no row of the image; the image and its label stay), bad_path, bad_file.
    """
    return copied(_read(path, options), path, options)


def _read(path: str, options: WebvisionOptions) -> Iterator[pa.Table]:
    root = same_root(path)
    names = synsets(root, options)
    start = f"{options.metadata_root.strip('/')}/" if options.metadata_root.strip("/") else ""
    arrays = lru_cache(ARRAYS)(lambda name: QueryArray.of(whole_json(root / (start + name), _large(options))[0]))
    found = file_lists(root, options)
    queries = query_synsets(root, found, options) if options.query_labels else {}
    for split, lists in found:
        for list_name, meta_name, folder in lists:
            metas = AlignedLines(root / meta_name, options) if meta_name else None
            batch: list[Entry] = []
            for entry in _entries(root, list_name, folder, metas, options):
                batch.append(entry if split != "train" or entry.label else labelled(entry, queries))
                if len(batch) == options.batch_rows:
                    yield _table(batch, split, names, arrays, options)
                    batch = []
            if batch:
                yield _table(batch, split, names, arrays, options)


def _large(options: WebvisionOptions) -> WebvisionOptions:
    return options.model_copy(update={"max_line_bytes": 1 << 28})


def synsets(root: Place, options: WebvisionOptions) -> list[str]:
    """Return the labels by number, from 0, as synsets.txt orders them (R7); DataError without it."""
    found = next((root / name for name in ("info/synsets.txt", "synsets.txt") if (root / name).exists()), None)
    if found is None:
        cure = "unpack info.tar beside the images"
        raise DataError(mismatch(root.path, "info/synsets.txt", "no such file", cure))
    lines = [line for _, block in file_blocks(found, options) for line in text_lines(block)[0] if line.strip()]
    pairs = [line.split(maxsplit=1) for line in lines]
    if options.label == "wnid":
        return [pair[0] for pair in pairs]
    return [pair[-1].split(",")[0].strip() for pair in pairs]


def file_lists(root: Place, options: WebvisionOptions) -> list[tuple[Split, list[tuple[str, str, str]]]]:
    """Return (split, [(file list, aligned metadata list or "", folder of the names)]) of the lists that are there."""
    at = {file.uri.rsplit("/", 1)[-1]: file.uri for file in walk(root) if file.uri.endswith(".txt")}
    train = [f"train_filelist_{source}.txt" for source in options.sources]
    if not any(name in at for name in train):
        train = ["train_filelist_all.txt"]
    lists: list[tuple[Split, list[tuple[str, str, str]]]] = [
        ("train", [(at[name], at.get(name.replace("filelist", "meta_list"), ""), "") for name in train if name in at])
    ]
    for split, stem in SPLITS if options.official else ():
        name = f"{stem}_filelist.txt"
        if name in at:
            lists.append((split, [(at[name], "", _folder(root, stem))]))
    return lists


def _folder(root: Place, stem: str) -> str:
    names = (f"{stem}_images_256", f"{stem}_images_resized", f"{stem}_images")
    return next((name for name in names if (root / name).is_dir()), names[0]) + "/"


def _entries(
    root: Place, list_name: str, folder: str, metas: AlignedLines | None, options: WebvisionOptions
) -> Iterator[Entry]:
    for _, block in file_blocks(root / list_name, options):
        lines = text_lines(block)[0] if block.fault is None else [""]
        pairs: Sequence[str | None] = metas.take(len(lines)) if metas else [None] * len(lines)
        for number, (line, meta) in enumerate(zip(lines, pairs, strict=True), block.first):
            if line.strip() or block.fault:
                uri, _, label = line.rpartition(" ") if _numbered(line) else (line, "", None)
                yield Entry(f"{list_name}:{number}", folder + uri if uri else "", label, meta)


def labelled(entry: Entry, queries: Mapping[int, int]) -> Entry:
    """Return the entry with the synset of its query for a label, if that is known."""
    synset = queries.get(query_number(entry.uri) or 0)
    return entry if synset is None else entry._replace(label=str(synset))


def _numbered(line: str) -> bool:
    return line.rpartition(" ")[2].isdecimal() and " " in line


def _table(batch: list[Entry], split: Split, names: list[str], arrays: Any, options: WebvisionOptions) -> pa.Table:
    found = [
        NONE if entry.meta is None else find_metadata(entry.uri, entry.meta, arrays, join=options.join)
        for entry in batch
    ]
    rows = [one.values for one in found]
    numbers = [int(entry.label) if entry.label is not None and len(entry.label) < 10 else None for entry in batch]
    known = [number is not None and number < len(names) for number in numbers]
    bad = [not entry.uri or not (fine or split == "test") for entry, fine in zip(batch, known, strict=True)]
    uris, climbs = safe_references(pa.array([entry.uri or None for entry in batch], pa.string()))
    table = documents(
        len(batch),
        id=[entry.uri or None for entry in batch],
        source=[entry.source for entry in batch],
        split=[split] * len(batch),
        labels=[
            [names[number]] if fine and number is not None else [] for number, fine in zip(numbers, known, strict=True)
        ],
        title=as_text([row.get("title") for row in rows])[0],
        description=as_text([row.get("description") for row in rows])[0],
        text=as_text([_tags(row.get("tags")) for row in rows])[0],
        image=image_array(uris),
    )
    table = mark(table, pa.array(bad, pa.bool_()), "bad_row")
    table = mark(table, pc.fill_null(climbs, False), "bad_path", blank=False)
    lost = pa.array([not one.good for one in found], pa.bool_())
    return check_ids(mark(table, pc.and_(lost, pc.equal(table["status"], "ok")), "bad_metadata", blank=False))


def _tags(tags: Any) -> str | None:
    """Return the tags as text; 2.0 may hold one string instead of a list."""
    if isinstance(tags, list):
        return " ".join(one for one in tags if isinstance(one, str)) or None
    return tags if isinstance(tags, str) else None


def vocabulary(path: str, options: WebvisionOptions) -> tuple[str, ...]:
    """Return the labels in the order of synsets.txt."""
    return tuple(synsets(same_root(path), options))


def findings(path: str, options: WebvisionOptions, refers: Refers) -> Iterator[Finding]:
    """Yield the training images that no list names, where the lists of both sources are read."""
    if len(set(options.sources)) == len(SOURCES):
        yield from (one for one in stray_images(path, options, refers) if one.place.startswith(SOURCES))


def files(path: str, options: WebvisionOptions) -> Iterator[SourceFile]:
    """List the info files, the JSON arrays, and the images unless `watch_images` is off."""
    return folder_files(path, options, (".txt", ".json"))


NONE = Metadata({}, good=True)
SPLITS: tuple[tuple[Split, str], ...] = (("valid", "val"), ("test", "test"))
SOURCES = ("google/", "flickr/")
