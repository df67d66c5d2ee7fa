"""Lines of delimited fields, located by their bytes: no line and no field becomes a Python object."""

from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

NEWLINE = 10


class Fields(NamedTuple):
    """The fields of some lines; a column is copied when it is asked for, the others never are."""

    tokens: pa.StringArray  # fields and, between them, the bytes that part them: field i stands at 2 * i
    starts: NDArray[np.int64]  # (n,), the first field of each line
    widths: NDArray[np.int64]  # (n,), fields of each line
    filled: NDArray[np.bool_]  # (n,), False for a blank line

    def __len__(self) -> int:
        return len(self.starts)

    def part(self, start: int, stop: int) -> "Fields":
        """Return the fields of some of the lines."""
        cut = slice(start, stop)
        return Fields(self.tokens, self.starts[cut], self.widths[cut], self.filled[cut])

    def column(self, index: int, rows: NDArray[np.bool_]) -> pa.Array:
        """Return one field of each line, (n,) string; null where `rows` is False."""
        return self.tokens.take(pa.array(2 * (self.starts + index), mask=~rows))


def cut(data: bytes, delimiter: str) -> Fields:
    """Return the fields of UTF-8 lines, less than 2 GiB without the last newline; a quote is like any character."""
    raw = np.frombuffer(data, np.uint8)
    newlines = np.append(np.flatnonzero(raw == NEWLINE), len(raw))
    separators = np.flatnonzero((raw == NEWLINE) | (raw == ord(delimiter)))
    bounds = np.empty(2 * len(separators) + 2, np.int32)
    bounds[0], bounds[-1] = 0, len(raw)
    bounds[1:-1:2], bounds[2::2] = separators, separators + 1
    tokens = pa.Array.from_buffers(pa.string(), len(bounds) - 1, [None, pa.py_buffer(bounds), pa.py_buffer(data)])
    ends = np.searchsorted(separators, newlines)  # of each line, the number of its newline among the separators
    starts = np.concatenate([[0], ends[:-1] + 1])
    lengths = np.diff(newlines, prepend=-1) - 1
    return Fields(tokens, starts, ends - starts + 1, lengths > 0)
