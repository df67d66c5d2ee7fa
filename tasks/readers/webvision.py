"""WebVision 1.0 and 2.0, unpacked or in its tars: file lists, aligned lists of metadata, one JSON array per query."""

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import islice
from typing import Any, Literal, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from fuseline.stores.errors import DataError, mismatch
from fuseline.tasks.readers.aligned import AlignedLines
from fuseline.tasks.readers.base import (
    Finding,
    ReaderOptions,
    Refers,
    SourceFile,
    SourceFormat,
    Split,
    documents,
    faults,
    mark,
)
from fuseline.tasks.readers.image_files import copied, folder_files
from fuseline.tasks.readers.mapping import as_text, check_ids
from fuseline.tasks.readers.places import image_root, place, safe_references, walk
from fuseline.tasks.readers.sidecars import whole_json
from fuseline.tasks.readers.strays import stray_images, unreferred
from fuseline.tasks.readers.streams import HOLE, file_blocks, text_lines
from fuseline.tasks.readers.tarindex import SUFFIXES
from fuseline.tasks.readers.webvision_meta import Arrays, Metadata, QueryArray, find_metadata
from fuseline.tasks.readers.webvision_queries import query_number, query_synsets
from fuseline.tasks.readers.webvision_tars import Release, stray_members

PUBLISHED = {"valid": 50_000, "test": 50_000, "labels": 1_000}  # of 1.0; totals of 2.0 are not confirmed
ARRAYS = 64  # query files kept in memory; the lists go query by query
LOOKS_FOR = "info/synsets.txt with train_filelist_*.txt, val_filelist.txt or test_filelist.txt, or info.tar"


class WebvisionOptions(ReaderOptions):
    """Options of the WebVision reader."""

    label: Literal["wnid", "name"] = Field(
        "wnid", description="Label of a class: the first word of its line in synsets.txt, or the first of its names"
    )
    metadata_root: str = Field(
        "", description="Folder of the JSON arrays or of their tars, where these do not lie beside the images"
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
        True,
        description="Read the release's own valid and test lists too; paper M leaves them out, and cuts valid and test "
        "out of train: split.cut_train, method: stratified, valid and test: 0.02",
    )
    query_labels: bool = Field(
        True,
        description="Give an image without a label in the file lists the synset of its query, q<number>/, after "
        "queries_synsets_map.txt; whether that counts synsets from 0 or 1 is inferred from the file lists",
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
    without a label takes its query's (`query_labels`).

    Lists, arrays and images in the release's tars (info.tar, google.tar, google_resized_256.tar, val_images_256.tar,
    webvision_train_00.tar, ...) are read where they lie, wherever in the folder that is; an unpacked file comes first.

    Statuses: bad_row (a line without a label number, or one that synsets.txt does not have), bad_metadata (a query's
    array that is missing or damaged, or that has no row of the image; the image and its label stay), bad_path,
    bad_member (an image that is a link or a device in a tar). What is wrong in a tar and in no list is a row of its
    own: bad_member, bad_file (it ends early), packed (a compressed tar), bad_name (no UTF-8).
    """
    return copied(_read(path, options), path, options)


def _read(path: str, options: WebvisionOptions) -> Iterator[pa.Table]:
    release = Release(path, options, options.metadata_root.strip("/"))
    names = synsets(release, options)
    arrays = _arrays(release, options)
    by_split = file_lists(release, options)
    queries = query_synsets(release, by_split, options) if options.query_labels else {}
    for split, lists in by_split:
        for list_name, meta_name, folder in lists:
            metas = AlignedLines(release.lists[meta_name][1], options) if meta_name else None
            entries = (
                entry if split != "train" or entry.label else labelled(entry, queries)
                for entry in _entries(release, list_name, folder, metas, options)
            )
            while batch := list(islice(entries, options.batch_rows)):
                yield _table(batch, split, names, arrays, release, options)
    wrong = release.faults()
    while some := list(islice(wrong, options.batch_rows)):
        yield faults(*zip(*some, strict=True))


def _arrays(release: Release, options: WebvisionOptions) -> Arrays:
    start = f"{options.metadata_root.strip('/')}/" if options.metadata_root.strip("/") else ""

    def read_array(name: str) -> QueryArray | None:
        file = release.tars.file(start + name)
        return None if file is None else QueryArray.of(whole_json(file, _large(options))[0])

    return lru_cache(ARRAYS)(read_array)


def _large(options: WebvisionOptions) -> WebvisionOptions:
    return options.model_copy(update={"max_line_bytes": 1 << 28})


def synsets(release: Release, options: WebvisionOptions) -> list[str]:
    """Return the labels by number, from 0, as synsets.txt orders them (R7); DataError without it."""
    file = release.info("synsets.txt")
    if file is None:
        cure = "put info.tar, or what it holds, beside the images"
        raise DataError(mismatch(release.root.path, "info/synsets.txt", "no such file", cure))
    blocks = (block for _, block in file_blocks(file, options))
    lines = [line for block in blocks for line in text_lines(block, holes=True)[0] if line.strip()]
    if HOLE in lines:  # without its line every label behind it would be another's
        got = f"a line of NUL bytes behind {lines.index(HOLE)} labels"
        raise DataError(
            mismatch(f"{release.root.path}: synsets.txt", "a label per line", got, "download info.tar again")
        )
    pairs = [line.split(maxsplit=1) for line in lines]
    if options.label == "wnid":
        return [pair[0] for pair in pairs]
    return [pair[-1].split(",")[0].strip() for pair in pairs]


def file_lists(release: Release, options: WebvisionOptions) -> list[tuple[Split, list[tuple[str, str, str]]]]:
    """Return (split, [(file list, aligned metadata list or "", folder of the names)]) of the existing lists."""
    there = release.lists
    train = [f"train_filelist_{source}.txt" for source in options.sources]
    if not any(name in there for name in train):
        train = ["train_filelist_all.txt"]
    metas = {name: name.replace("filelist", "meta_list") for name in train}
    lists: list[tuple[Split, list[tuple[str, str, str]]]] = [
        ("train", [(name, metas[name] if metas[name] in there else "", "") for name in train if name in there])
    ]
    for split, stem in SPLITS if options.official else ():
        name = f"{stem}_filelist.txt"
        if name in there:
            lists.append((split, [(name, "", release.image_folder(stem))]))
    return lists


def _entries(
    release: Release, list_name: str, folder: str, metas: AlignedLines | None, options: WebvisionOptions
) -> Iterator[Entry]:
    where, file = release.lists[list_name]
    for _, block in file_blocks(file, options):
        lines = text_lines(block, holes=True)[0] if block.fault is None else [""]
        pairs: Sequence[str | None] = metas.take(len(lines)) if metas else [None] * len(lines)
        for number, (line, meta) in enumerate(zip(lines, pairs, strict=True), block.first):
            if line.strip() or block.fault:
                uri, _, label = line.rpartition(" ") if _numbered(line) else (line.strip(HOLE), "", None)
                yield Entry(f"{where}:{number}", folder + uri if uri else "", label, meta)


def labelled(entry: Entry, queries: Mapping[int, int]) -> Entry:
    """Return the entry with the synset of its query for a label, if that is known."""
    synset = queries.get(query_number(entry.uri) or 0)
    return entry if synset is None else entry._replace(label=str(synset))


def _numbered(line: str) -> bool:
    return line.rpartition(" ")[2].isdecimal() and " " in line


def _table(
    batch: list[Entry], split: Split, names: list[str], arrays: Arrays, release: Release, options: WebvisionOptions
) -> pa.Table:
    metadata = [
        NONE if entry.meta is None else find_metadata(entry.uri, entry.meta, arrays, join=options.join)
        for entry in batch
    ]
    rows = [one.values for one in metadata]
    numbers = [int(entry.label) if entry.label is not None and len(entry.label) < 10 else None for entry in batch]
    known = [number is not None and number < len(names) for number in numbers]
    bad = [not entry.uri or not (fine or split == "test") for entry, fine in zip(batch, known, strict=True)]
    uris, climbs = safe_references(pa.array([entry.uri or None for entry in batch], pa.string()))
    images, unusable = release.images.images(uris)
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
        image=images,
    )
    table = mark(table, pa.array(bad, pa.bool_()), "bad_row")
    table = mark(table, pc.fill_null(climbs, False), "bad_path", blank=False)
    table = mark(table, unusable, "bad_member", blank=False)
    lost = pa.array([not one.good for one in metadata], pa.bool_())
    return check_ids(mark(table, pc.and_(lost, pc.equal(table["status"], "ok")), "bad_metadata", blank=False))


def _tags(tags: Any) -> str | None:
    """Return the tags as text; 2.0 may hold one string instead of a list."""
    if isinstance(tags, list):
        return " ".join(one for one in tags if isinstance(one, str)) or None
    return tags if isinstance(tags, str) else None


def vocabulary(path: str, options: WebvisionOptions) -> tuple[str, ...]:
    """Return the labels in the order of synsets.txt."""
    return tuple(synsets(Release(path, options), options))


def findings(path: str, options: WebvisionOptions, refers: Refers) -> Iterator[Finding]:
    """Yield the training images that no list names, where the lists of both sources are read.

    Nothing is known of those in tars where images are copied: the documents do not record where they lay.
    """
    if len(set(options.sources)) < len(SOURCES):
        return
    yield from (one for one in stray_images(path, options, refers) if one.place.startswith(SOURCES))
    if options.root is None and not options.copies_images:
        yield from unreferred(stray_members(Release(path, options)), refers)


def files(path: str, options: WebvisionOptions) -> Iterator[SourceFile]:
    """List the info files, the JSON arrays, the tars, and the images unless `watch_images` is off."""
    yield from folder_files(path, options, (".txt", ".json", *SUFFIXES))
    if options.root is not None:
        start = place(image_root(path, options))
        yield from (file for file in walk(start) if file.uri.lower().endswith(SUFFIXES))


NONE = Metadata({}, good=True)
SPLITS: tuple[tuple[Split, str], ...] = (("valid", "val"), ("test", "test"))
SOURCES = ("google/", "flickr/")


FORMAT = SourceFormat(
    "webvision", "WebVision 1.0 and 2.0", WebvisionOptions, read, files,
    published=PUBLISHED, vocabulary=vocabulary, findings=findings, looks_for=LOOKS_FOR,
)  # fmt: skip
