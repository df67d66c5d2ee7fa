"""fastText label files: one document a line, labels are the tokens with a prefix, anywhere on the line."""

import posixpath
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import ClassVar, NamedTuple

import pyarrow as pa
from pydantic import Field

from fuseline.stores.errors import ConfigError, mismatch
from fuseline.tasks.readers.base import (
    Encoding,
    ReaderOptions,
    SourceFile,
    SourceFormat,
    Split,
    documents,
    image_array,
    mark,
)
from fuseline.tasks.readers.image_files import copied, watched
from fuseline.tasks.readers.manifests import name_split
from fuseline.tasks.readers.mapping import PIECE
from fuseline.tasks.readers.places import Place, listed, place, relative, walk
from fuseline.tasks.readers.streams import LineBlock, file_blocks

SUFFIXES = ("", ".txt", ".ft", ".fasttext", ".train", ".valid", ".test")
PACKED = (".gz", ".bz2", ".zst", ".zip")
LOOKS_FOR = "files named after a split (train.txt, valid, test.ft) or ending in .ft or .fasttext; each may be packed"


class FasttextOptions(ReaderOptions):
    """Options of the fastText reader; the id of a document is its file and line."""

    prefix: str = Field("__label__", min_length=1, description="What labels start with")
    drop_unlabelled: bool = Field(
        False, description="List lines without a label as `no_label` instead of making documents of them"
    )
    min_label_count: int = Field(
        0,
        ge=0,
        description="Documents that a label must have; rarer labels are dropped, at one more pass over the files",
    )
    encoding: Encoding = Field("utf-8", description="Encoding of the text")

    patterned: ClassVar[bool] = True


class Lines(NamedTuple):
    """Some parsed lines."""

    first: int
    labels: list[list[str]]
    texts: list[str | None]
    slugs: list[str]


def read(path: str, options: FasttextOptions) -> Iterator[pa.Table]:
    """Yield one document per line, blank lines too, for other files may be aligned with them by line.

    Statuses: bad_encoding, bad_row (a line of NUL bytes alone), no_label, too_large, bad_file, bomb, and bad_path with
    `images.pattern`.
    """
    return copied(_read(path, options), path, options)


def _read(path: str, options: FasttextOptions) -> Iterator[pa.Table]:
    check_pattern(options.image_pattern, "images.pattern")
    frequent = None if options.min_label_count < 2 else frequent_labels(path, options)
    for file, name, split in label_files(path):
        for lines, where in parsed(file, name, options, frequent):
            places = [f"{where}:{lines.first + index}" for index in range(len(lines.texts))]
            uris = line_images(options.image_pattern, places, lines.first)
            table = lines_table(lines, places, places, split, options, image=image_array(pa.array(uris, pa.string())))
            yield from (table.slice(start, options.batch_rows) for start in range(0, len(table), options.batch_rows))


def check_pattern(pattern: str | None, field: str) -> None:
    """Raise ConfigError for a pattern of image paths that names anything but {id} and {line}."""
    for piece in PIECE.findall(pattern or ""):
        if piece not in ("id", "line"):
            raise ConfigError(mismatch(field, ["{id}", "{line}"], f"{{{piece}}}", "name one of the two"))


def line_images(pattern: str | None, ids: Sequence[str | None], first: int) -> list[str | None]:
    """Return the path of each line's image, (n,); None without a pattern, or without an id."""
    if pattern is None:
        return [None] * len(ids)
    return [
        None if one is None else pattern.replace("{line}", str(first + index)).replace("{id}", one)
        for index, one in enumerate(ids)
    ]


def label_files(path: str) -> list[tuple[Place, str, Split | None]]:
    """Return (file, name, split): the file itself, or a folder's files named after a split or ending in .ft."""
    source = place(path)
    if not source.is_dir():
        return [(source, relative(source, path), None)]
    names = [file.uri for file in walk(source) if posixpath.splitext(stem(file.uri))[1] in SUFFIXES]
    splits = [(source / name, name, name_split(posixpath.basename(name))) for name in names]
    return [(file, name, split) for file, name, split in splits if split or stem(name).endswith((".ft", ".fasttext"))]


def stem(name: str) -> str:
    """Return a file's name without the suffix of its packing."""
    for packed in PACKED:
        name = name.removesuffix(packed)
    return name


def parsed(
    file: Place, name: str, options: FasttextOptions, frequent: frozenset[str] | None
) -> Iterator[tuple[Lines, str]]:
    """Yield the lines of a file in blocks, with the name they go by."""
    for member, block in file_blocks(file, options, options.encoding):
        yield parse(block, options.prefix, frequent), f"{name}/{member}" if member else name


def parse(block: LineBlock, prefix: str, frequent: frozenset[str] | None = None) -> Lines:
    """Split lines into labels and text by fastText's separators: space, tab, CR, VT, FF and NUL."""
    if block.fault:
        return Lines(block.first, [[]], [None], [block.fault])
    mark_, size = prefix.encode(), len(prefix.encode())
    labels, texts, slugs = [], [], []
    for line in block.data.replace(b"\0", b" ").split(b"\n"):
        tokens = line.split()  # of bytes: ASCII white space alone, as fastText does
        mine = [token[size:] for token in tokens if token.startswith(mark_)]
        text = b" ".join([token for token in tokens if not token.startswith(mark_)] if mine else tokens)
        try:
            texts.append(text.decode("utf-8") or None)
            names = dict.fromkeys(label.decode("utf-8") for label in mine)
            slugs.append("ok")
        except UnicodeDecodeError:
            names = {}
            texts[len(slugs) :] = [None]
            slugs.append("bad_encoding")
        labels.append([one for one in names if one and (frequent is None or one in frequent)])
    for hole in _holes(block.data) if b"\0" in block.data else ():
        slugs[hole] = "bad_row"
    return Lines(block.first, labels, texts, slugs)


def _holes(data: bytes) -> list[int]:
    """Return the lines of NUL bytes alone: a writer that crashed leaves them, and fastText would see a blank line."""
    lines = (line.removesuffix(b"\r") for line in data.split(b"\n"))
    return [index for index, line in enumerate(lines) if line and not line.strip(b"\0")]


def frequent_labels(path: str, options: FasttextOptions) -> frozenset[str]:
    """Count the labels of all files and return those seen `min_label_count` times."""
    counts: Counter[str] = Counter()
    for file, name, _ in label_files(path):
        for lines, _ in parsed(file, name, options, None):
            counts.update(label for labels in lines.labels for label in labels)
    return frozenset(label for label, count in counts.items() if count >= options.min_label_count)


def lines_table(
    lines: Lines,
    places: Sequence[str],
    ids: Sequence[str | None],
    split: Split | None,
    options: FasttextOptions,
    *,
    image: pa.Array | None = None,
) -> pa.Table:
    """Build the documents of some lines."""
    rows = len(lines.texts)
    bare = [
        not labels and slug == "ok" and options.drop_unlabelled
        for labels, slug in zip(lines.labels, lines.slugs, strict=True)
    ]
    known = [None if is_bare else one for is_bare, one in zip(bare, ids, strict=True)]
    table = documents(
        rows,
        id=known,
        source=places,
        labels=lines.labels,
        text=lines.texts,
        split=pa.repeat(pa.scalar(split, pa.string()), rows),
        **({} if image is None else {"image": image}),
    )
    table = mark(table, pa.array(bare, pa.bool_()), "no_label")
    for slug in sorted(set(lines.slugs) - {"ok"}):
        table = mark(table, pa.array([one == slug for one in lines.slugs], pa.bool_()), slug)
    return table


def files(path: str, options: FasttextOptions) -> Iterator[SourceFile]:
    """List the label files, and the images when a pattern leads to them."""
    yield from (listed(file, name) for file, name, _ in label_files(path))
    if options.image_pattern is not None:
        yield from watched(path, options)


FORMAT = SourceFormat(
    "fasttext", "fastText label files", FasttextOptions, read, files,
    looks_for=LOOKS_FOR,
)  # fmt: skip
