"""Labels as class numbers: counted in one pass, as a truth matrix of a batch, or as sparse pairs of a whole set."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from fuseline.models.features import Block, Features


class Bags(NamedTuple):
    """Ids of n documents, tokens or classes; row r is ids[indptr[r]:indptr[r + 1]]."""

    indptr: NDArray[np.int64]  # (n + 1,)
    ids: NDArray[np.int32]


class LabelCounter:
    """Numbers class names in the order in which they come."""

    def __init__(self) -> None:
        self.numbers: dict[str, int] = {}
        self.counts: list[int] = []
        self.most = 0  # labels of one document

    def add(self, labels: pa.Array) -> Bags:
        """Return the class numbers of a (n,) list<string> array, each once per document; nulls have no labels."""
        lengths = pc.fill_null(pc.list_value_length(labels), 0).to_numpy(zero_copy_only=False).astype(np.int64)
        coded = pc.list_flatten(labels).dictionary_encode()
        names = coded.dictionary.to_pylist()
        for name in names:
            if self.numbers.setdefault(name, len(self.counts)) == len(self.counts):
                self.counts.append(0)
        mapped = np.array([self.numbers[name] for name in names], np.int32)
        ids = mapped[coded.indices.to_numpy()] if names else np.zeros(0, np.int32)
        lengths, ids = distinct(lengths, ids)
        for number, count in zip(*np.unique(ids, return_counts=True), strict=True):
            self.counts[number] += int(count)
        self.most = max(self.most, int(lengths.max(initial=0)))
        return Bags(np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)]), ids)

    def merge(self, other: "LabelCounter") -> None:
        """Add the names and counts of another counter."""
        for name, number in other.numbers.items():
            if self.numbers.setdefault(name, len(self.counts)) == len(self.counts):
                self.counts.append(0)
            self.counts[self.numbers[name]] += other.counts[number]
        self.most = max(self.most, other.most)

    def freeze(self) -> tuple[list[str], NDArray[np.int64]]:
        """Return (names, counts) by falling count, then by name."""
        names = sorted(self.numbers, key=lambda name: (-self.counts[self.numbers[name]], name))
        return names, np.array([self.counts[self.numbers[name]] for name in names], np.int64)

    def renumber(self, names: list[str]) -> NDArray[np.int32]:
        """Return, for each of this counter's numbers, its place in `names`."""
        place = {name: i for i, name in enumerate(names)}
        return np.array([place[name] for name in self.numbers], np.int32)


def distinct(lengths: NDArray[np.int64], ids: NDArray[np.int32]) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Return (lengths, ids) of lists without the repeats within each list."""
    if lengths.max(initial=0) < 2:
        return lengths, ids
    rows = np.repeat(np.arange(len(lengths)), lengths)
    pairs, first = np.unique(np.stack([rows, ids]), axis=1, return_index=True)
    return np.bincount(pairs[0], minlength=len(lengths)).astype(np.int64), ids[np.sort(first)]


@dataclass(frozen=True)
class Classes:
    """The classes of a training set."""

    names: list[str]  # by falling count, then by name
    number: dict[str, int]
    counts: NDArray[np.int64]  # (C,) documents of each
    most: int  # labels of one document
    documents: int  # that have a label

    def truth(self, labels: pa.Array) -> Callable[[NDArray[np.int64]], NDArray[np.float32]]:
        """Return what makes the truth (m, C) of places (m,) in a (n,) list<string> array: 1 for own labels, else 0."""
        rows, classes = self.pairs(labels)
        starts = np.searchsorted(rows, np.arange(len(labels) + 1))

        def of(places: NDArray[np.int64]) -> NDArray[np.float32]:
            truth = np.zeros((len(places), len(self.names)), np.float32)
            lengths = starts[places + 1] - starts[places]
            ends = np.cumsum(lengths)
            pairs = np.repeat(starts[places] - ends + lengths, lengths) + np.arange(lengths.sum())
            truth[np.repeat(np.arange(len(places)), lengths), classes[pairs]] = 1
            return truth

        return of

    def pairs(self, labels: pa.Array) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return (rows, classes) of a list<string> array, sorted: one entry per label of a document."""
        return label_pairs(labels, pa.array(self.names, pa.string()))[:2]


def label_pairs(labels: pa.Array, names: pa.Array) -> tuple[NDArray[np.int64], NDArray[np.int64], int]:
    """Return (rows, classes, unknown) of a list<string> array: one entry per label of a document, sorted.

    names: (C,) string, by class; `unknown` counts the labels that are none of them.
    """
    C = max(1, len(names))
    classes = pc.index_in(pc.list_flatten(labels), value_set=names)
    known = classes.is_valid().to_numpy(zero_copy_only=False)
    rows = np.asarray(pc.list_parent_indices(labels)).astype(np.int64)[known]
    both = np.unique(rows * C + classes.drop_null().to_numpy().astype(np.int64))
    return both // C, both % C, classes.null_count


def classes_of(train: Features) -> Classes:
    """Number the labels of all documents of `train`, in one pass."""
    counter, documents = LabelCounter(), 0
    for block in train.blocks():
        documents += int(np.count_nonzero(np.diff(counter.add(block.labels).indptr)))
    names, counts = counter.freeze()
    return Classes(names, {name: y for y, name in enumerate(names)}, counts, counter.most, documents)


def labelled(features: Features) -> Iterator[Block]:
    """Yield the blocks of `features` with only the documents that have a label."""
    for block in features.blocks():
        mask = pc.fill_null(pc.greater(pc.list_value_length(block.labels), 0), False)
        rows = np.flatnonzero(mask.to_numpy(zero_copy_only=False))
        if len(rows):
            yield block if len(rows) == len(block) else block.at(rows)


class Tags:
    """The labels of a training set, as the numbers of their documents per class: as large as there are labels."""

    def __init__(self, parts: list[tuple[NDArray[np.int64], NDArray[np.int64]]], sizes: list[int]) -> None:
        """Join the pairs (see `Classes.pairs`) of consecutive blocks of `sizes` documents."""
        starts = np.cumsum([0, *sizes])
        nothing = np.zeros(0, np.int64)
        self.n = int(starts[-1])
        self.rows = np.concatenate([nothing, *(r + s for (r, _), s in zip(parts, starts, strict=False))])
        self.classes = np.concatenate([nothing, *(c for _, c in parts)])
        self._order = np.argsort(self.classes, kind="stable")
        self._sorted = self.classes[self._order]

    def of(self, c: int) -> NDArray[np.bool_]:
        """Return which documents (n,) have class c."""
        lo, hi = np.searchsorted(self._sorted, [c, c + 1])
        has = np.zeros(self.n, np.bool_)
        has[self.rows[self._order[lo:hi]]] = True
        return has
