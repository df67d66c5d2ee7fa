"""Images in many zips, looked up by member name: a compact index per archive, references into stored members.

An index takes 24 bytes per member (hash of the name, place, length); those of `HELD` archives are kept, so the
4,096 zips of all of YFCC100M's images take about 2.4 GB and a tenth of them 240 MB.
"""

import struct
import zipfile
from collections import OrderedDict
from collections.abc import Sequence
from typing import IO, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import xxhash
from numpy.typing import NDArray

from fuseline.tasks.readers.archives import Member, data_offset, usable, zip_members
from fuseline.tasks.readers.base import ReaderOptions, image_array, mark
from fuseline.tasks.readers.places import Place
from fuseline.tasks.readers.streams import DAMAGE

HELD = 4096
MARK = ".zip/"  # "images/12/345.zip/678.jpg" is the member 678.jpg of images/12/345.zip
PACKED = -1  # offset of a deflated member: its bytes must be read
UNUSABLE = -2  # encrypted, a link, or a name that climbs out


class ZipIndex(NamedTuple):
    """The members of one archive, sorted by hash."""

    hashes: NDArray[np.uint64]  # (n,)
    offsets: NDArray[np.int64]  # (n,), of the data in the archive, or PACKED, or UNUSABLE
    lengths: NDArray[np.int64]  # (n,)


class ZipStore:
    """The zips under one folder."""

    def __init__(self, root: Place, options: ReaderOptions) -> None:
        self._root, self._options = root, options
        self._held: OrderedDict[str, ZipIndex | None] = OrderedDict()

    def find(self, uris: Sequence[str | None]) -> list[Member | None]:
        """Return the member behind each "archive.zip/member"; None where there is no such archive or member.

        A deflated member comes with its bytes, one that cannot be used with its slug (bad_member, too_large).
        """
        members: list[Member | None] = [None] * len(uris)
        rows: dict[str, list[int]] = {}
        for row, uri in enumerate(uris):
            if uri is not None and MARK in uri:
                rows.setdefault(archive_of(uri), []).append(row)
        for archive, mine in rows.items():
            index = self._index(archive)
            names = [(uris[row] or "")[len(archive) + 1 :] for row in mine]
            for row, member in zip(mine, [] if index is None else self._members(archive, index, names), strict=False):
                members[row] = member
        return members

    def _index(self, archive: str) -> ZipIndex | None:
        """Return the index of an archive, None when it is absent or damaged."""
        if archive not in self._held:
            self._held[archive] = build_index(self._root / archive)
            if len(self._held) > HELD:
                self._held.popitem(last=False)
        self._held.move_to_end(archive)
        return self._held[archive]

    def _members(self, archive: str, index: ZipIndex, names: list[str]) -> list[Member | None]:
        hashes = np.array([xxhash.xxh3_64_intdigest(name.encode()) for name in names], np.uint64)
        at = np.searchsorted(index.hashes, hashes).clip(0, max(0, len(index.hashes) - 1))
        there = index.hashes[at] == hashes if len(index.hashes) else np.zeros(len(names), bool)
        packed = {
            name for name, here, row in zip(names, there, at, strict=True) if here and index.offsets[row] == PACKED
        }
        read = self._packed(archive, packed) if packed else {}
        members: list[Member | None] = []
        for name, here, row in zip(names, there.tolist(), at.tolist(), strict=True):
            offset, length = (int(index.offsets[row]), int(index.lengths[row])) if here else (0, 0)
            if offset == UNUSABLE:
                members.append(Member(name, None, length, slug="bad_member"))
            elif not here:
                members.append(None)
            else:
                members.append(Member(name, offset, length) if offset >= 0 else read.get(name))
        return members

    def _packed(self, archive: str, names: set[str]) -> dict[str, Member]:
        wanted = zip_members(self._root / archive, self._options, names=frozenset(names))
        return {member.name: member for member in wanted}


def zipped(table: pa.Table, zips: ZipStore, *, absent: str = "ok") -> pa.Table:
    """Replace references to members by the places of their bytes; a member that is not there leaves no image.

    Statuses: bad_member (encrypted, a link), too_large, and `absent` for a reference that leads nowhere.
    """
    uris = pc.struct_field(table["image"], "uri").to_pylist()
    members = zips.find(uris)
    images = image_array(
        pa.array(
            [
                archive_of(uri) if one and one.offset is not None else None
                for uri, one in zip(uris, members, strict=True)
            ],
            pa.string(),
        ),
        offset=[one.offset if one else None for one in members],
        length=[one.length if one and one.offset is not None else None for one in members],
        data=pa.array([one.data if one else None for one in members], pa.large_binary()),
    )
    table = table.set_column(table.schema.get_field_index("image"), table.schema.field("image"), images)
    slugs = [one.slug if one else ("ok" if uri is None else absent) for uri, one in zip(uris, members, strict=True)]
    return mark(table, pa.array([slug != "ok" for slug in slugs], pa.bool_()), pa.array(slugs), blank=False)


def archive_of(uri: str) -> str:
    """Return the part of a reference that names the archive."""
    return uri[: uri.index(MARK) + len(MARK) - 1]


def build_index(file: Place) -> ZipIndex | None:
    """Read the central directory of a zip; None when the archive is absent or damaged."""
    try:
        with file.open() as raw, zipfile.ZipFile(raw) as archive:
            infos = [info for info in archive.infolist() if not info.is_dir()]
            places = [_place(raw, info) for info in infos]
    except (*DAMAGE, ValueError, struct.error):
        return None
    hashes = np.array([xxhash.xxh3_64_intdigest(info.filename.encode()) for info in infos], np.uint64)
    order = np.argsort(hashes, kind="stable")
    lengths = np.array([info.file_size for info in infos], np.int64)
    return ZipIndex(hashes[order], np.array(places, np.int64)[order], lengths[order])


def _place(raw: IO[bytes], info: zipfile.ZipInfo) -> int:
    if not usable(info):
        return UNUSABLE
    offset = data_offset(raw, info)
    return PACKED if offset is None else offset
