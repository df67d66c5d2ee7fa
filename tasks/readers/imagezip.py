"""Image folders that lie in zips, one per split: images stay in the archive where they are stored as they are."""

from collections.abc import Iterator

import pyarrow as pa

from tasks.readers.archives import Member, zip_members
from tasks.readers.base import ReaderOptions, Split, documents, mark
from tasks.readers.images import is_image
from tasks.readers.tables import sources
from tasks.readers.webdataset import with_images


def read(path: str, options: ReaderOptions) -> Iterator[pa.Table]:
    """Yield one document per image of each zip, labelled by its folder when there is more than one folder.

    Statuses: bad_member (encrypted, a link, a name that climbs out), too_large, bad_file. Deflated images come with
    their bytes.
    """
    for file, name, split in sources(path, (".zip",)):
        wanted = (one for one in zip_members(file, options) if one.slug != "ok" or is_image(one.name))
        folders = {
            one.name.rpartition("/")[0].rpartition("/")[2] for one in zip_members(file, options) if is_image(one.name)
        }
        batch: list[Member] = []
        for member in wanted:
            batch.append(member)
            if len(batch) == options.batch_rows:
                yield _table(batch, name, split, labelled=len(folders) > 1)
                batch = []
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
