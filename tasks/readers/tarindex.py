"""Tars that are read where they lie: the files of a folder as if all its tars were unpacked in it.

A file takes 28 bytes in the index (hash of its name, archive, place, length), so 16 million take 450 MB. Of several
with one name the last counts, as if the tars were unpacked one after the other by their names, and before all a file
that lies there unpacked.
"""

import io
import posixpath
from array import array
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from itertools import islice
from typing import IO, Any, NamedTuple

import numpy as np
import pyarrow as pa
import xxhash
from numpy.typing import NDArray

from fuseline.tasks.readers.archives import Member, climbs, tar_members
from fuseline.tasks.readers.base import ReaderOptions, image_array
from fuseline.tasks.readers.places import Openable, Place, is_utf8, walk
from fuseline.tasks.readers.streams import is_packed

SUFFIXES = (".tar", ".tar.gz", ".tar.bz2", ".tar.zst", ".tgz")
FOLDERS = 1000
BATCH = 4096  # names that are looked up at once
UNPACKED = -1  # archive of a file that is in no tar
UNUSABLE = -1  # offset of a link, a device, or a name that climbs out or is no UTF-8
Naming = Callable[[str, str], str]  # (tar, member) -> path of the member once it is unpacked


class TarIndex(NamedTuple):
    """Files and members by name, sorted by hash, of one name the one that counts last."""

    hashes: NDArray[np.uint64]  # (n,)
    archives: NDArray[np.int32]  # (n,), numbers of the tars, or UNPACKED
    offsets: NDArray[np.int64]  # (n,), of the data in the tar, or UNUSABLE
    lengths: NDArray[np.int64]  # (n,)
    folders: frozenset[str]  # the first parts of the members' paths, of FOLDERS at most


class TarMember(NamedTuple):
    """A member of a tar, to be opened like a file."""

    tar: Place
    offset: int
    length: int

    def open(self) -> IO[bytes]:
        """Open for reading; EOFError where the tar ends before the member does."""
        return io.BufferedReader(_Section(self.tar.open(), self.offset, self.length))


class TarStore:
    """The files below one folder, some of them in tars."""

    def __init__(self, root: Place, tars: Sequence[str], options: ReaderOptions, naming: Naming) -> None:
        self.root, self.tars = root, list(tars)
        self._options, self._naming = options, naming
        self._damaged: list[tuple[str, str]] = []  # (tar:member, slug) of tars that end early or cannot be read
        self._met: set[int] = set()  # hashes of unusable members that a reference led to

    def file(self, name: str) -> Openable | None:
        """Return the file of a path below the root, a member where it lies in a tar; None for a link and the like."""
        archives, offsets, lengths = self._look_up([name])
        if archives[0] == UNPACKED:
            return self.root / name
        tar, offset = self.root / self.tars[archives[0]], int(offsets[0])
        return None if offset == UNUSABLE else TarMember(tar, offset, int(lengths[0]))

    def images(self, uris: pa.Array) -> tuple[pa.StructArray, pa.Array]:
        """Return references (n,) to files or into tars, and which (n,) lead to a member that cannot be used.

        What is neither in a tar nor unpacked keeps its path.
        """
        if not self.tars:
            return image_array(uris), pa.repeat(False, len(uris))
        names = uris.to_pylist()
        archives, offsets, lengths = self._look_up(names)
        within = archives != UNPACKED
        bad = within & (offsets == UNUSABLE)
        held = [name if one == UNPACKED else self.tars[one] for name, one in zip(names, archives, strict=True)]
        images = image_array(
            pa.array(held, pa.string(), mask=bad),
            offset=pa.array(offsets, pa.int64(), mask=~within | bad),
            length=pa.array(lengths, pa.int64(), mask=~within | bad),
        )
        return images, pa.array(bad)

    def has_folder(self, name: str) -> bool:
        """Return whether a tar holds a file in this folder of the root."""
        return bool(self.tars) and name in self._index.folders

    def listed(self) -> Iterator[tuple[str, str, Member]]:
        """Yield (tar, path below the root, member) of all tars in their order, damage as a member with its slug."""
        for tar in self.tars:
            yield from ((tar, name, member) for name, member in self._members(tar))

    def members(self) -> Iterator[tuple[str, str, Member]]:
        """Yield (tar, path below the root, member) of the usable members that count."""
        for number, tar in enumerate(self.tars):
            members = self._members(tar)
            while batch := list(islice(members, BATCH)):
                archives, offsets, _ = self._look_up([name for name, _ in batch], meet=False)
                for (name, member), archive, offset in zip(batch, archives.tolist(), offsets.tolist(), strict=True):
                    if archive == number and offset == member.offset:
                        yield tar, name, member

    def faults(self) -> Iterator[tuple[str, str]]:
        """Yield ("tar:member", slug) of tars that cannot be read on, and of unusable members not met until now.

        Slugs: bad_file, bad_name, packed, bad_member.
        """
        index = self._index
        yield from self._damaged
        unusable = np.unique(index.hashes[(index.archives != UNPACKED) & (index.offsets == UNUSABLE)])
        left = np.setdiff1d(unusable, np.array(sorted(self._met), np.uint64))
        for tar, name, member in self.listed() if len(left) else ():
            if member.slug == "bad_member":
                key = np.uint64(_hash(name))
                at = min(int(np.searchsorted(left, key)), len(left) - 1)
                if left[at] == key:
                    yield f"{tar}:{member.name}", member.slug

    def _look_up(
        self, names: Sequence[str | None], *, meet: bool = True
    ) -> tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.int64]]:
        """Return (archives, offsets, lengths), (n,) each; UNPACKED where no tar holds such a name."""
        count = len(names)
        index = self._index if self.tars else EMPTY
        if not len(index.hashes):
            return np.full(count, UNPACKED, np.int32), np.zeros(count, np.int64), np.zeros(count, np.int64)
        hashes = np.fromiter((_hash(name or "") for name in names), np.uint64, count)
        at = np.searchsorted(index.hashes, hashes, side="right") - 1
        there = (at >= 0) & (index.hashes[at] == hashes)
        archives = np.where(there, index.archives[at], np.int32(UNPACKED))
        offsets = index.offsets[at]
        if meet:
            self._met.update(hashes[(archives != UNPACKED) & (offsets == UNUSABLE)].tolist())
        return archives, offsets, index.lengths[at]

    @cached_property
    def _index(self) -> TarIndex:
        hashes, archives, offsets, lengths = array("Q"), array("i"), array("q"), array("q")
        folders: set[str] = set()
        for number, tar in enumerate(self.tars):
            for name, member in self._members(tar):
                if member.slug not in ("ok", "bad_member"):
                    self._damaged.append((f"{tar}:{member.name}".rstrip(":"), member.slug))
                    continue
                hashes.append(_hash(name))
                archives.append(number)
                offsets.append(UNUSABLE if member.offset is None or member.slug != "ok" else member.offset)
                lengths.append(member.length)
                if len(folders) < FOLDERS:
                    folders.add(name.partition("/")[0])
        for file in walk(self.root):
            if not file.uri.lower().endswith(SUFFIXES):
                hashes.append(_hash(file.uri))
                archives.append(UNPACKED)
                offsets.append(0)
                lengths.append(file.size)
        names = np.frombuffer(hashes, np.uint64)
        order = np.argsort(names, kind="stable")
        places, sizes = np.frombuffer(offsets, np.int64)[order], np.frombuffer(lengths, np.int64)[order]
        return TarIndex(names[order], np.frombuffer(archives, np.int32)[order], places, sizes, frozenset(folders))

    def _members(self, tar: str) -> Iterator[tuple[str, Member]]:
        """Yield (path below the root, member); a tar that cannot be indexed is one member with its slug."""
        slug = _unreadable(self.root / tar) if is_utf8(tar) else "bad_name"  # it could not be referred to
        if slug is not None:
            yield tar, Member("", None, 0, slug=slug)
            return
        for member in tar_members(self.root / tar, self._options):
            name = self._naming(tar, _plain(member.name))
            # names that are no UTF-8 come with U+FFFD: two of them could look the same
            odd = member.slug == "ok" and "\ufffd" in name
            yield name, member._replace(slug="bad_member") if odd else member


def _unreadable(tar: Place) -> str | None:
    """Return why nothing in a tar can be read where it lies, if so."""
    try:
        return "packed" if is_packed(tar) else None
    except OSError:
        return "bad_file"


def _plain(name: str) -> str:
    """Return a member's name without "./" and the like; one that climbs out stays as it is, and never matches."""
    if name and "./" not in name and "//" not in name:
        return name
    return name if climbs(name) else posixpath.normpath(name)


def _hash(name: str) -> int:
    return xxhash.xxh3_64_intdigest(name.encode("utf-8", "surrogatepass"))


class _Section(io.RawIOBase):
    """Some bytes of a stream."""

    def __init__(self, stream: IO[bytes], start: int, length: int) -> None:
        self._stream, self._start, self._length, self._at = stream, start, length, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._length}[whence]
        self._at = max(0, base + offset)
        return self._at

    def readinto(self, buffer: Any) -> int:
        wanted = min(len(buffer), self._length - self._at)
        if wanted <= 0:
            return 0
        self._stream.seek(self._start + self._at)
        data = self._stream.read(wanted)
        if not data:
            raise EOFError("the tar ends before its member does")
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)

    def close(self) -> None:
        self._stream.close()
        super().close()


NO_INT = np.zeros(0, np.int64)
EMPTY = TarIndex(np.zeros(0, np.uint64), np.zeros(0, np.int32), NO_INT, NO_INT, frozenset())
