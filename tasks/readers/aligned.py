"""Files whose line i speaks of line i of another file."""

from collections.abc import Iterator

from fuseline.tasks.readers.base import ReaderOptions
from fuseline.tasks.readers.places import Openable
from fuseline.tasks.readers.streams import file_blocks, text_lines


class AlignedLines:
    """Hands out the lines of a text file as many at a time as asked for; "" after its end or damage, or without it."""

    def __init__(self, file: Openable | None, options: ReaderOptions) -> None:
        self._lines = iter(()) if file is None else self._all(file, options)

    @staticmethod
    def _all(file: Openable, options: ReaderOptions) -> Iterator[str]:
        for _, block in file_blocks(file, options):
            if block.fault:
                yield ""  # a line that is too long keeps its place; after damage nothing follows
            else:
                yield from text_lines(block)[0]

    def take(self, count: int) -> list[str]:
        """Return the next `count` lines."""
        return [next(self._lines, "") for _ in range(count)]

    def pairs(self, count: int) -> list[tuple[str, str]]:
        """Return the next `count` lines cut at the first tab: (id, value)."""
        return [(head, tail) for head, _, tail in (line.partition("\t") for line in self.take(count))]
