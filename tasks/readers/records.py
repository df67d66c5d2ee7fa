"""Delimited records out of lines: quoted line breaks, and a stray quote that costs one line, not the file."""

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from tempfile import SpooledTemporaryFile
from typing import NamedTuple

import pyarrow as pa

from fuseline.tasks.readers.base import numbered
from fuseline.tasks.readers.mapping import TableOptions
from fuseline.tasks.readers.places import Place
from fuseline.tasks.readers.streams import HOLE, LineBlock, file_blocks, text_lines

# The csv module's limit is global and small; ours is `max_line_bytes` per record, in _Feed.
csv.field_size_limit((1 << 31) - 1)
REREAD = 256 << 20  # characters read again after stray quotes, per file; beyond it every line is a record
LINE_BYTES = 64  # that a line costs in memory beside its characters
BATCH_CHARACTERS = 32 << 20  # in one batch, about


@dataclass(slots=True)
class Records:
    """Some records of one file."""

    where: str  # the file, or the member of a zip
    fields: list[list[str] | None] = field(default_factory=list)  # None where a record could not be parsed
    lines: list[int] = field(default_factory=list)  # where each begins
    slugs: list[str] = field(default_factory=list)  # ok, bad_row, bad_encoding (fields all the same), or a fault
    heads: dict[int, str] = field(default_factory=dict)  # record without fields -> its first line, or its beginning

    def add(self, fields: list[str] | None, line: int, slug: str, head: str = "") -> None:
        """Append one record."""
        if fields is None:
            self.heads[len(self.fields)] = head
        self.fields.append(fields)
        self.lines.append(line)
        self.slugs.append(slug)

    def first_whole(self) -> int | None:
        """Return the first record that could be parsed."""
        return next((index for index, fields in enumerate(self.fields) if fields is not None), None)

    def without(self, record: int) -> "Records":
        """Return all records but one."""
        heads = {row - (row > record): text for row, text in self.heads.items()}
        kept = Records(self.where, self.fields[:], self.lines[:], self.slugs[:], heads)
        del kept.fields[record], kept.lines[record], kept.slugs[record]
        return kept

    @property
    def sources(self) -> pa.Array:
        """Where the records stand, (n,) string, for messages."""
        return numbered(self.where, self.lines)


class Columns(NamedTuple):
    """Some records of a file whose first record names the columns."""

    sources: pa.Array
    values: dict[str, Sequence[str | None]]  # null in bad records
    slugs: list[str]

    @property
    def bad(self) -> list[bool]:
        """Which records are bad."""
        return [slug != "ok" for slug in self.slugs]

    def get(self, *names: str) -> Sequence[str | None]:
        """Return the values of the first existing column of some; nulls when none exists."""
        values = next((self.values[name] for name in names if name in self.values), None)
        return [None] * len(self.slugs) if values is None else values


def headed_columns(file: Place, name: str, options: TableOptions, *, delimiter: str = ",") -> Iterator[Columns]:
    """Yield the quoted records of a file by column; names are trimmed and in lower case."""
    header: list[str] | None = None
    for batch in csv_records(file, name, options, delimiter=delimiter):
        if header is None:
            first = batch.first_whole()
            header = None if first is None else [field.strip().lower() for field in batch.fields[first] or []]
            batch = batch if first is None else batch.without(first)
        if batch.lines:
            yield Columns(batch.sources, *columns_of(batch, header or []))


def columns_of(
    batch: Records, names: Sequence[str], *, overflow: str | None = None
) -> tuple[dict[str, Sequence[str | None]], list[str]]:
    """Return name -> values, null in bad records, and the slugs: `bad_row` for a wrong number of fields.

    With `overflow`, fields too many belong to the last column, joined by it.
    """
    width, slugs = len(names), batch.slugs
    if batch.heads or any(len(fields or ()) != width for fields in batch.fields) or slugs.count("ok") < len(slugs):
        fields = [_fitted(one, width, overflow) for one in batch.fields]
        slugs = ["bad_row" if slug == "ok" and one is None else slug for one, slug in zip(fields, slugs, strict=True)]
        blank: list[str | None] = [None] * width
        rows = [one if one is not None and slug == "ok" else blank for one, slug in zip(fields, slugs, strict=True)]
        return dict(zip(names, zip(*rows, strict=True), strict=True)), slugs
    return dict(zip(names, zip(*filter(None, batch.fields), strict=True), strict=True)), slugs


def _fitted(fields: list[str] | None, width: int, overflow: str | None) -> list[str | None] | None:
    if fields is None or len(fields) < width:
        return None
    if len(fields) > width and overflow is not None:
        return [*fields[: width - 1], overflow.join(fields[width - 1 :])]
    return [*fields] if len(fields) == width else None


def plain_records(file: Place, name: str, options: TableOptions, *, delimiter: str) -> Iterator[Records]:
    """Yield one record per line, quotes being characters like any other (R3)."""
    batch, held, mark = Records(name), 0, options.encoding_errors == "mark"
    for member, block in file_blocks(file, options, options.encoding):
        where = f"{name}/{member}" if member else name
        if where != batch.where or held > BATCH_CHARACTERS:
            if batch.lines:
                yield batch
            batch, held = Records(where), 0
        held += len(block.data)
        if block.fault:
            batch.add(None, block.first, block.fault, _head(block))
            continue
        for number, (text, broken) in enumerate(zip(*text_lines(block, holes=True), strict=True), block.first):
            if text == HOLE:
                batch.add(None, number, "bad_row")
            elif text:
                batch.add(text.split(delimiter), number, "bad_encoding" if broken and mark else "ok")
            if len(batch.lines) == options.batch_rows:
                yield batch
                batch = Records(where)
    if batch.lines:
        yield batch


def csv_records(file: Place, name: str, options: TableOptions, *, delimiter: str) -> Iterator[Records]:
    """Yield quoted records, which may hold line breaks, in batches of at most `batch_rows`.

    A quote that is never closed, or closes in the middle of a field, makes its first line a `bad_row`; reading goes
    on at the next line. A record that takes more than `max_line_bytes` in memory is `too_large` as a whole.
    """
    feed = _Feed(file_blocks(file, options, options.encoding), options, delimiter)
    while feed.open_member():
        batch = Records(f"{name}/{feed.member}" if feed.member else name)
        for fields, line, slug, head in _parsed(feed, delimiter):
            batch.add(fields, line, slug, head)
            if len(batch.lines) == options.batch_rows or feed.held > BATCH_CHARACTERS:
                yield batch
                batch, feed.held = Records(batch.where), 0
        if batch.lines:
            yield batch


def _parsed(feed: "_Feed", delimiter: str) -> Iterator[tuple[list[str] | None, int, str, str]]:
    """Yield (fields, line, slug, head) of the records of one member."""
    while True:
        try:
            for fields in csv.reader(feed.lines(), delimiter=delimiter, strict=True):
                if fields == [HOLE]:
                    yield None, feed.first + feed.start, "bad_row", ""
                elif fields:
                    fields = [one.replace(HOLE, "") for one in fields] if feed.holes else fields
                    yield fields, feed.first + feed.start, "ok" if feed.broken is None else feed.slug(), ""
                feed.start = feed.at
        except csv.Error:
            skipped = feed.skip_record() if feed.over else None
            line, text = skipped or feed.give_back()
            yield None, line, "too_large" if skipped else "bad_row", text
            continue
        if feed.fault is None:
            return
        yield None, feed.fault.first, feed.fault.fault or "", _head(feed.fault)
        feed.fault = None


class _Feed:
    """Lines of one member after the other for csv.reader; those of the record at hand can be given back."""

    def __init__(self, blocks: Iterator[tuple[str, LineBlock]], options: TableOptions, delimiter: str) -> None:
        self._blocks, self._limit, self._again, self._delimiter = blocks, options.max_line_bytes, 0, delimiter
        self._mark = options.encoding_errors == "mark"
        self._next = next(blocks, None)
        self.member = ""
        self._texts: list[str] = []
        self.broken: list[bool] | None = None  # of `_texts`; None: all were UTF-8
        self.first = 1  # number of the first of them
        self.start = self.at = 0  # in `_texts`: where the record at hand begins, and the next line
        self.held = 0  # characters taken in since the caller last set it to 0
        self.fault: LineBlock | None = None  # what comes next is no part of any record
        self.over = False  # the record at hand is too long
        self.holes = False  # some of `_texts` are lines of NUL bytes

    def open_member(self) -> bool:
        """Go to the next member; False when there is none."""
        if self._next is not None:
            self.member = self._next[0]
            self._texts, self.broken, self.start, self.at = [], None, 0, 0
        return self._next is not None

    def lines(self) -> Iterator[str]:
        """Yield lines up to the member's end or a fault; inside a quote csv.reader calls such an end an error."""
        size, self.over = 0, False
        while True:
            while self.at < len(self._texts):
                text = self._texts[self.at]
                if self.at == self.start:
                    size = len(text)
                elif size > self._limit or self._again > REREAD:
                    self.over = True
                    return
                else:
                    size += len(text) + LINE_BYTES
                self.at += 1
                yield text + "\n"
            if self.fault is not None or not self._more():
                return

    def _more(self) -> bool:
        """Take in a block after the lines of the record at hand; False at the member's end or a fault."""
        if self._next is None or self._next[0] != self.member:
            return False
        block = self._next[1]
        self._next = next(self._blocks, None)
        if block.fault:
            self.fault = block
            return False
        texts, broken = text_lines(block, holes=True)
        self.holes = b"\0" in block.data or (self.holes and self.at > self.start)
        kept = slice(self.start, self.at)
        before = self.broken[kept] if self.broken is not None else [False] * (self.at - self.start)
        marks = before + (broken if self._mark else [False] * len(texts))
        self.first = block.first - (self.at - self.start)
        self._texts = self._texts[kept] + texts
        self.broken = marks if any(marks) else None
        self.start, self.at = 0, self.at - self.start
        self.held += len(block.data)
        return True

    def slug(self) -> str:
        """Return bad_encoding when a line of the record at hand was no UTF-8."""
        return "bad_encoding" if self.broken is not None and any(self.broken[self.start : self.at]) else "ok"

    def skip_record(self) -> tuple[int, str] | None:
        """Go behind the record at hand, whose quote is open; return the number and the text of its first line.

        None, and nothing was read, where the quote does not close as it should within REREAD characters. What is
        looked at waits on disk until then.
        """
        opening = self.first + self.start, self._texts[self.start]
        first, texts = self.first + self.at, self._texts[self.at :]
        broken = None if self.broken is None else self.broken[self.at :]
        ahead = _Ahead(self.member)
        while not (end := _closing(texts, self._delimiter)):
            if self._next is None or self._next[0] != self.member or self._next[1].fault:
                break
            if self._again + ahead.size > REREAD:
                break
            block = ahead.keep(self._next[1])
            self._next = next(self._blocks, None)
            if b"\0" not in block.data and b'"' not in block.data.replace(b'""', b""):
                texts = []  # nothing in it can close the quote
                continue
            first, (texts, marks) = block.first, text_lines(block, holes=True)
            broken = marks if self._mark and any(marks) else None
        if end > 0:
            ahead.drop()
            self._texts, self.first, self.start, self.at = texts[end:], first + end, 0, 0
            self.broken, self.holes = None if broken is None else broken[end:], HOLE in self._texts
            return opening
        self._again += ahead.size
        self._blocks = chain(ahead.blocks(), () if self._next is None else (self._next,), self._blocks)
        self._next = next(self._blocks, None)
        return None

    def give_back(self) -> tuple[int, str]:
        """Put all lines but the first of the record at hand back; return the first one's number and text."""
        self._again += sum(map(len, self._texts[self.start : self.at]))
        line, text = self.first + self.start, self._texts[self.start]
        self.start += 1
        self.at = self.start
        return line, text


class _Ahead:
    """Blocks that are looked at before their time: on disk, however many."""

    def __init__(self, member: str) -> None:
        self._member, self._places = member, list[tuple[int, int]]()
        self._file = SpooledTemporaryFile(BATCH_CHARACTERS)  # noqa: SIM115 - outlives this method
        self.size = 0

    def keep(self, block: LineBlock) -> LineBlock:
        """Take a block in."""
        self._file.write(block.data)
        self._places.append((block.first, len(block.data)))
        self.size += len(block.data)
        return block

    def drop(self) -> None:
        """Forget the blocks."""
        self._file.close()

    def blocks(self) -> Iterator[tuple[str, LineBlock]]:
        """Yield the blocks again."""
        with self._file:
            self._file.seek(0)
            for first, size in self._places:
                yield self._member, LineBlock(first, self._file.read(size))


def _closing(lines: Sequence[str], delimiter: str) -> int:
    """Return how many lines it takes until a quoted field that is open before them ends its record.

    0: it is open after all of them. -1: a quote stands where none may stand.
    """
    for number, line in enumerate(lines, 1):
        if '"' not in line:
            continue
        pieces = line.replace('""', "").split('"')
        for index in range(1, len(pieces), 2):  # outside of quotes
            last, between = index == len(pieces) - 1, pieces[index]
            if not (between.startswith(delimiter) or (last and not between)):
                return -1
            if not last and not between.endswith(delimiter):
                return -1
        if len(pieces) % 2 == 0:
            return number
    return 0


def _head(block: LineBlock) -> str:
    return block.data.decode("utf-8", "replace").replace("\0", "")
