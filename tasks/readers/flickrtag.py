"""FlickrTag (Joulin et al. 2016): fastText label files train, valid and test, images joined by id or line."""

from collections.abc import Iterator

import pyarrow as pa

from tasks.readers.aligned import AlignedLines
from tasks.readers.base import SourceFile, image_array
from tasks.readers.fasttext import FasttextOptions, Lines, label_files, lines_table, parsed, stem
from tasks.readers.images import copied, watched
from tasks.readers.mapping import check_ids
from tasks.readers.places import listed, place, safe_references

# What the paper counts. fastText's own test counts 647,224 test lines: neither is asserted.
PUBLISHED = {"train": 91_188_648, "valid": 930_497, "test": 543_424}


class FlickrtagOptions(FasttextOptions):
    """Options of the FlickrTag reader; `{name}` in the paths below is the label file's, without .gz and the like."""

    ids: str | None = None  # a file with one photo id a line, aligned with the label file, e.g. "{name}.ids"
    image_list: str | None = None  # likewise with one image path a line
    image: str | None = None  # or a template of the image path: "images/{id}.jpg", "images/{line}.jpg"


def read(path: str, options: FlickrtagOptions) -> Iterator[pa.Table]:
    """Yield one document per line; without `ids` the id is file and line.

    Statuses: those of the fastText reader, missing_id (the file of ids ends early), bad_path.
    """
    return copied(_read(path, options), path, options)


def _read(path: str, options: FlickrtagOptions) -> Iterator[pa.Table]:
    for file, name, split in label_files(path):
        ids = _aligned(path, options.ids, name, options)
        images = _aligned(path, options.image_list, name, options)
        for lines, where in parsed(file, name, options, None):
            for part in _parts(lines, options.batch_rows):
                rows = len(part.texts)
                places = [f"{where}:{part.first + index}" for index in range(rows)]
                known: list[str | None] = (
                    list(places) if ids is None else [one.strip() or None for one in ids.take(rows)]
                )
                uris = (
                    _uris(options, known, part.first) if images is None else [one or None for one in images.take(rows)]
                )
                safe, climbs = safe_references(pa.array(uris, pa.string()))
                table = lines_table(part, places, known, split, options, image=image_array(safe))
                status = pa.compute.if_else(climbs, "bad_path", table["status"])
                yield check_ids(table.set_column(2, table.schema.field(2), status))


def _aligned(path: str, template: str | None, name: str, options: FlickrtagOptions) -> AlignedLines | None:
    if template is None:
        return None
    found = place(path)
    folder = found if found.is_dir() else found.parent
    return AlignedLines(folder / template.replace("{name}", stem(name)), options)


def _parts(lines: Lines, size: int) -> Iterator[Lines]:
    for start in range(0, len(lines.texts), size):
        part = slice(start, start + size)
        yield Lines(lines.first + start, lines.labels[part], lines.texts[part], lines.slugs[part])


def _uris(options: FlickrtagOptions, ids: list[str | None], first: int) -> list[str | None]:
    if options.image is None:
        return [None] * len(ids)
    return [
        None if one is None else options.image.replace("{line}", str(first + index)).replace("{id}", one)
        for index, one in enumerate(ids)
    ]


def files(path: str, options: FlickrtagOptions) -> Iterator[SourceFile]:
    """List the label files, what is aligned with them, and the images when there is a way to them."""
    yield from (listed(file, name) for file, name, _ in label_files(path))
    start = place(path)
    folder = start if start.is_dir() else start.parent
    for template in (options.ids, options.image_list):
        names = [template.replace("{name}", stem(name)) for _, name, _ in label_files(path)] if template else []
        yield from (listed(folder / name, name) for name in sorted(set(names)))
    if options.image or options.image_list:
        yield from watched(path, options)
