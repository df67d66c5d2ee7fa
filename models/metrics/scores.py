"""Counts that add over shards, and what classes and intervals come from them; the metrics are in registry.py.

Conventions, all stated here once:
- a document without own labels is never tallied; one whose labels the model has never seen counts as wrong;
- the classes of an average are those that occur among the true or the predicted labels (scikit-learn's default);
- 0/0 is 0 (scikit-learn's `zero_division=0`).
"""

import math
from collections import Counter
from dataclasses import dataclass, field
from functools import reduce
from operator import add
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

Z = 1.959963984540054  # 97.5 % of the standard normal distribution lie below
FEW = 30  # documents
NOTHING = ""  # stands for "no prediction" in the confusion counts


class Sums(dict[str, Any]):
    """What metrics of their own kind sum over documents, by metric: arrays, or other values that add."""

    def __add__(self, other: "Sums") -> "Sums":
        """Return the sums over both sets of documents."""
        return Sums({name: reduce(add, [own[name] for own in (self, other) if name in own]) for name in self | other})


@dataclass(frozen=True)
class Tally:
    """Sums over some documents; two tallies of different documents add."""

    n: int = 0
    first: int = 0  # the best label is one of the document's own
    fifth: int = 0  # one of its own is among the best five
    exact: int = 0  # the predicted set is the true set
    f1: float = 0.0  # sum of the documents' own F1
    loss: float = 0.0  # nats, over `loss_n` documents
    loss_n: int = 0
    no_input: int = 0  # nothing that the model reads was present
    unknown_label: int = 0  # none of the document's labels was seen in training
    hit_hit: int = 0  # sums over documents of hits ** 2, hits * (true + predicted) and (true + predicted) ** 2
    hit_size: int = 0
    size_size: int = 0
    true: Counter[str] = field(default_factory=Counter)
    predicted: Counter[str] = field(default_factory=Counter)
    hit: Counter[str] = field(default_factory=Counter)  # true and predicted
    confusion: Counter[tuple[str, str]] = field(default_factory=Counter)  # (true, best label)
    sums: Sums = field(default_factory=Sums)

    def __add__(self, other: "Tally") -> "Tally":
        """Return the tally of both sets of documents."""
        return Tally(**{name: getattr(self, name) + getattr(other, name) for name in self.__dataclass_fields__})


class Outcomes(NamedTuple):
    """How single documents came out; every field has one entry per document."""

    first: NDArray[np.bool_]  # (n,) the best label is one of its own
    true: NDArray[np.int64]  # (n,) own labels
    predicted: NDArray[np.int64]  # (n,) predicted labels
    hit: NDArray[np.int64]  # (n,) labels that are both


class ClassScore(NamedTuple):
    """Scores of one class."""

    label: str
    precision: float
    recall: float
    f1: float
    support: int  # documents that carry the label
    predicted: int  # documents it was predicted for


class Interval(NamedTuple):
    """A confidence interval."""

    low: float
    high: float


def tally(truth: pa.Array, predicted: pa.Array, *, best: pa.Array, rank: pa.Array, loss: pa.Array) -> Tally:
    """Count one block of documents.

    truth, predicted: (n,) list<string>, the true and the predicted label sets; best: (n,) string, the most probable
    label, null without input; rank: (n,) int, place of the best-placed own label, 1 = right, null when the model has
    none of them; loss: (n,) float, -log probability in nats, null likewise. Raises ValueError for an empty truth.
    """
    n = len(truth)
    if n == 0:
        return Tally()
    names, (true_pairs, guess_pairs, best_pairs) = _pairs(truth, predicted, _as_lists(best))
    own, hits = _outcomes(n, len(names), true_pairs, guess_pairs, best_pairs)
    width, first = max(len(names), 1), own.first
    ranks = np.asarray(rank.fill_null(np.iinfo(np.int32).max))
    losses = np.asarray(loss.cast(pa.float64()).drop_null())
    absent, size = np.asarray(best.is_null()), own.true + own.predicted
    return Tally(
        n=n,
        first=int(first.sum()),
        fifth=int((first | (ranks <= 5)).sum()),
        exact=int(((own.hit == own.true) & (own.hit == own.predicted)).sum()),
        f1=float((2 * own.hit / size).sum()),
        loss=float(losses.sum()),
        loss_n=len(losses),
        no_input=int(absent.sum()),
        unknown_label=int((np.asarray(rank.is_null()) & ~absent).sum()),
        hit_hit=int(own.hit @ own.hit),
        hit_size=int(own.hit @ size),
        size_size=int(size @ size),
        true=_count(true_pairs % width, names),
        predicted=_count(guess_pairs % width, names),
        hit=_count(hits % width, names),
        confusion=_confusion(truth, best, first),
    )


def outcomes(truth: pa.Array, predicted: pa.Array, *, best: pa.Array) -> Outcomes:
    """Return how each document came out; arguments as for `tally`. Raises ValueError for an empty truth."""
    names, pairs = _pairs(truth, predicted, _as_lists(best))
    return _outcomes(len(truth), len(names), *pairs)[0]


def class_scores(counts: Tally) -> list[ClassScore]:
    """Return precision, recall and F1 of every class that was true or predicted, sorted by name."""
    rows = []
    for label in sorted(counts.true | counts.predicted):
        hit, true, guessed = counts.hit[label], counts.true[label], counts.predicted[label]
        rows.append(
            ClassScore(label, ratio(hit, guessed), ratio(hit, true), ratio(2 * hit, true + guessed), true, guessed)
        )
    return rows


def share_interval(share: float, n: float) -> Interval:
    """Return the 95 % interval of a share of n documents (Wilson 1927); all of three right leave it a width.

    Raises ValueError unless n is above 0.
    """
    if n <= 0:
        raise ValueError(f"n: expected at least 1 document, got {n!r}; evaluate a split that is not empty")
    centre, scale = share + Z**2 / (2 * n), 1 + Z**2 / n
    half = Z * math.sqrt(share * (1 - share) / n + (Z / (2 * n)) ** 2)
    return Interval(max(0.0, (centre - half) / scale), min(1.0, (centre + half) / scale))


def f1_interval(counts: Tally) -> Interval:
    """Return the 95 % interval of the micro F1: that of a share of as many documents as vary as much.

    F1 is 2 hits / (true + predicted), a ratio of sums over documents; its variance is that of the linearised ratio.
    A few documents say little about the variance of others: below FEW they count as no more than they are.
    Raises ValueError without documents.
    """
    size = counts.true.total() + counts.predicted.total()
    f1 = ratio(2 * counts.hit.total(), size)
    squares = 4 * counts.hit_hit - 4 * f1 * counts.hit_size + f1**2 * counts.size_size
    variance = max(0.0, squares) / size**2 if size else 0.0
    n = f1 * (1 - f1) / variance if variance > 0 and 0 < f1 < 1 else counts.n
    return share_interval(f1, min(n, counts.n) if counts.n < FEW else n)


def _outcomes(
    n: int, n_names: int, true: NDArray[np.int64], predicted: NDArray[np.int64], best: NDArray[np.int64]
) -> tuple[Outcomes, NDArray[np.int64]]:
    """Return the outcomes of n documents from their pairs (see `_pairs`), and the pairs that are true and predicted."""
    width, hits = max(n_names, 1), np.intersect1d(true, predicted, assume_unique=True)
    true_n, guess_n, hit_n = (np.bincount(pairs // width, minlength=n) for pairs in (true, predicted, hits))
    if (true_n == 0).any():
        raise ValueError("truth: expected at least one label per document, got none; leave unlabelled documents out")
    first = np.zeros(n, bool)
    first[np.intersect1d(true, best, assume_unique=True) // width] = True
    return Outcomes(first, true_n, guess_n, hit_n), hits


def ratio(part: float, whole: float) -> float:
    """Return part / whole; 0 where both are."""
    return part / whole if whole else 0.0


def _as_lists(column: pa.Array) -> pa.Array:
    present = np.asarray(column.is_valid())
    offsets = np.concatenate([[0], np.cumsum(present)]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), column.drop_null())


def _pairs(*columns: pa.Array) -> tuple[list[str], list[NDArray[np.int64]]]:
    """Return label names and, per column of lists, the sorted distinct row * C + label numbers."""
    flat = [pc.list_flatten(column).cast(pa.string()) for column in columns]
    names = pc.unique(pa.concat_arrays(flat))
    pairs = []
    for column, values in zip(columns, flat, strict=True):
        rows = np.asarray(pc.list_parent_indices(column)).astype(np.int64)
        numbers = np.asarray(pc.index_in(values, value_set=names)).astype(np.int64)
        pairs.append(_distinct(rows * max(len(names), 1) + numbers))
    return names.to_pylist(), pairs


def _distinct(numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return sorted distinct numbers; the input is nearly sorted, which numpy's own unique does not use."""
    numbers.sort(kind="stable")
    return numbers[np.concatenate([[True], numbers[1:] != numbers[:-1]])] if len(numbers) else numbers


def _count(numbers: NDArray[np.int64], names: list[str]) -> Counter[str]:
    counts = np.bincount(numbers, minlength=len(names))
    return Counter({names[number]: int(counts[number]) for number in np.flatnonzero(counts)})


def _confusion(truth: pa.Array, best: pa.Array, first: NDArray[np.bool_]) -> Counter[tuple[str, str]]:
    """Count (true, best) pairs; of several own labels the predicted one stands, else the first."""
    own = pc.if_else(pa.array(first), best, pc.list_element(truth, 0))
    table = (
        pa.table({"true": own, "best": best.fill_null(NOTHING)})
        .group_by(["true", "best"])
        .aggregate([([], "count_all")])
    )
    keys = zip(table["true"].to_pylist(), table["best"].to_pylist(), strict=True)
    return Counter(dict(zip(keys, table["count_all"].to_pylist(), strict=True)))
