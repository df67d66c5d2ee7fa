"""Predictions of a classifier, and how they compare with the labels: one way, whole arrays at a time."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from fuseline.models.blocks import cut, grouped
from fuseline.models.element_shares import ElementShares, TellsElements
from fuseline.models.features import Block, Classifier, Features, inputs_of
from fuseline.models.labels import label_pairs, labelled
from fuseline.models.metrics.registry import Documents, counted
from fuseline.models.metrics.scores import Tally
from fuseline.models.progress import note
from fuseline.models.ranked import LogitMatrix, RankedClasses, Ranker, checked_logits

# Logits are computed for at most this many (row, class) pairs at a time: 64 MB of float32.
CELLS = 1 << 24
# Documents whose classes are found without all logits, at a time.
RANKED = 2048
# Smallest probability that enters a logarithm: float32 rounds smaller ones to 0.
TINY = float(np.finfo(np.float32).tiny)


class Scored(NamedTuple):
    """Some documents, scored; every field has one entry per document."""

    block: Block
    seen: NDArray[np.bool_]  # (n,) any input of the classifier is present; elsewhere the other fields are moot
    top: NDArray[np.int64]  # (n, k) the first classes by falling logit, of equal ones the first
    top_probabilities: NDArray[np.float32]  # (n, k)
    predicted: pa.ListArray  # (n,) list<string>: the label set at the threshold, in the order of the classes
    rank: pa.Array  # (n,) int32: place of its best own label, 1 = right; null when the classifier knows none
    loss: pa.Array  # (n,) float32: -log probability, mean over its own labels, in nats; null likewise
    told: ElementShares | None = None  # what every element had in the decisions, where that was asked for

    @property
    def best(self) -> NDArray[np.int64]:
        """The first class (n,)."""
        return self.top[:, 0]


def score(classifier: Classifier, block: Block, *, k: int = 1, explain: bool = False) -> Iterator[Scored]:
    """Yield the documents of a block in order, scored, with their first k classes, in parts that bound the memory.

    With `explain` a classifier that can tell what every element had in its decisions does so while it scores. Raises
    TrainingError when a logit is no finite number.
    """
    names = pa.array(classifier.labels, pa.string())
    for part, ranked, told in _told_parts(classifier, block, explain=explain):
        top, probabilities = ranked.top(min(k, len(names)))
        if classifier.multi_label:
            rows, classes, _ = ranked.at_least(classifier.threshold)
            predicted = ragged(np.bincount(rows, minlength=len(part)), names.take(pa.array(classes)))
        else:
            predicted = single(names.take(pa.array(top[:, 0])))
        rank, loss = own(names, part.labels, ranked)
        yield Scored(part, has_input(classifier, part), top, probabilities, predicted, rank, loss, told)


def _told_parts(
    classifier: Classifier, block: Block, *, explain: bool
) -> Iterator[tuple[Block, RankedClasses, ElementShares | None]]:
    if not (explain and isinstance(classifier, TellsElements)):
        yield from ((part, ranked, None) for part, ranked in ranked_parts(classifier, block))
        return
    for part in parts(block, max(1, CELLS // max(1, len(classifier.labels)))):
        logits, told = classifier.explained(part)
        yield part, LogitMatrix(checked_logits(logits), classifier.probabilities(logits)), told


def ranked_parts(
    classifier: Classifier, block: Block, *, size: int | None = None
) -> Iterator[tuple[Block, RankedClasses]]:
    """Yield the documents of a block in order with their ranked classes, in parts that bound the memory of these.

    Parts have `size` documents; by default as many as suits. Raises TrainingError when a logit is no finite number.
    """
    ranker = classifier.ranker() if isinstance(classifier, Ranker) else None
    if ranker is None:
        for part, logits in logit_parts(classifier, block, size=size):
            yield part, LogitMatrix(logits, classifier.probabilities(logits))
    else:
        for part in parts(block, size or RANKED):
            yield part, ranker(part)


def logit_parts(
    classifier: Classifier, block: Block, *, size: int | None = None
) -> Iterator[tuple[Block, NDArray[np.float32]]]:
    """Yield the documents of a block in order with their logits (m, C); parts and errors as for `ranked_parts`."""
    for part in parts(block, size or max(1, CELLS // max(1, len(classifier.labels)))):
        yield part, checked_logits(classifier.predict_logits(part))


def parts(block: Block, size: int) -> Iterator[Block]:
    """Yield a block in parts of `size` documents, and note how far it is."""
    for lo in range(0, len(block), size):
        note(lo, len(block))
        yield cut(block, lo, lo + size)


def has_input(classifier: Classifier, block: Block) -> NDArray[np.bool_]:
    """Return which documents have any input of the classifier, (n,) bool."""
    return block.present({one.name for one in inputs_of(type(classifier), classifier.config)})


def own(names: pa.Array, labels: pa.Array, ranked: RankedClasses) -> tuple[pa.Array, pa.Array]:
    """Return rank and loss of the documents' own labels, as in `Scored`.

    Of equally ranked labels the first stands first, as in `top`: rank 1 is what `top` names.

    names: (C,) string; labels: (n,) list<string>; ranked: of these documents.
    """
    columns = pc.fill_null(pc.index_in(pc.list_flatten(labels), value_set=names), -1).to_numpy(zero_copy_only=False)
    known = columns >= 0
    rows, columns = np.asarray(pc.list_parent_indices(labels))[known].astype(np.int64), columns[known].astype(np.int64)
    counts = np.bincount(rows, minlength=len(labels))
    starts = np.cumsum(counts) - counts
    logits, probabilities = ranked.of(rows, columns)
    first, loss = np.zeros(len(labels), np.int64), np.zeros(len(labels), np.float32)
    for count in np.unique(counts[counts > 0]):
        at = np.flatnonzero(counts == count)
        own_labels = starts[at][:, None] + np.arange(count)
        true = logits[own_labels]
        best = true == true.max(axis=1, keepdims=True)
        first[at] = np.where(best, columns[own_labels], len(names)).min(axis=1)
        loss[at] = -np.log(np.maximum(probabilities[own_labels], TINY)).mean(axis=1)
    rank, has = np.zeros(len(labels), np.int32), np.flatnonzero(counts)
    rank[has] = ranked.ranks(has, first[has])
    return pa.array(rank, pa.int32(), mask=counts == 0), pa.array(loss, pa.float32(), mask=counts == 0)


def single(labels: pa.Array) -> pa.ListArray:
    """Return each label as a set of one, and null as the empty set: (n,) list<string>."""
    return ragged(np.asarray(labels.is_valid()), labels.drop_null())


def ragged(lengths: NDArray[np.integer | np.bool_], values: pa.Array) -> pa.ListArray:
    """Return lists of the given lengths (n,) over consecutive values."""
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), values)


def count(classifier: Classifier, features: Features, *, full: bool = False) -> Tally:
    """Count how a classifier does on the labelled documents of a split; `full`: for metrics of every class too.

    Raises:
        TrainingError: a logit is no finite number.
        ValueError: no document of the split has a label.
    """
    total = sum((counted(judged(classifier, block, full=full)) for block in grouped(labelled(features))), Tally())
    if not total.n:
        raise ValueError("a split to score: expected labelled documents, got none; check `split` and the labels")
    return total


def judged(classifier: Classifier, block: Block, *, full: bool = False) -> Documents:
    """Return how a classifier answers labelled documents; one that holds nothing it reads has no answer.

    full: with the probabilities of every class.

    Raises TrainingError when a logit is no finite number.
    """
    parts = [_judged(classifier, scored, full=full) for scored in score(classifier, block)]
    return Documents(*(pa.concat_arrays(columns) for columns in zip(*parts, strict=True)))


def guesses(classifier: Classifier, features: Features) -> Iterator[tuple[Scored, pa.Array, pa.Array]]:
    """Yield labelled documents with their best label (null where nothing was read) and predicted labels."""
    for block in grouped(labelled(features)):
        for part in score(classifier, block):
            documents = _judged(classifier, part)
            yield part, documents.best, documents.predicted


def every_class(
    probabilities: NDArray[np.float32], present: NDArray[np.bool_], names: pa.Array, labels: pa.Array
) -> tuple[pa.Array, pa.Array]:
    """Return the fields `probabilities` and `own` of Documents.

    Args:
        probabilities: (n, C) of each class.
        present: (n,) bool, which documents the model read anything of.
        names: (C,) string of the classes.
        labels: (n,) list<string> of the documents' own.
    """
    values = pa.array(probabilities.reshape(-1), pa.float32())
    rows, classes, _ = label_pairs(labels, names)
    lists = pa.FixedSizeListArray.from_arrays(values, len(names), mask=pa.array(~present))
    return lists, ragged(np.bincount(rows, minlength=len(labels)), pa.array(classes, pa.int32()))


def _judged(classifier: Classifier, part: Scored, *, full: bool = False) -> Documents:
    # No constants of the module: a scalar makes pyarrow import pandas.
    names, nothing = pa.array(classifier.labels, pa.string()), pa.scalar([], pa.list_(pa.string()))
    seen, labels = pa.array(part.seen), part.block.labels
    every = 2 * (pa.nulls(len(labels)),)
    if full:
        p = classifier.probabilities(checked_logits(classifier.predict_logits(part.block)))
        every = every_class(p, part.seen, names, labels)
    return Documents(
        labels,
        pc.if_else(seen, part.predicted, nothing),
        pc.if_else(seen, names.take(pa.array(part.best)), None),
        pc.if_else(seen, pa.array(part.top_probabilities[:, 0]), None),
        pc.if_else(seen, part.rank, None),
        pc.if_else(seen, part.loss, None),
        *every,
    )
