"""Word vectors that training starts from: text files of the fastText program, streamed in blocks of bytes."""

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pyarrow import csv

from fuseline.models.fasttext.dictionary import Dictionary, WordCounter
from fuseline.models.weights import file_sha256, supplied

BLOCK = 1 << 22  # bytes of text parsed at a time
LINE = 1 << 20  # bytes of a line at most
HEADER = 256  # bytes of the first line at most
GZIP, BOM = b"\x1f\x8b", b"\xef\xbb\xbf"
FIELD = "pretrained_vectors"
LOWERED, OWN = 1, 2  # where the row of a word came from: a line of its capitals, or of the word as it is


class Header(NamedTuple):
    """The first line of a file."""

    words: int
    dim: int


def vectors_digest(path: Path, dim: int) -> str:
    """Return the SHA-256 of a file of vectors, after its first line was read.

    Raises MissingWeights without a file, ValueError when its vectors have not `dim` numbers.
    """
    check_dim(path, dim)
    return f"sha256:{file_sha256(path)}"


def vectors_header(path: Path) -> Header:
    """Return the first line of a file of vectors; raises MissingWeights without one, ValueError for another file."""
    cure = "give the path of a text file of word vectors (.vec, .vec.gz)"
    with _opened(supplied(path, what=FIELD, sha256=None, cure=cure)) as file:
        return _header(file, path)


def check_dim(path: Path, dim: int) -> Header:
    """Return the first line of a file whose vectors have `dim` numbers; raises as `vectors_digest`."""
    header = vectors_header(path)
    if header.dim != dim:
        raise ValueError(f"dim: expected {header.dim!r}, the numbers per word of {path.name}, got {dim!r}; set dim so")
    return header


def known_words(path: Path, dim: int, *, lowercase: bool) -> WordCounter:
    """Return the words of a file, each counted once per line; raises ValueError naming a damaged line."""
    counter = WordCounter(lowercase=lowercase)
    for words, _ in _blocks(path, dim, numbers=False):
        counter.add_words(pc.utf8_lower(words) if lowercase else words)
    return counter


def fill(U: NDArray[np.float32], dictionary: Dictionary, path: Path, dim: int) -> None:
    """Set the rows of U (rows, H8) whose words a file names to its numbers (dim,).

    Of several lines of one word the last counts, as in the fastText program. A dictionary of lower case takes the line
    of the word as it is, else the first of its forms with capitals. Raises ValueError naming a damaged line.
    """
    came = np.zeros(len(dictionary.counts), np.uint8)
    for words, X in _blocks(path, dim, numbers=True):
        names = pc.utf8_lower(words) if dictionary.lowercase else words
        rows = dictionary.find(names)
        if (rows < 0).any():
            raise ValueError(
                f"{FIELD}: expected {path} as it was when this training began, got other words; train again"
            )
        own = np.asarray(pc.equal(words, names))
        others = np.flatnonzero(~own)
        rest, first = np.unique(rows[others], return_index=True)
        fresh = came[rest] == 0
        U[rest[fresh], :dim], came[rest[fresh]] = X[others[first[fresh]]], LOWERED
        U[rows[own], :dim], came[rows[own]] = X[own], OWN


def _blocks(path: Path, dim: int, *, numbers: bool) -> Iterator[tuple[pa.Array, NDArray[np.float32]]]:
    """Yield words (n,) large_string and their vectors (n, dim), (n, 0) when they are not asked for."""
    header, count, line = check_dim(path, dim), 0, 2
    with _opened(path) as file:
        _header(file, path)
        rest, more = b"", True
        while more:
            read = _read(file, path)
            more, data = bool(read), rest + read
            cut = data.rfind(b"\n") + 1 if more else len(data)
            if not cut and len(data) > LINE:
                raise _damaged(path, line, header.dim, f"{len(data):,} bytes without an end of line")
            data, rest = data[:cut], data[cut:]
            words, X = _parsed(data, path, line, header.dim, numbers)
            line, count = line + data.count(b"\n"), count + len(words)
            if len(words):
                yield words, X
    if count != header.words:
        cure = "the file is cut off or damaged: get it again"
        raise ValueError(
            f"{FIELD}: {path}: expected {header.words!r} words, as its first line states, got {count!r}; {cure}"
        )


def _parsed(data: bytes, path: Path, line: int, dim: int, numbers: bool) -> tuple[pa.Array, NDArray[np.float32]]:
    """Parse whole lines: all at once if each is a word and `dim` numbers between single blanks, else one by one."""
    plain = data.replace(b"\t", b" ").replace(b"\r\n", b"\n")
    plain = plain.replace(b" \n", b"\n") if plain.endswith(b" \n") else plain
    fields = _table(plain, dim) if numbers else _first_fields(plain, dim)
    if fields is None or pc.any(pc.match_substring_regex(fields[0], r"^$|[\v\f\r]")).as_py():
        return _one_by_one(data, path, line, dim, numbers)
    return _text(fields[0]), fields[1]


def _first_fields(plain: bytes, dim: int) -> tuple[pa.Array, NDArray[np.float32]] | None:
    """Return the words of lines with `dim` blanks each, and (n, 0) numbers; None for other lines."""
    raw = np.frombuffer(plain, np.uint8)
    blanks, ends = np.flatnonzero(raw == ord(" ")), np.flatnonzero(raw == ord("\n"))
    ends = ends if plain.endswith(b"\n") or not plain else np.append(ends, len(plain))
    if len(blanks) != len(ends) * dim:
        return None
    starts, grid = np.append(0, ends + 1)[: len(ends)], blanks.reshape(len(ends), dim)
    if (grid[:, 0] < starts).any() or (grid[:, -1] >= ends).any():
        return None
    words = [plain[lo:hi] for lo, hi in zip(starts.tolist(), grid[:, 0].tolist(), strict=True)]
    return pa.array(words, pa.binary()), np.empty((len(words), 0), np.float32)


def _table(plain: bytes, dim: int) -> tuple[pa.Array, NDArray[np.float32]] | None:
    """Return the words and the numbers (n, dim) of lines; None when a line is no word with `dim` finite numbers."""
    names = ["word", *map(str, range(dim))]
    types = {"word": pa.binary(), **dict.fromkeys(names[1:], pa.float32())}
    if not plain or plain.startswith(BOM):  # the reader would take the mark away
        return None
    try:
        table = csv.read_csv(
            pa.BufferReader(plain),
            csv.ReadOptions(column_names=names, use_threads=False, block_size=len(plain) + 1),
            csv.ParseOptions(delimiter=" ", quote_char=False, double_quote=False),
            csv.ConvertOptions(column_types=types, null_values=[], check_utf8=False),
        )
    except pa.ArrowInvalid:
        return None
    columns = np.empty((dim, len(table)), np.float32)
    for k in range(dim):
        columns[k] = table.column(1 + k).to_numpy()
    return (table["word"].combine_chunks(), columns.T) if np.isfinite(columns).all() else None


def _one_by_one(data: bytes, path: Path, line: int, dim: int, numbers: bool) -> tuple[pa.Array, NDArray[np.float32]]:
    """Parse lines of any white space, and name the first that is damaged."""
    words, rows = [], []
    for number, raw in enumerate(data.split(b"\n"), line):
        fields = raw.split()
        if not fields:
            continue
        if len(fields) != 1 + dim:
            raise _damaged(path, number, dim, f"{len(fields)} fields")
        try:
            with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite and is refused below
                row = np.array([float(field) for field in fields[1:]], np.float32)
        except ValueError as error:
            raise _damaged(path, number, dim, str(error)) from error
        if not np.isfinite(row).all():
            raise _damaged(path, number, dim, "NaN or infinity")
        words.append(fields[0])
        rows.append(row if numbers else row[:0])
    X = np.array(rows, np.float32).reshape(len(rows), dim if numbers else 0)
    return _text(pa.array(words, pa.binary())), X


def _text(words: pa.Array) -> pa.Array:
    """Return words (n,) as large_string, bytes that are no UTF-8 replaced."""
    try:
        return words.cast(pa.large_string())
    except pa.ArrowInvalid:
        return pa.array([word.decode("utf-8", "replace") for word in words.to_pylist()], pa.large_string())


def _opened(path: Path) -> BinaryIO:
    with path.open("rb") as file:
        packed = file.read(2) == GZIP
    return gzip.open(path, "rb") if packed else path.open("rb")  # type: ignore[return-value]


def _header(file: BinaryIO, path: Path) -> Header:
    try:
        first = file.readline(HEADER)
    except (OSError, EOFError, zlib.error) as error:
        raise _unpackable(path, error) from error
    fields = first.removeprefix(BOM).split()
    if len(fields) != 2 or not all(field.isdigit() for field in fields):
        cure = "give a text file of word vectors; binary .bin files are none"
        raise ValueError(f"{FIELD}: {path}: expected a first line `words numbers`, got {first[:60]!r}; {cure}")
    return Header(*map(int, fields))


def _read(file: BinaryIO, path: Path) -> bytes:
    try:
        return file.read(BLOCK)
    except (OSError, EOFError, zlib.error) as error:
        raise _unpackable(path, error) from error


def _unpackable(path: Path, error: Exception) -> ValueError:
    return ValueError(f"{FIELD}: {path}: expected a readable file, got {error}; get it again")


def _damaged(path: Path, line: int, dim: int, got: str) -> ValueError:
    cure = "correct or remove the line"
    return ValueError(f"{FIELD}: {path}, line {line}: expected a word and {dim!r} numbers, got {got}; {cure}")
