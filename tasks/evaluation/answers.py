"""Which of several models are right on documents, by the labels that they predicted."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from fuseline.models.scoring import ragged
from fuseline.tasks.evaluation.evaluate import check_ids


def hits(labels: pa.Array, best: pa.Array) -> NDArray[np.bool_]:
    """Return whether the best label (n,) string is among the document's own (n,) list<string>; not where it is null."""
    rows = np.asarray(pc.list_parent_indices(labels)).astype(np.int64)
    same = pc.equal(pc.list_flatten(labels), best.take(pa.array(rows)))
    return np.bincount(rows[np.asarray(pc.fill_null(same, False))], minlength=len(labels)) > 0


def right_models(right: NDArray[np.bool_], names: Sequence[str]) -> pa.Array:
    """Return the names of those of m models that are right (n, m), list<string>, in the order of the names."""
    _, places = np.nonzero(right)
    return ragged(right.sum(axis=1), pa.array(np.array(names, object)[places], pa.string()))


def answered(documents: pa.Table, answers: Sequence[pa.Table]) -> tuple[NDArray[np.bool_], list[pa.Array]]:
    """Return whether each of m models is right (n, m), and each one's best labels (n,), by their predictions.

    Raises AlignmentError when these are of other documents.
    """
    for guessed in answers:
        check_ids(guessed, documents)
    best = [guessed["label"].combine_chunks() for guessed in answers]
    labels = documents["labels"].combine_chunks()
    return np.stack([hits(labels, one) for one in best], axis=1), best


def disagreement(one: pa.Array, other: pa.Array) -> NDArray[np.float64]:
    """Return 1 - sum over classes of the smaller of two models' probabilities (n,), of their best labels `top_k` (n,).

    With all classes among these, and probabilities that sum to 1, that is the total variation distance of the two;
    a class that only one of them names counts as 0 in the other. 1 where one of them says nothing.
    """
    rows, labels, scores = zip(*map(_flat, (one, other)), strict=True)
    names = pc.unique(pa.concat_arrays(labels))
    mine, its = (at * len(names) + np.asarray(pc.index_in(own, names)) for at, own in zip(rows, labels, strict=True))
    _, i, j = np.intersect1d(mine, its, assume_unique=True, return_indices=True)
    shared = np.bincount(rows[0][i], np.minimum(scores[0][i], scores[1][j]), minlength=len(one))
    return 1 - np.minimum(1, shared)


def _flat(top: pa.Array) -> tuple[NDArray[np.int64], pa.Array, NDArray[np.float64]]:
    """Return row, label and score of every entry of a list of labels with scores."""
    flat = pc.list_flatten(top)
    rows, scores = pc.list_parent_indices(top), pc.struct_field(flat, "score")
    return np.asarray(rows).astype(np.int64), pc.struct_field(flat, "label"), np.asarray(scores).astype(np.float64)
