"""What documents hold for classifiers: one class per kind of column, one entry per document, present or not.

A new kind of input is one class here: how wide it is, how its rows are picked, joined and masked, and how the table
of a stage becomes it.
"""

from abc import ABC, abstractmethod
from collections import abc
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

CODEWORDS = 256  # of a codebook at most: as many as a uint8 can name
Mask = NDArray[np.bool_]
Places = NDArray[np.int64]
Rows = slice | Places  # a slice without a step, or places in any order
Take = Callable[[Places], NDArray[np.uint8]]


class Size(NamedTuple):
    """What a classifier that reads a column must find again: its kind, and how wide it is."""

    kind: str
    width: int = 0  # numbers, codes or classes per document or element; 0 where the kind has none
    values: int = 0  # how many different codes or known words there can be; 0 where the kind has none


class Column(ABC):
    """One modality of some consecutive documents; values of absent documents are meaningless."""

    kind: ClassVar[str]
    lazy: ClassVar[bool] = False  # whether its entries are read when they are used: a table of them may be huge
    present: Mask  # (n,)

    @property
    @abstractmethod
    def nbytes(self) -> int:
        """Bytes of memory that it takes."""

    @property
    @abstractmethod
    def size(self) -> Size:
        """Kind and width of the column, compared with those of the fit before a classifier predicts."""

    @abstractmethod
    def at(self, rows: Rows) -> Self:
        """Return the entries of a slice without a step, or those at `rows` (m,) in this order."""

    @abstractmethod
    def masked(self) -> Self:
        """Return the column with nothing present."""

    @classmethod
    @abstractmethod
    def join(cls, columns: abc.Sequence[Self]) -> Self:
        """Return the entries of several columns as one; raises ValueError when their widths differ."""

    @classmethod
    @abstractmethod
    def of(cls, table: pa.Table, field: str) -> Self:
        """Return the column that a stage's table holds in `field`, and in `present` where it has that."""

    def __len__(self) -> int:
        return len(self.present)


@dataclass(frozen=True, eq=False)
class Text(Column):
    """Cleaned text; "" or null where there is none."""

    kind: ClassVar[str] = "text"

    values: pa.Array  # (n,) string

    @cached_property
    def present(self) -> Mask:  # type: ignore[override]  # read alike; training never asks, and cuts texts often
        filled = pc.fill_null(pc.greater(pc.binary_length(self.values), 0), False)
        return np.asarray(filled.to_numpy(zero_copy_only=False), np.bool_)

    def __len__(self) -> int:
        return len(self.values)

    @property
    def nbytes(self) -> int:
        return int(self.values.nbytes)

    @property
    def size(self) -> Size:
        return Size(self.kind)

    def at(self, rows: Rows) -> "Text":
        return Text(self.values[rows] if isinstance(rows, slice) else self.values.take(pa.array(rows)))

    def masked(self) -> "Text":
        return Text(pa.array([""] * len(self), pa.string()))

    def followed_by(self, other: "Text") -> "Text":
        """Return the texts with those of `other` behind them."""
        return Text(pc.utf8_trim_whitespace(pc.binary_join_element_wise(self.values, other.values, " ")))

    @classmethod
    def join(cls, columns: abc.Sequence["Text"]) -> "Text":
        return cls(pa.concat_arrays([column.values for column in columns]))

    @classmethod
    def of(cls, table: pa.Table, field: str) -> "Text":
        return cls(table[field].combine_chunks())


@dataclass(frozen=True, eq=False)
class Matrix(Column):
    """A row of numbers per document: what the kinds below share."""

    values: NDArray[Any]  # (n, width)
    present: Mask

    @property
    def nbytes(self) -> int:
        return self.values.nbytes + self.present.nbytes

    @property
    def size(self) -> Size:
        return Size(self.kind, self.values.shape[1])

    def at(self, rows: Rows) -> Self:
        return replace(self, values=self.values[rows], present=self.present[rows])

    def masked(self) -> Self:
        return replace(self, present=np.zeros_like(self.present))

    @classmethod
    def join(cls, columns: abc.Sequence[Self]) -> Self:
        values = np.concatenate([column.values for column in columns])
        return replace(columns[0], values=values, present=np.concatenate([column.present for column in columns]))

    @classmethod
    def of(cls, table: pa.Table, field: str) -> Self:
        return cls(_matrix(table[field]), _present(table))


@dataclass(frozen=True, eq=False)
class Dense(Matrix):
    """One vector per document; zeros where it is absent."""

    kind: ClassVar[str] = "dense"

    values: NDArray[np.float32]  # (n, D)
    missing: Mask | None = None  # (n, D) single values that present rows lack, zeros in `values`; None: there are none

    @property
    def nbytes(self) -> int:
        return super().nbytes + (0 if self.missing is None else self.missing.nbytes)

    def at(self, rows: Rows) -> Self:
        return replace(super().at(rows), missing=None if self.missing is None else self.missing[rows])

    @classmethod
    def join(cls, columns: abc.Sequence[Self]) -> Self:
        missing = None
        if any(column.missing is not None for column in columns):
            whole = (np.zeros(c.values.shape, np.bool_) if c.missing is None else c.missing for c in columns)
            missing = np.concatenate(list(whole))
        return replace(super().join(columns), missing=missing)

    @classmethod
    def of(cls, table: pa.Table, field: str) -> Self:
        values = _matrix(table[field])
        vectors, lacking = values.astype(np.float32), np.isnan(values)
        vectors[lacking] = 0.0
        return cls(vectors, _present(table), lacking if lacking.any() else None)


@dataclass(frozen=True, eq=False)
class Codes(Matrix):
    """A few small numbers per document: visual tokens."""

    kind: ClassVar[str] = "codes"

    values: NDArray[np.uint8]  # (n, M)

    @property
    def size(self) -> Size:
        return Size(self.kind, self.values.shape[1], CODEWORDS)


@dataclass(frozen=True, eq=False)
class Ragged(Column):
    """Any number of elements per document, in no particular order: vectors of detected objects.

    Elements of document i are `values[offsets[i] : offsets[i + 1]]`; absent documents have none.
    """

    kind: ClassVar[str] = "ragged"

    offsets: Places  # (n + 1,), from 0
    values: NDArray[np.float32] | NDArray[np.int32]  # (m, D) float32, or (m,) int32
    present: Mask

    @property
    def nbytes(self) -> int:
        return self.offsets.nbytes + self.values.nbytes + self.present.nbytes

    @property
    def size(self) -> Size:
        return Size(self.kind, self.values.shape[1] if self.values.ndim > 1 else 0)

    @property
    def lengths(self) -> Places:
        """How many elements each document (n,) has."""
        return np.diff(self.offsets)

    def at(self, rows: Rows) -> Self:
        chosen = np.arange(len(self), dtype=np.int64)[rows]
        lengths = self.lengths[chosen]
        offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
        # Place k of the result lies as far behind the start of its document here as it does there.
        places = np.repeat(self.offsets[:-1][chosen] - offsets[:-1], lengths) + np.arange(offsets[-1])
        return replace(self, offsets=offsets, values=self.values[places], present=self.present[chosen])

    def masked(self) -> Self:
        nothing = np.zeros_like(self.offsets)
        return replace(self, offsets=nothing, values=self.values[:0], present=np.zeros_like(self.present))

    @classmethod
    def join(cls, columns: abc.Sequence[Self]) -> Self:
        starts = np.cumsum([0, *(len(column.values) for column in columns)])
        offsets = [column.offsets[1:] + start for column, start in zip(columns, starts, strict=False)]
        values: Any = np.concatenate([column.values for column in columns])
        present = np.concatenate([column.present for column in columns])
        return replace(
            columns[0], offsets=np.concatenate([np.zeros(1, np.int64), *offsets]), values=values, present=present
        )

    @classmethod
    def of(cls, table: pa.Table, field: str) -> Self:
        lists = table[field].combine_chunks()
        present = _present(table)
        lengths = pc.fill_null(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False)
        elements = pc.list_flatten(lists)
        values: Any = _matrix(elements) if pa.types.is_fixed_size_list(elements.type) else np.asarray(elements)
        if lengths[~present].any():  # lists of one length, which tables of columns hold, have no empty ones
            values, lengths = values[np.repeat(present, lengths)], lengths * present
        return cls(np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)]), values, present)


@dataclass(frozen=True, eq=False)
class Sequence(Ragged):
    """Token ids or class indices in their order: any number per document, (m,) int32; 0 is an unknown value."""

    kind: ClassVar[str] = "sequence"

    vocabulary: int = 0  # known values: the highest id there can be

    @property
    def size(self) -> Size:
        return Size(self.kind, 0, self.vocabulary)

    @classmethod
    def join(cls, columns: abc.Sequence[Self]) -> Self:
        if len({column.vocabulary for column in columns}) != 1:
            raise ValueError("sequence: expected token ids of one vocabulary, got several; make them by one stage")
        return super().join(columns)

    @classmethod
    def of(cls, table: pa.Table, field: str) -> Self:
        metadata = table.schema.field(field).metadata or {}
        return replace(super().of(table, field), vocabulary=int(metadata.get(b"vocabulary", b"0")))

    def padded(self) -> NDArray[np.int32]:
        """Return the ids (n, L), L that of the longest document and at least 1; -1 behind the end of a shorter one."""
        lengths = self.lengths
        ids = np.full((len(self), max(1, lengths.max(initial=0))), -1, np.int32)
        ids[np.arange(ids.shape[1]) < lengths[:, None]] = self.values
        return ids


@dataclass(frozen=True, eq=False)
class Pixels(Column):
    """Pictures of one size, read when they are taken: a shard of them may be larger than memory allows."""

    kind: ClassVar[str] = "pixels"
    lazy: ClassVar[bool] = True

    shape: tuple[int, int, int]  # H, W, channels
    source: Take  # places (m,) of the shard -> (m, H, W, channels) uint8
    places: Places  # (n,) of each document in the source
    present: Mask

    def take(self, rows: Places) -> NDArray[np.uint8]:
        """Return the pictures (m, H, W, channels) uint8 of the documents at `rows` (m,)."""
        return self.source(self.places[rows])

    @property
    def nbytes(self) -> int:
        return self.places.nbytes + self.present.nbytes

    @property
    def size(self) -> Size:
        return Size(self.kind, int(np.prod(self.shape)))

    def at(self, rows: Rows) -> "Pixels":
        return replace(self, places=self.places[rows], present=self.present[rows])

    def masked(self) -> "Pixels":
        return replace(self, present=np.zeros_like(self.present))

    @classmethod
    def join(cls, columns: abc.Sequence["Pixels"]) -> "Pixels":
        shapes = {column.shape for column in columns}
        if len(shapes) != 1:
            raise ValueError(f"pixels: expected pictures of one size, got {sorted(shapes)!r}; make them by one stage")
        starts = np.cumsum([0, *map(len, columns)])
        present = np.concatenate([column.present for column in columns])
        source = partial(_taken, columns, starts)
        return cls(columns[0].shape, source, np.arange(starts[-1], dtype=np.int64), present)

    @classmethod
    def of(cls, table: pa.Table, field: str) -> "Pixels":
        height, width, channels = orjson.loads((table.schema.field(field).metadata or {})[b"shape"])
        shape, present = (height, width, channels), _present(table)
        parts, start = list[Pixels](), 0
        for chunk in table[field].chunks or [table[field].combine_chunks()]:  # to join them would read them all
            pictures, places = _matrix(chunk).reshape(-1, *shape), np.arange(len(chunk), dtype=np.int64)
            parts.append(cls(shape, pictures.__getitem__, places, present[start : start + len(chunk)]))
            start += len(chunk)
        return parts[0] if len(parts) == 1 else cls.join(parts)


@dataclass(frozen=True, eq=False)
class Logits(Matrix):
    """Scores of every class by another classifier."""

    kind: ClassVar[str] = "logits"

    values: NDArray[np.float32]  # (n, C)
    labels: tuple[str, ...]  # (C,) of the other classifier
    link: str = "softmax"  # turns them into probabilities, see `Classifier.link`

    @classmethod
    def join(cls, columns: abc.Sequence[Self]) -> Self:
        if len({(column.labels, column.link) for column in columns}) != 1:
            raise ValueError("logits: expected one list of labels, got several; make them by one model")
        return super().join(columns)

    @classmethod
    def of(cls, table: pa.Table, field: str) -> Self:
        metadata = table.schema.field(field).metadata or {}
        labels, link = tuple(orjson.loads(metadata[b"labels"])), metadata.get(b"link", b"softmax").decode()
        return cls(_matrix(table[field]), _present(table), labels, link)


KINDS: dict[str, type[Column]] = {kind.kind: kind for kind in (Text, Dense, Codes, Ragged, Sequence, Pixels, Logits)}


def _taken(columns: abc.Sequence[Pixels], starts: Places, places: Places) -> NDArray[np.uint8]:
    """Return the pictures at places (m,) of joined columns, each column asked once."""
    pictures = np.zeros((len(places), *columns[0].shape), np.uint8)
    documents = np.searchsorted(starts, places, side="right") - 1
    for number in np.unique(documents):
        rows = np.flatnonzero(documents == number)
        pictures[rows] = columns[number].take(places[rows] - starts[number])
    return pictures


def _present(table: pa.Table) -> Mask:
    return np.asarray(table["present"].to_numpy(), np.bool_)


def _matrix(column: pa.ChunkedArray | pa.Array) -> NDArray[Any]:
    """Return a column of fixed-size lists as (n, size)."""
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    return np.asarray(array.flatten()).reshape(len(array), array.type.list_size)


def token_text(token: int, *, parts: int, repeated: bool) -> str:
    """Return the name of token number 256 x place + codeword: `_q-_{part}_{centroid}`, the repeat before the part."""
    repeat, part = divmod(token // CODEWORDS, parts)
    return f"_q-_{f'{repeat}_' if repeated else ''}{part}_{token % CODEWORDS}"
