"""Image folders, plain or in the Hugging Face layout: <split>/<label>/*.jpg, or metadata.{csv,jsonl,parquet}."""

from collections.abc import Iterator
from typing import ClassVar, Literal, NamedTuple

import pyarrow as pa
from pydantic import Field

from fuseline.tasks.readers import imagezip
from fuseline.tasks.readers.base import Finding, Refers, SourceFile, SourceFormat, chosen, documents, image_array
from fuseline.tasks.readers.image_files import copied, is_image
from fuseline.tasks.readers.imagelists import METADATA, one_format, read_lists
from fuseline.tasks.readers.mapping import TableOptions
from fuseline.tasks.readers.places import is_utf8, listed, place, same_root, walk
from fuseline.tasks.readers.strays import stray_images

LOOKS_FOR = "image files, metadata.csv, metadata.jsonl or metadata.parquet, or a zip of images per split"


class ImagefolderOptions(TableOptions):
    """Options of the image folder reader; the columns' options hold for the metadata files."""

    patterned: ClassVar[bool] = False

    layout: Literal["auto", "split/label", "label", "split", "flat"] = Field(
        "auto", description="What folders mean; auto infers it from their names"
    )


class Layout(NamedTuple):
    """What the folders of an image path mean."""

    split: bool  # the first folder names the split
    label: bool  # the last folder names the label


def read(path: str, options: ImagefolderOptions) -> Iterator[pa.Table]:
    """Yield one document per image in sorted order, or one per row of the metadata files when there are any.

    With metadata, folder names are no labels and only listed images are documents. The id of an image without
    metadata is its path. Statuses: bad_name (a file name that is not UTF-8), and those of the metadata's reader.
    """
    seen = survey(path) if place(path).is_dir() else None
    if seen is None or seen.only_zips:
        yield from copied(imagezip.read(path, options), path, options)
        return
    metadata = one_format(seen.metadata, path)
    rows = read_lists(path, options, metadata) if metadata else _images(path, options, told_layout(seen, options))
    yield from copied(rows, path, options)


def _images(path: str, options: ImagefolderOptions, layout: Layout) -> Iterator[pa.Table]:
    batch: list[str] = []
    for file in walk(same_root(path)):
        if is_image(file.uri):
            batch.append(file.uri)
        if len(batch) == options.batch_rows:
            yield _table(batch, layout)
            batch = []
    if batch:
        yield _table(batch, layout)


class Survey(NamedTuple):
    """Result of a first look over the names."""

    zips: set[str]
    metadata: set[str]
    firsts: set[str]  # first folders of the images, "" for none
    folders: set[str]  # last folders
    depths: set[int]

    @property
    def only_zips(self) -> bool:
        """Whether the images lie in zips, one per split."""
        return bool(self.zips) and not self.depths and not self.metadata


def survey(path: str) -> Survey:
    """Look over the names of a folder; memory grows with its folders, not its images."""
    seen = Survey(set(), set(), set(), set(), set())
    for file in walk(same_root(path)):
        *parts, name = file.uri.split("/")
        if name in METADATA:
            seen.metadata.add(name)
        elif name.lower().endswith(".zip"):
            seen.zips.add(file.uri)
        elif is_image(name):
            seen.firsts.add(parts[0] if parts else "")
            seen.folders.add(parts[-1] if parts else "")
            seen.depths.add(len(parts))
    return seen


def told_layout(seen: Survey, options: ImagefolderOptions) -> Layout:
    """Return what the folders mean.

    auto: splits when every first folder is the name of a split; labels when, below them, all images lie equally deep
    in more than one folder.
    """
    if options.layout != "auto":
        parts = options.layout.split("/")
        return Layout("split" in parts, "label" in parts)
    split = bool(seen.firsts) and all(chosen(first) is not None for first in seen.firsts)
    deep = len(seen.depths) == 1 and min(seen.depths) > int(split)
    return Layout(split, deep and len(seen.folders) > 1)


def _table(uris: list[str], layout: Layout) -> pa.Table:
    good = [is_utf8(uri) for uri in uris]
    names = [uri if fine else None for uri, fine in zip(uris, good, strict=True)]
    parts = [(name or "").split("/")[:-1] for name in names]
    return documents(
        len(uris),
        id=names,
        source=uris,
        status=["ok" if fine else "bad_name" for fine in good],
        split=[chosen(folders[0]) if layout.split and folders else None for folders in parts],
        labels=[[folders[-1]] if layout.label and len(folders) > int(layout.split) else [] for folders in parts],
        image=image_array(names),
    )


def findings(path: str, options: ImagefolderOptions, refers: Refers) -> Iterator[Finding]:
    """Yield the images that the metadata files do not list; without such files each image is a document."""
    if place(path).is_dir() and survey(path).metadata:
        yield from stray_images(path, options, refers)


def files(path: str, options: ImagefolderOptions) -> Iterator[SourceFile]:
    """List every image and metadata file."""
    source, ends = place(path), (*METADATA, ".zip")
    if source.is_dir():
        yield from (file for file in walk(source) if is_image(file.uri) or file.uri.lower().endswith(ends))
    else:
        yield listed(source, source.name)


FORMAT = SourceFormat(
    "imagefolder", "image folders: <split>/<label>/ or metadata.{csv,jsonl,parquet}", ImagefolderOptions, read, files,
    findings=findings, looks_for=LOOKS_FOR,
)  # fmt: skip
