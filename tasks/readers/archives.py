"""Members of tar and zip archives as references (offset and length), without trusting the archive.

The tar headers are read here and not with tarfile: 100,000 members are indexed in a second instead of five, a link or
a name that climbs out is never followed, and a tar that ends early keeps what came before.
"""

import io
import re
import struct
import zipfile
from collections.abc import Callable, Iterator
from typing import IO, NamedTuple

from fuseline.tasks.readers.base import ReaderOptions
from fuseline.tasks.readers.places import Place
from fuseline.tasks.readers.streams import BLOCK, DAMAGE, FREE_BYTES, Bomb, is_packed, members

CLIMBS = re.compile(r"^[/\\]|^[A-Za-z]:[/\\]|(?:^|[/\\])\.\.(?:[/\\]|$)|\x00")
LONG = 1 << 20  # bytes of a long name or pax header that are looked at
SMALL = 8 << 10  # bytes read at once where one member's header is far from the next
ZEROS = bytes(512)
REGULAR, NO_DATA = b"0\x007", b"gK5"  # kinds of members: files; global headers, long links, folders
LONG_NAME, LONG_LINK, PAX = b"LKx"


class Member(NamedTuple):
    """One member: a reference into the archive, its bytes where the archive is packed, or what is wrong with it."""

    name: str
    offset: int | None
    length: int
    data: bytes | None = None
    slug: str = "ok"  # bad_member (a link, a climbing name, encrypted), too_large, bad_file (the archive ends), bomb


def tar_members(
    file: Place, options: ReaderOptions, *, keep: Callable[[str], bool] = lambda name: False
) -> Iterator[Member]:
    """Yield the regular members of a tar in its own order; links and climbing names with slug "bad_member".

    Only members whose name `keep` accepts are read; of a packed tar, of all members, for there is no other
    way to them. Folders are left out. Damage ends the archive with one member "bad_file".
    """
    try:
        if is_packed(file):
            for _, stream in members(file, options):
                yield from _tar(stream, options, None, keep=keep)
        else:
            with file.open() as raw:
                total = raw.seek(0, io.SEEK_END)
                raw.seek(0)
                yield from _tar(raw, options, total, keep=keep)
    except (*DAMAGE, ValueError):
        yield Member("", None, 0, slug="bad_file")


def _tar(
    stream: IO[bytes], options: ReaderOptions, total: int | None, *, keep: Callable[[str], bool]
) -> Iterator[Member]:
    """Yield the members of a tar of `total` bytes, None for what comes out of a packed file."""
    name, window = "", Window(stream)
    try:
        for name, offset, length, kind in _headers(window, total):
            place = None if total is None else offset
            if kind not in REGULAR or climbs(name):
                yield Member(name, None, length, slug="bad_member")
            elif total is not None and not keep(name):
                yield Member(name, place, length)
            elif length > options.max_image_bytes:
                yield Member(name, place, length, slug="too_large")
            else:
                data = window.get(offset, length)
                if len(data) < length:
                    raise EOFError
                yield Member(name, place, length, data)
    except Bomb:
        yield Member(name, None, 0, slug="bomb")
    except (*DAMAGE, ValueError):
        yield Member(name, None, 0, slug="bad_file")


def climbs(name: str) -> bool:
    """Return whether a member's name leads out of the folder that it would be unpacked to, or holds a NUL."""
    odd = (
        ".." in name or ":" in name or "\\" in name or "\0" in name or name.startswith("/")
    )  # cheaper than the pattern
    return odd and CLIMBS.search(name) is not None


class Window:
    """Part of a stream that is read forward, in blocks that grow while one request follows the other."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream, self._data, self._start, self._block = stream, b"", 0, SMALL

    def get(self, position: int, length: int) -> bytes:
        """Return bytes from a position on, fewer at the stream's end; positions never fall."""
        begin = position - self._start
        if begin + length > len(self._data):
            self._move(position, length)
            begin = 0
        return self._data[begin : begin + length]

    def _move(self, position: int, length: int) -> None:
        begin = position - self._start
        # large members that are passed over: the next header alone is read
        self._block = min(2 * self._block, BLOCK) if begin <= len(self._data) else SMALL
        kept = self._data[begin:]
        self._stream.seek(position + len(kept))
        self._data = kept + self._stream.read(max(length, self._block) - len(kept))
        self._start = position


def _headers(window: Window, total: int | None) -> Iterator[tuple[str, int, int, int]]:
    """Yield (name, offset of the data, length, kind) of the members; EOFError when the tar ends early.

    `total` is the archive's size where that is known: it spares a read per member.
    """
    position, long_name, size = 0, "", None
    while True:
        header = window.get(position, 512)
        if len(header) < 512:
            if header or position == 0:
                raise EOFError
            return  # some writers leave the end mark out
        if not header[0] and header == ZEROS:
            return
        # the sum of 512 bytes costs as much as all else here: it is asked for only where no magic vouches
        if header[257:262] != b"ustar" and sum(header) - sum(header[148:156]) + 256 != _octal(header[148:156]):
            raise EOFError
        kind, length = header[156], _octal(header[124:136])
        start = position + 512
        if kind in (LONG_NAME, PAX):
            head = window.get(start, min(length, LONG))
            if kind == LONG_NAME:
                long_name = _text(head)
            else:
                long_name, size = _pax(head, long_name)
        elif kind not in NO_DATA:
            length = length if size is None else size
            yield long_name or _name(header), start, length, kind
        position = start + (length + 511) // 512 * 512
        if total is not None and position > total and kind not in (LONG_NAME, PAX, *NO_DATA):
            raise EOFError
        if total is None and length and not window.get(position - 1, 1):  # the data end before the header's promise
            raise EOFError
        if kind not in (LONG_NAME, PAX, LONG_LINK):
            long_name, size = "", None


def _name(header: bytes) -> str:
    name = _text(header[:100])
    if not header[345] or header[257:262] != b"ustar" or header[257:265] == b"ustar  \0":
        return name
    return f"{_text(header[345:500])}/{name}"


def _text(raw: bytes) -> str:
    end = raw.find(0)
    return (raw if end < 0 else raw[:end]).decode("utf-8", "replace")


def _octal(field: bytes) -> int:
    """Read a number of a header: octal text, or base 256 when the first bit is set; ValueError when it is neither."""
    digits = field[:-1]
    if digits.isdigit() and field[-1] in b"\0 ":  # as nearly all writers put it
        return int(digits, 8)
    if field[0] & 0x80:
        value = int.from_bytes(field[1:], "big")
        if value > 1 << 62:
            raise ValueError(value)
        return value
    text = field.split(b"\0", 1)[0].strip()
    if not text.isdigit() and text:
        raise ValueError(text)
    return int(text or b"0", 8)


def _pax(head: bytes, name: str) -> tuple[str, int | None]:
    """Return the name and size that a pax header sets."""
    size, position = None, 0
    while match := re.compile(rb"(\d{1,7}) ([^=]+)=").match(head, position):
        end = position + int(match.group(1))
        value = head[match.end() : end - 1]  # a value may hold line breaks: its length counts
        if match.group(2) == b"path":
            name = value.decode("utf-8", "replace")
        elif match.group(2) == b"size" and value.isdigit():
            size = min(int(value), 1 << 62)
        position = max(end, match.end())
    return name, size


def zip_members(file: Place, options: ReaderOptions, *, names: frozenset[str] | None = None) -> Iterator[Member]:
    """Yield the files in a zip in its own order: stored ones by reference, deflated ones with their bytes.

    Encrypted members and climbing names have slug "bad_member"; what unpacks beyond the limits "too_large"; where all
    together unpack to too much, the archive ends with "bomb". With `names`, other members are passed over.
    """
    try:
        with file.open() as raw, zipfile.ZipFile(raw) as archive:
            size, out = raw.seek(0, io.SEEK_END), 0
            for info in archive.infolist():
                if not info.is_dir() and (names is None or info.filename in names):
                    member = _zip_member(archive, raw, info, options)
                    # members may lie upon each other: a small archive of many that each look harmless
                    out += min(info.file_size, options.max_image_bytes) if member.offset is None else 0
                    if out > FREE_BYTES and out > options.max_ratio * size:
                        yield Member(info.filename, None, info.file_size, slug="bomb")
                        return
                    yield member
    except (*DAMAGE, ValueError, struct.error):
        yield Member("", None, 0, slug="bad_file")


def usable(info: zipfile.ZipInfo) -> bool:
    """Return whether a zip's member is a plain file with a name that stays inside, and not encrypted."""
    linked = (info.external_attr >> 16) & 0o170000 == 0o120000
    return not (linked or info.flag_bits & 1 or climbs(info.filename))


def data_offset(raw: IO[bytes], info: zipfile.ZipInfo) -> int | None:
    """Return where the bytes of a stored member begin in the archive; None when they are compressed."""
    if info.compress_type != zipfile.ZIP_STORED:
        return None
    raw.seek(info.header_offset)
    name, extra = struct.unpack("<HH", raw.read(30)[26:30])
    return info.header_offset + 30 + int(name) + int(extra)


def _zip_member(archive: zipfile.ZipFile, raw: IO[bytes], info: zipfile.ZipInfo, options: ReaderOptions) -> Member:
    if not usable(info):
        return Member(info.filename, None, info.file_size, slug="bad_member")
    offset = data_offset(raw, info)
    if offset is not None:
        return Member(info.filename, offset, info.file_size)
    try:
        with archive.open(info) as stream:
            data = stream.read(options.max_image_bytes + 1)
    except (*DAMAGE, ValueError):
        return Member(info.filename, None, info.file_size, slug="bad_member")
    if len(data) > options.max_image_bytes:
        return Member(info.filename, None, info.file_size, slug="too_large")
    return Member(info.filename, None, len(data), data)
