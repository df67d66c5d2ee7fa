"""Bytes into lines, safely: compression by magic bytes, bounds on bytes and ratio, encodings, no line lost."""

import bz2
import codecs
import errno
import gzip
import io
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple

import zstandard

from fuseline.tasks.readers.base import ReaderOptions
from fuseline.tasks.readers.places import Openable

BLOCK = 1 << 20
LINES = 1 << 16  # in one block, for each becomes some objects
FREE_BYTES = 64 << 20  # below this much output the ratio does not indicate a bomb
PACKED = (b"\x1f\x8b", b"BZh", b"\x28\xb5\x2f\xfd", b"PK\x03\x04", b"PK\x05\x06")
HOLE = "\0"  # a line of nothing but NUL bytes
HEAD = 4096  # what is kept of a line that is too long: enough to read its id
DAMAGE = (EOFError, OSError, zlib.error, zstandard.ZstdError, zipfile.BadZipFile, NotImplementedError, RuntimeError)


class LineBlock(NamedTuple):
    """Whole lines, or one fault."""

    first: int  # number of the first line, from 1
    data: bytes  # UTF-8 unless the file is damaged; without the last newline
    fault: str | None = None  # too_large: the line that starts with `data`; else the file ends here


class Bomb(Exception):  # noqa: N818 - a signal between two functions of this module, never an error of ours
    """A packed file unpacks to more than the limits allow."""


class Guard(io.RawIOBase):
    """A raw stream that raises Bomb when unpacked bytes outgrow the limits."""

    def __init__(self, stream: IO[bytes], packed: IO[bytes] | int, options: ReaderOptions) -> None:
        self._stream, self._packed, self._options, self._out = stream, packed, options, 0
        self._late: Exception | None = None  # what stopped the last reading after some bytes

    def readable(self) -> bool:
        """Return True, as io.RawIOBase asks."""
        return True

    def seekable(self) -> bool:
        """Return True; seeks only go forward."""
        return True

    def tell(self) -> int:
        """Return the number of bytes handed out."""
        return self._out

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Unpack and drop what lies before `offset`; OSError for going back."""
        target = offset + (self._out if whence == io.SEEK_CUR else 0)
        if whence == io.SEEK_END or target < self._out:
            raise OSError(errno.ESPIPE, "a packed stream goes forward only")
        scratch = bytearray(BLOCK)
        while self._out < target and self.readinto(memoryview(scratch)[: target - self._out]):
            pass
        return self._out

    def readinto(self, buffer: Any) -> int:
        """Fill `buffer` and return the number of bytes; 0 at the end.

        Decompressors hand out a few kB at a time: the buffer is filled, for each block of lines costs a table. What
        was unpacked before damage is handed out first.
        """
        filled = 0
        while filled < len(buffer):
            try:
                data = self._piece(len(buffer) - filled)
            except (Bomb, *DAMAGE) as error:
                if not filled:
                    raise
                self._late = error
                break
            if not data:
                break
            buffer[filled : filled + len(data)] = data
            filled += len(data)
        return filled

    def _piece(self, size: int) -> bytes:
        if self._late is not None:
            raise self._late
        data: bytes = getattr(self._stream, "read1", self._stream.read)(size)
        self._out += len(data)
        used = self._packed if isinstance(self._packed, int) else self._packed.tell()
        if self._out > self._options.max_unpacked_bytes:
            raise Bomb
        if self._out > FREE_BYTES and self._out > self._options.max_ratio * max(used, 1):
            raise Bomb
        return data


def unpacked(raw: IO[bytes], options: ReaderOptions) -> IO[bytes]:
    """Return the stream behind gzip, bzip2 or Zstandard, by its magic bytes; plain streams are returned as they are."""
    magic = raw.read(6)
    raw.seek(0)
    if magic[:2] == b"\x1f\x8b":
        stream: Any = gzip.GzipFile(fileobj=raw)
    elif magic[:3] == b"BZh":
        stream = bz2.BZ2File(raw)
    elif magic[:4] == b"\x28\xb5\x2f\xfd":
        stream = zstandard.ZstdDecompressor(max_window_size=1 << 27).stream_reader(raw, read_across_frames=True)
    else:
        return raw
    return io.BufferedReader(Guard(stream, raw, options), BLOCK)


def members(file: Openable, options: ReaderOptions) -> Iterator[tuple[str, IO[bytes]]]:
    """Yield (member name, stream) of a file: itself under "", or each regular member of a zip in its own order.

    Damage while opening raises one of DAMAGE.
    """
    with file.open() as raw:
        if raw.read(4) not in (b"PK\x03\x04", b"PK\x05\x06"):
            raw.seek(0)
            yield "", unpacked(raw, options)
            return
        with zipfile.ZipFile(raw) as archive:
            for info in archive.infolist():
                if not info.is_dir() and not info.filename.startswith("__MACOSX/"):
                    with archive.open(info) as stream:
                        yield info.filename, io.BufferedReader(Guard(stream, info.compress_size, options), BLOCK)


def poured(stream: IO[bytes], target: Path) -> str:
    """Write a stream to disk, as far as it is sound; return "ok", "bomb" or "bad_file"."""
    try:
        with target.open("wb") as out:
            while piece := stream.read1(BLOCK) if isinstance(stream, io.BufferedReader) else stream.read(BLOCK):
                out.write(piece)
    except Bomb:
        return "bomb"
    except DAMAGE:
        return "bad_file"
    return "ok"


def is_packed(file: Openable) -> bool:
    """Return whether a file's first bytes are those of gzip, bzip2, Zstandard or zip."""
    with file.open() as raw:
        return raw.read(4).startswith(PACKED)


def file_blocks(file: Openable, options: ReaderOptions, encoding: str = "utf-8") -> Iterator[tuple[str, LineBlock]]:
    """Yield (member name, block) of a text file, whatever it is packed in; damage ends the file with one fault."""
    name = ""
    try:
        for name, stream in members(file, options):
            yield from ((name, block) for block in blocks(stream, options, encoding=encoding))
    except DAMAGE:
        yield name, LineBlock(0, b"", "bad_file")


def blocks(stream: IO[bytes], options: ReaderOptions, *, encoding: str = "utf-8") -> Iterator[LineBlock]:
    """Yield blocks of about 1 MiB, and about LINES lines, that end at a line's end; a BOM is stripped.

    A line over `max_line_bytes` is one block with fault "too_large"; damage ends the stream with "bad_file", more
    bytes than the limits allow with "bomb". Memory stays under one block and one line.
    """
    first, rest, over, fault = 1, b"", b"", None
    source = _pieces(stream, encoding)
    while True:
        try:
            piece = next(source, b"")
        except (Bomb, *DAMAGE) as error:
            piece, fault = b"", "bomb" if isinstance(error, Bomb) else "bad_file"
        if not piece:
            break
        if over:  # inside a line that is too long already: only its end matters
            end = piece.find(b"\n")
            if end < 0:
                continue
            yield LineBlock(first, over, "too_large")
            first, piece, over = first + 1, piece[end + 1 :], b""
        data = rest + piece
        cut = data.rfind(b"\n")
        if cut >= 0:
            lines = data.count(b"\n", 0, cut + 1)
            for part in _parts(LineBlock(first, data[:cut]), lines):
                yield from _bounded(part, options.max_line_bytes)
            first += lines
        rest = data[cut + 1 :]
        if len(rest) > options.max_line_bytes:
            over, rest = rest[:HEAD], b""
    if fault:
        yield LineBlock(first, over or rest[:HEAD], fault)
    elif over:
        yield LineBlock(first, over, "too_large")
    elif rest:
        yield LineBlock(first, rest)


def _parts(block: LineBlock, lines: int) -> Iterator[LineBlock]:
    """Cut a block of so many lines into pieces of about LINES, at lines' ends."""
    pieces, start, first = 1 + lines // LINES, 0, block.first
    for piece in range(1, pieces):
        end = block.data.find(b"\n", piece * len(block.data) // pieces)
        if end >= start:
            part = block.data[start:end]
            yield LineBlock(first, part)
            start, first = end + 1, first + part.count(b"\n") + 1
    yield LineBlock(first, block.data[start:] if start else block.data)


def _bounded(block: LineBlock, limit: int) -> Iterator[LineBlock]:
    """Cut the lines that are too long out of a block."""
    if len(block.data) <= limit:
        yield block
        return
    lines = block.data.split(b"\n")
    start = 0
    for index, line in enumerate(lines):
        if len(line) > limit:
            if index > start:
                yield LineBlock(block.first + start, b"\n".join(lines[start:index]))
            yield LineBlock(block.first + index, line[:HEAD], "too_large")
            start = index + 1
    if start < len(lines):
        yield LineBlock(block.first + start, b"\n".join(lines[start:]))


def _pieces(stream: IO[bytes], encoding: str) -> Iterator[bytes]:
    """Yield the stream in pieces of UTF-8, without a BOM; a UTF-16 BOM wins over `encoding`."""
    # read1 hands out what was unpacked before the damage; read would lose it
    read = getattr(stream, "read1", stream.read)
    piece = read(BLOCK)
    if piece[:2] in (b"\xff\xfe", b"\xfe\xff"):
        encoding = "utf-16"
    elif piece[:3] == codecs.BOM_UTF8:
        piece, encoding = piece[3:], "utf-8"
    if codecs.lookup(encoding).name == "utf-8":
        while piece:
            yield piece
            piece = read(BLOCK)
        return
    decoder = codecs.getincrementaldecoder(encoding)("replace")
    while piece:
        if text := decoder.decode(piece):  # an empty piece would mean the end
            yield text.encode("utf-8", "replace")
        piece = read(BLOCK)
    yield decoder.decode(b"", final=True).encode("utf-8", "replace")


def text_bytes(block: LineBlock) -> tuple[bytes, list[bool] | None]:
    """Return a block's lines as UTF-8 without carriage returns at their ends and NUL bytes, and which were no UTF-8.

    None means that every line was; a line of NUL bytes alone is one; see `text_lines`.
    """
    data = block.data
    if b"\r" not in data and b"\0" not in data and _is_utf8(data):
        return data, None
    lines, broken = text_lines(block, holes=True)
    return "\n".join(lines).encode(), broken


def _is_utf8(data: bytes) -> bool:
    try:
        return data.isascii() or bool(data.decode())
    except UnicodeDecodeError:
        return False


def text_lines(block: LineBlock, *, holes: bool = False) -> tuple[list[str], list[bool]]:
    """Decode a block into lines without their line ends, and mark those that held bytes outside UTF-8 (R10).

    Such bytes become U+FFFD; NUL bytes are dropped. With `holes`, a line of nothing else, as a crash of its writer
    leaves it, comes as HOLE, for a blank line would be no row.
    """
    try:
        lines = block.data.decode("utf-8").split("\n")
        broken = [False] * len(lines)
    except UnicodeDecodeError:
        raws = block.data.split(b"\n")
        lines = [raw.decode("utf-8", "replace") for raw in raws]
        broken = [raw != line.encode("utf-8") for raw, line in zip(raws, lines, strict=True)]
    if b"\r" in block.data:
        lines = [line.removesuffix("\r") for line in lines]
    if b"\0" in block.data:
        lines = [line.replace("\0", "") or (HOLE if holes and line else "") for line in lines]
    return lines, broken
