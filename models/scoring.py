"""Predictions of a classifier, and how they compare with the labels: one way, whole arrays at a time."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from fuseline.models.blocks import cut, grouped
from fuseline.models.errors import TrainingError
from fuseline.models.features import Block, Classifier, Features, inputs_of
from fuseline.models.labels import labelled
from fuseline.models.metrics.registry import Documents, counted
from fuseline.models.metrics.scores import Tally
from fuseline.models.progress import note

# Logits are computed for at most this many (row, class) pairs at a time: 64 MB of float32.
CELLS = 1 << 24
# Smallest probability that enters a logarithm: float32 rounds smaller ones to 0.
TINY = float(np.finfo(np.float32).tiny)


class Scored(NamedTuple):
    """Some documents, scored; every field has one entry per document."""

    block: Block
    seen: NDArray[np.bool_]  # (n,) any input of the classifier is present; elsewhere the other fields are moot
    probabilities: NDArray[np.float32]  # (n, C)
    best: NDArray[np.int64]  # (n,) most probable class; of equal ones the first
    predicted: pa.ListArray  # (n,) list<string>: the label set at the threshold, in the order of the classes
    rank: pa.Array  # (n,) int32: place of its best own label, 1 = right; null when the classifier knows none
    loss: pa.Array  # (n,) float32: -log probability, mean over its own labels, in nats; null likewise


def score(classifier: Classifier, block: Block) -> Iterator[Scored]:
    """Yield the documents of a block in order, scored, in parts that bound the memory of logits.

    Raises TrainingError when a logit is no finite number.
    """
    names = pa.array(classifier.labels, pa.string())
    for part, logits in logit_parts(classifier, block):
        probabilities = classifier.probabilities(logits)
        best = np.asarray(probabilities.argmax(axis=1), np.int64)
        chosen = probabilities >= classifier.threshold if classifier.multi_label else None
        predicted = single(names.take(pa.array(best))) if chosen is None else sets(names, chosen)
        rank, loss = own(names, part.labels, probabilities)
        yield Scored(part, has_input(classifier, part), probabilities, best, predicted, rank, loss)


def logit_parts(classifier: Classifier, block: Block) -> Iterator[tuple[Block, NDArray[np.float32]]]:
    """Yield the documents of a block in order with their logits (m, C), in parts that bound the memory of these.

    Raises TrainingError when a logit is no finite number.
    """
    size = max(1, CELLS // max(1, len(classifier.labels)))
    for lo in range(0, len(block), size):
        note(lo, len(block))
        part = cut(block, lo, lo + size)
        logits = classifier.predict_logits(part)
        if not np.isfinite(logits).all():
            raise TrainingError("logits: expected finite numbers, got inf or nan; lower lr and train again")
        yield part, logits


def has_input(classifier: Classifier, block: Block) -> NDArray[np.bool_]:
    """Return which documents have any input of the classifier, (n,) bool."""
    return block.present({one.name for one in inputs_of(type(classifier), classifier.config)})


def own(names: pa.Array, labels: pa.Array, probabilities: NDArray[np.float32]) -> tuple[pa.Array, pa.Array]:
    """Return rank and loss of the documents' own labels, as in `Scored`.

    Of equally probable labels the first stands first, as in `best`: rank 1 is what `best` names.

    names: (C,) string; labels: (n,) list<string>; probabilities: (n, C).
    """
    columns = pc.fill_null(pc.index_in(pc.list_flatten(labels), value_set=names), -1).to_numpy(zero_copy_only=False)
    known = columns >= 0
    rows, columns = np.asarray(pc.list_parent_indices(labels))[known], columns[known]
    counts = np.bincount(rows, minlength=len(labels))
    starts = np.cumsum(counts) - counts
    rank, loss = np.zeros(len(labels), np.int32), np.zeros(len(labels), np.float32)
    for count in np.unique(counts[counts > 0]):
        at = np.flatnonzero(counts == count)
        own_columns = columns[starts[at][:, None] + np.arange(count)]
        true, every = probabilities[at[:, None], own_columns], probabilities[at]
        best = true.max(axis=1, keepdims=True)
        first = np.where(true == best, own_columns, len(names)).min(axis=1, keepdims=True)
        rank[at] = 1 + ((every > best) | ((every == best) & (np.arange(len(names)) < first))).sum(axis=1)
        loss[at] = -np.log(np.maximum(true, TINY)).mean(axis=1)
    return pa.array(rank, pa.int32(), mask=counts == 0), pa.array(loss, pa.float32(), mask=counts == 0)


def sets(names: pa.Array, chosen: NDArray[np.bool_]) -> pa.ListArray:
    """Return the chosen names of each row of a mask (n, C) as (n,) list<string>."""
    return ragged(chosen.sum(axis=1), names.take(pa.array(np.nonzero(chosen)[1])))


def single(labels: pa.Array) -> pa.ListArray:
    """Return each label as a set of one, and null as the empty set: (n,) list<string>."""
    return ragged(np.asarray(labels.is_valid()), labels.drop_null())


def ragged(lengths: NDArray[np.integer | np.bool_], values: pa.Array) -> pa.ListArray:
    """Return lists of the given lengths (n,) over consecutive values."""
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), values)


def count(classifier: Classifier, features: Features) -> Tally:
    """Count how a classifier does on the labelled documents of a split.

    Raises:
        TrainingError: a logit is no finite number.
        ValueError: no document of the split has a label.
    """
    total = Tally()
    for part, best, predicted in guesses(classifier, features):
        seen = pa.array(part.seen)
        rank, loss = pc.if_else(seen, part.rank, None), pc.if_else(seen, part.loss, None)
        total += counted(Documents(part.block.labels, predicted, best, rank, loss))
    if not total.n:
        raise ValueError("a split to score: expected labelled documents, got none; check `split` and the labels")
    return total


def guesses(classifier: Classifier, features: Features) -> Iterator[tuple[Scored, pa.Array, pa.Array]]:
    """Yield labelled documents with their best label (null where nothing was read) and predicted labels."""
    # No constant of the module: a scalar makes pyarrow import pandas.
    names, nothing = pa.array(classifier.labels, pa.string()), pa.scalar([], pa.list_(pa.string()))
    for block in grouped(labelled(features)):
        for part in score(classifier, block):
            seen = pa.array(part.seen)
            best = pc.if_else(seen, names.take(pa.array(part.best)), None)
            yield part, best, pc.if_else(seen, part.predicted, nothing)
