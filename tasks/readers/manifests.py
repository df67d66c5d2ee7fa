"""What the manifest readers (jsonl, csv, parquet) share: their files, splits from file names, and the listing."""

import posixpath
import re
from collections.abc import Iterator

import pyarrow as pa

from fuseline.tasks.readers.base import ReaderOptions, SourceFile, Split, chosen
from fuseline.tasks.readers.image_archive import archive_place
from fuseline.tasks.readers.image_files import manifest_folder, rebased, watched
from fuseline.tasks.readers.mapping import TableOptions
from fuseline.tasks.readers.places import Place, listed, manifests, relatives


def sources(
    path: str, suffixes: tuple[str, ...], options: ReaderOptions | None = None
) -> list[tuple[Place, str, Split | None]]:
    """Return (file, name, split inferred from the name) of a table source; for a single file, from its folder.

    The archive of the images is no table of documents.
    """
    archive = None if options is None else archive_place(path, options)
    files = [file for file in manifests(path, suffixes) if file != archive]
    names = relatives(files, path)
    hints = names if len(files) > 1 else [posixpath.dirname(name) for name in names]
    return [(file, name, name_split(hint)) for file, name, hint in zip(files, names, hints, strict=True)]


def name_split(name: str) -> Split | None:
    """Return the split that a path implies: "train/x.csv", "dev_seen.jsonl", "test-00000-of-00012.parquet"."""
    for part in reversed(name.split("/")):
        word = re.match(r"[A-Za-z]+", part)
        split = chosen(word.group()) if word else None
        if split is not None:
            return split
    return None


def table_files(path: str, options: TableOptions, suffixes: tuple[str, ...]) -> Iterator[SourceFile]:
    """Yield the manifests, the archive of the images, then image files unless `watch_images` is off."""
    archive = archive_place(path, options)
    files = [file for file in manifests(path, suffixes) if file != archive]
    yield from (listed(file, name) for file, name in zip(files, relatives(files, path), strict=True))
    if archive is not None and options.image_archive is not None:
        yield listed(archive, options.image_archive)
    if files:
        yield from watched(path, options)


def finished(table: pa.Table, name: str, options: TableOptions) -> Iterator[pa.Table]:
    """Yield a manifest's rows in tables of at most `batch_rows`, references relative to the source's root."""
    table = rebased(table, manifest_folder(name, options))
    for start in range(0, len(table), options.batch_rows):
        yield table.slice(start, options.batch_rows)
