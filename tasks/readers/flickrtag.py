"""FlickrTag (Joulin et al. 2016): fastText label files train, valid and test, images joined by id or line."""

import posixpath
from collections.abc import Iterator
from typing import Self

import numpy as np
import pyarrow as pa
from pydantic import Field, model_validator

from fuseline.models.config import added
from fuseline.stores.errors import mismatch
from fuseline.tasks.readers.aligned import AlignedLines
from fuseline.tasks.readers.base import Finding, Refers, SourceFile, SourceFormat, image_array
from fuseline.tasks.readers.fasttext import (
    FasttextOptions,
    Lines,
    check_pattern,
    label_files,
    line_images,
    lines_table,
    parsed,
    stem,
)
from fuseline.tasks.readers.image_files import copied, watched
from fuseline.tasks.readers.mapping import check_ids
from fuseline.tasks.readers.places import Place, companion, listed, safe_references, source_folder
from fuseline.tasks.readers.strays import stray_images

# What the paper counts. fastText's own test counts 647,224 test lines: neither is asserted.
PUBLISHED = {"train": 91_188_648, "valid": 930_497, "test": 543_424}
LOOKS_FOR = "the fastText label files train, valid and test; each may be packed"


class FlickrtagOptions(FasttextOptions):
    """Options of the FlickrTag reader; `{name}` in the paths below is the label file's, without .gz and the like."""

    ids: str | None = Field(
        None, description="File with one photo id a line, aligned with the label file, such as {name}.ids"
    )
    image_list: str | None = Field(None, description="File with one image path a line, aligned with the label file")
    image: str | None = Field(
        None, description="Template of the image path, such as images/{id}.jpg or images/{line}.jpg"
    )
    shard: int | None = added(
        None,
        ge=0,
        description="Read one shard alone, from 0: of every label file the lines whose number leaves it over",
    )
    shards: int = added(10, ge=1, description="Shards that the lines are dealt to in turn, if `shard` is given")

    @model_validator(mode="after")
    def _one_of_the_shards(self) -> Self:
        if self.shard is not None and self.shard >= self.shards:
            raise ValueError(mismatch("shard", f"0 to {self.shards - 1}", self.shard, "count from 0, or raise shards"))
        return self


def read(path: str, options: FlickrtagOptions) -> Iterator[pa.Table]:
    """Yield one document per line; without `ids` the id is file and line.

    Statuses: those of the fastText reader, missing_id (the file of ids ends early), bad_path.
    """
    return copied(_read(path, options), path, options)


def _read(path: str, options: FlickrtagOptions) -> Iterator[pa.Table]:
    check_pattern(options.image, "image")
    check_pattern(options.image_pattern, "images.pattern")
    files_of = {field: aligned_files(path, field, options) for field in ALIGNED}
    for file, name, split in label_files(path):
        ids, images = (_lines(files_of[field], getattr(options, field), name, options) for field in ALIGNED)
        for lines, where in parsed(file, name, options, None):
            for part in _parts(lines, options.batch_rows):
                rows = len(part.texts)
                places = [f"{where}:{part.first + index}" for index in range(rows)]
                known: list[str | None] = (
                    list(places) if ids is None else [one.strip() or None for one in ids.take(rows)]
                )
                if images is None:
                    uris = line_images(options.image or options.image_pattern, known, part.first)
                else:
                    uris = [one or None for one in images.take(rows)]
                safe, climbs = safe_references(pa.array(uris, pa.string()))
                table = lines_table(part, places, known, split, options, image=image_array(safe))
                status = pa.compute.if_else(climbs, "bad_path", table["status"])
                table = table.set_column(2, table.schema.field(2), status)
                if options.shard is not None:
                    table = table.filter(_dealt(part.first, rows, options))
                if len(table):
                    yield check_ids(table)


def aligned_files(path: str, field: str, options: FlickrtagOptions) -> dict[str, Place]:
    """Return label file -> the file aligned with it, of those that have one; ConfigError when none has."""
    template: str | None = getattr(options, field)
    if template is None:
        return {}
    names = {name: template.replace("{name}", stem(name)) for _, name, _ in label_files(path)}
    folder = source_folder(path)
    lists = {name: folder / beside for name, beside in names.items() if (folder / beside).exists()}
    return lists or {name: companion(path, beside, field) for name, beside in names.items()}


def _lines(files: dict[str, Place], template: str | None, name: str, options: FlickrtagOptions) -> AlignedLines | None:
    """Return the aligned lines of a label file, None where none are wanted; blank ones where its file is absent."""
    if template is None:
        return None
    return AlignedLines(files.get(name), options)


def _dealt(first: int, rows: int, options: FlickrtagOptions) -> pa.Array:
    """Return which lines (n,) are of the shard: a line that is added to a file changes no other's shard."""
    return pa.array((np.arange(first - 1, first - 1 + rows) % options.shards) == options.shard)


def _findings(path: str, options: FlickrtagOptions, refers: Refers) -> Iterator[Finding]:
    """Yield images that no row refers to; of one shard alone nothing is known of the others' images."""
    return stray_images(path, options, refers) if options.shard is None else iter(())


def _parts(lines: Lines, size: int) -> Iterator[Lines]:
    for start in range(0, len(lines.texts), size):
        part = slice(start, start + size)
        yield Lines(lines.first + start, lines.labels[part], lines.texts[part], lines.slugs[part])


def files(path: str, options: FlickrtagOptions) -> Iterator[SourceFile]:
    """List the label files, what is aligned with them, and the images when there is a way to them."""
    yield from (listed(file, name) for file, name, _ in label_files(path))
    start = source_folder(path).path
    for field in ALIGNED:
        beside = {posixpath.relpath(file.path, start): file for file in aligned_files(path, field, options).values()}
        yield from (listed(file, name) for name, file in sorted(beside.items()))
    if options.image or options.image_list or options.image_pattern:
        yield from watched(path, options)


ALIGNED = ("ids", "image_list")


FORMAT = SourceFormat(
    "flickrtag", "FlickrTag label files, images joined by id or line", FlickrtagOptions, read, files,
    published=PUBLISHED, findings=_findings, looks_for=LOOKS_FOR,
)  # fmt: skip
