"""Findings among the files of a source (R4): images that no row refers to."""

from collections.abc import Iterable, Iterator
from itertools import compress, islice

from fuseline.tasks.readers.base import Finding, ReaderOptions, Refers
from fuseline.tasks.readers.image_archive import tar_store
from fuseline.tasks.readers.image_files import is_image
from fuseline.tasks.readers.places import is_utf8, place, walk

BATCH = 4096


def stray_images(path: str, options: ReaderOptions, refers: Refers) -> Iterator[Finding]:
    """Yield `no_row` for each image below a folder, or in its archive of images, that no row refers to.

    Nothing is known of the images of a file alone, for other files may list the rest, nor of those of another root.
    """
    if options.root is None and options.watch_images and place(path).is_dir():
        images = (file.uri for file in walk(place(path)) if is_image(file.uri) and is_utf8(file.uri))
        yield from unreferred(((uri, uri) for uri in images), refers)
        if (options.image_archive or "").lower().endswith(".tar"):
            members = ((tar, one) for tar, _, one in tar_store(path, options).members() if is_image(one.name))
            yield from unreferred(((f"{tar}:{one.offset}", f"{tar}:{one.name}") for tar, one in members), refers)


def unreferred(names: Iterable[tuple[str, str]], refers: Refers) -> Iterator[Finding]:
    """Yield `no_row` for each (name, what a message calls it) that no row refers to."""
    left = iter(names)
    while batch := list(islice(left, BATCH)):
        unknown = ~refers([name for name, _ in batch])
        yield from (Finding("no_row", shown) for _, shown in compress(batch, unknown))
