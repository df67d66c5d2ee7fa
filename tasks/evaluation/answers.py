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
