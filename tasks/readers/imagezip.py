"""Image folders that lie in zips, one per split: images stay in the archive where they are stored as they are."""

import io
import struct
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from fuseline.tasks.readers.archives import Member, usable, zip_members
from fuseline.tasks.readers.base import ReaderOptions, Split, documents, faults, mark
from fuseline.tasks.readers.image_files import is_image
from fuseline.tasks.readers.imagelists import METADATA, one_format, read_lists
from fuseline.tasks.readers.manifests import sources
from fuseline.tasks.readers.mapping import TableOptions
from fuseline.tasks.readers.places import Place, place
from fuseline.tasks.readers.streams import BLOCK, DAMAGE, FREE_BYTES, Guard, poured
from fuseline.tasks.readers.webdataset import with_images
from fuseline.tasks.readers.zipindex import ZipStore, zipped


def read(path: str, options: TableOptions) -> Iterator[pa.Table]:
    """Yield one document per image of each zip, labelled by its folder when there is more than one folder.

    Where a zip holds metadata files, their rows are the documents, as in a plain folder. Statuses: bad_member
    (encrypted, a link, a name that climbs out), too_large, bad_file, bomb, missing (a row whose image is not there),
    and those of the metadata's reader. Deflated images come with their bytes.
    """
    archives = sources(path, (".zip",))
    lists = {name: _lists(file) for file, name, _ in archives}
    metadata = one_format({member.rpartition("/")[2] for some in lists.values() for member in some or ()}, path)
    if metadata is None:
        yield from _images(archives, options)
        return
    with tempfile.TemporaryDirectory(prefix="fuseline-") as folder:
        for file, name, _ in archives:
            members = lists[name]
            if members is None:
                yield faults([name], ["bad_file"])
            for member in members or ():
                slug = _unpacked(file, member, Path(folder) / name / member, options)
                if slug != "ok":
                    yield faults([f"{name}/{member}"], [slug])
        start = place(path)
        zips = ZipStore(start if start.is_dir() else start.parent, options)
        for table in read_lists(folder, options.model_copy(update={"root": None}), metadata):
            yield _named(zipped(table, zips, absent="missing"), table)


def _lists(file: Place) -> list[str] | None:
    """Return the names of the metadata files in a zip; None when it is damaged."""
    names = _names(file)
    return None if names is None else sorted({name for name in names if name.rpartition("/")[2] in METADATA})


def _names(file: Place) -> list[str] | None:
    try:
        with file.open() as raw, zipfile.ZipFile(raw) as archive:
            return [info.filename for info in archive.infolist() if usable(info) and not info.is_dir()]
    except (*DAMAGE, ValueError, struct.error):
        return None


def _unpacked(file: Place, member: str, target: Path, options: ReaderOptions) -> str:
    """Write a member to disk, as far as it is sound; return "ok", "bomb" or "bad_file"."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with file.open() as raw, zipfile.ZipFile(raw) as archive, archive.open(member) as stream:
            size = archive.getinfo(member).compress_size
            return poured(io.BufferedReader(Guard(stream, size, options), BLOCK), target)
    except (*DAMAGE, ValueError, struct.error):
        return "bad_file"


def _named(table: pa.Table, references: pa.Table) -> pa.Table:
    """Name documents that are known by their image as those of zips without metadata are: without ".zip"."""
    uris = pc.struct_field(references["image"], "uri")
    named = pc.fill_null(pc.equal(table["id"], uris), False)
    ids = pc.if_else(named, pc.replace_substring(uris, ".zip/", "/", max_replacements=1), table["id"])
    return table.set_column(0, table.schema.field(0), ids)


def _images(archives: list[tuple[Place, str, Split | None]], options: ReaderOptions) -> Iterator[pa.Table]:
    for file, name, split in archives:
        wanted = (one for one in zip_members(file, options) if one.slug != "ok" or is_image(one.name))
        folders = {one.rpartition("/")[0].rpartition("/")[2] for one in _names(file) or () if is_image(one)}
        batch: list[Member] = []
        held = 0
        for member in wanted:
            batch.append(member)
            held += len(member.data or b"")
            if len(batch) == options.batch_rows or held > FREE_BYTES:
                yield _table(batch, name, split, labelled=len(folders) > 1)
                batch, held = [], 0
        if batch:
            yield _table(batch, name, split, labelled=len(folders) > 1)


def _table(batch: list[Member], archive: str, split: Split | None, *, labelled: bool) -> pa.Table:
    good = [one.slug in ("ok", "too_large") and is_image(one.name) for one in batch]
    folders = [one.name.rpartition("/")[0].rpartition("/")[2] for one in batch]
    stem = archive.rpartition(".")[0]
    table = documents(
        len(batch),
        id=[f"{stem}/{one.name}" if fine else None for one, fine in zip(batch, good, strict=True)],
        source=[f"{archive}:{one.name}" for one in batch],
        split=[split if fine else None for fine in good],
        labels=[[folder] if folder and labelled and fine else [] for folder, fine in zip(folders, good, strict=True)],
    )
    table = with_images(table, [one if fine else None for one, fine in zip(batch, good, strict=True)], archive)
    bad = pa.array([not fine for fine in good], pa.bool_())
    return mark(table, bad, pa.array([one.slug for one in batch]))
