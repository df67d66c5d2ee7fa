"""Delimited records out of lines: quoted line breaks, and a stray quote that costs one line, not the file."""

import csv
from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

from tasks.readers.mapping import TableOptions
from tasks.readers.places import Place
from tasks.readers.streams import file_blocks, text_lines

# The csv module's limit is global and small; ours is `max_line_bytes` per record, in _Feed.
csv.field_size_limit((1 << 31) - 1)
REREAD = 256 << 20  # characters read again after stray quotes, per file; beyond it every line is a record


class Line(NamedTuple):
    """One physical line."""

    source: str
    text: str
    slug: str = "ok"  # bad_encoding: still text; too_large, bad_file, bomb: `text` is only its beginning


class Record(NamedTuple):
    """One record: its fields, or None and why."""

    fields: list[str] | None
    source: str
    slug: str
    head: str  # the first line's text when there are no fields
    delimiter: str


def lines(file: Place, name: str, options: TableOptions) -> Iterator[Line]:
    """Yield the physical lines of a text file with where each stands."""
    for member, block in file_blocks(file, options, options.encoding):
        where = f"{name}/{member}" if member else name
        if block.fault:
            yield Line(f"{where}:{block.first}", block.data.decode("utf-8", "replace").replace("\0", ""), block.fault)
            continue
        mark = options.encoding_errors == "mark"
        for number, (text, broken) in enumerate(zip(*text_lines(block), strict=True), block.first):
            yield Line(f"{where}:{number}", text, "bad_encoding" if broken and mark else "ok")


def plain_records(file: Place, name: str, options: TableOptions, *, delimiter: str) -> Iterator[Record]:
    """Yield one record per line, quotes being characters like any other (R3)."""
    for line in lines(file, name, options):
        if line.text or line.slug in FAULTS:
            fields = None if line.slug in FAULTS else line.text.split(delimiter)
            yield Record(fields, line.source, line.slug, line.text, delimiter)


def csv_records(file: Place, name: str, options: TableOptions, *, delimiter: str) -> Iterator[Record]:
    """Yield quoted records, which may hold line breaks.

    A quote that is never closed, closes in the middle of a field, or makes a record longer than `max_line_bytes`,
    makes its first line a `bad_row`; reading goes on at the next line.
    """
    feed = _Feed(lines(file, name, options), options.max_line_bytes)
    reader = csv.reader(feed, delimiter=delimiter, strict=True)
    while True:
        feed.taken.clear()
        feed.size = 0
        try:
            fields = next(reader, None)
        except csv.Error:
            first = feed.give_back()
            yield Record(None, first.source, "bad_row", first.text, delimiter)
            continue
        if fields:
            slug = next((line.slug for line in feed.taken if line.slug != "ok"), "ok")
            yield Record(fields, feed.taken[0].source, slug, feed.taken[0].text, delimiter)
        elif fields is None:
            if feed.fault is None:
                return
            yield Record(None, feed.fault.source, feed.fault.slug, feed.fault.text, delimiter)
            feed.fault = None


class _Feed:
    """Lines for csv.reader, with those of the record at hand kept so that they can be given back."""

    def __init__(self, source: Iterator[Line], limit: int) -> None:
        self._source, self._limit, self._again = source, limit, 0
        self._waiting: deque[Line] = deque()
        self.taken: list[Line] = []
        self.size = 0
        self.fault: Line | None = None  # a line that cannot be part of any record comes next

    def __iter__(self) -> "_Feed":
        return self

    def __next__(self) -> str:
        if self.fault is not None or self.size > self._limit or (self.taken and self._again > REREAD):
            raise StopIteration  # inside a quote the reader calls that an error, between records the end
        line = self._waiting.popleft() if self._waiting else next(self._source)
        if line.slug in FAULTS:
            self.fault = line
            raise StopIteration
        self.taken.append(line)
        self.size += len(line.text)
        return line.text + "\n"

    def give_back(self) -> Line:
        """Put all lines but the first of the record at hand back, and return the first."""
        self._again += self.size
        self._waiting.extendleft(reversed(self.taken[1:]))
        return self.taken[0]


FAULTS = frozenset({"too_large", "bad_file", "bomb"})
