"""Area under the ROC curve, one class against the rest: exact over shards, in bounded memory."""

from dataclasses import dataclass
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from fuseline.models.metrics.metric import Counts, Documents, Metric
from fuseline.models.metrics.scores import Tally

KIND = "auc"
LIMIT = 1 << 23  # different (class, score) pairs that are kept apart: 128 MB
STEP = 2  # bits of a score that are dropped at a time where there are more


@dataclass(frozen=True)
class RankCounts:
    """How many documents have which score for a class, with the class and without it; counts of documents add.

    Scores are kept as they are. Only where more than LIMIT pairs of a class and a score differ are they rounded down,
    by as few bits as that takes: which does not depend on the order in which counts were added.
    """

    keys: NDArray[np.uint64]  # (m,) class << 32 | bits of the score: sorted by class, then score
    counts: NDArray[np.int64]  # (m, 2) documents without, with the class
    documents: int
    dropped: int = 0  # low bits of the scores

    @classmethod
    def of(cls, scores: NDArray[np.float32], own: NDArray[np.bool_]) -> Self:
        """Count documents with scores (n, C) >= 0 and own classes (n, C)."""
        n, C = scores.shape
        bits = np.ascontiguousarray(scores + np.float32(0)).view(np.uint32).astype(np.uint64)  # -0 is 0
        keys = (np.arange(C, dtype=np.uint64) << np.uint64(32)) | bits
        truth = own.reshape(-1).astype(np.int64)
        return cls(keys.reshape(-1), np.stack([1 - truth, truth], axis=1), n)._compact(0)

    def __add__(self, other: "RankCounts") -> "RankCounts":
        """Return the counts of both sets of documents."""
        keys, counts = np.concatenate([self.keys, other.keys]), np.concatenate([self.counts, other.counts])
        joined = RankCounts(keys, counts, self.documents + other.documents)
        dropped = max(self.dropped, other.dropped)
        return joined._compact(dropped) if len(keys) > LIMIT else RankCounts(keys, counts, joined.documents, dropped)

    def by_class(self) -> NDArray[np.float64]:
        """Return the area of every class (K,) that some documents have and some have not: ties count half."""
        whole = self._compact(self.dropped)
        classes = whole.keys >> np.uint64(32)
        starts = np.flatnonzero(np.concatenate([[True], classes[1:] != classes[:-1]])) if len(classes) else classes
        areas = []
        for rows in np.split(whole.counts, starts[1:]) if len(classes) else ():
            without, having = rows.T
            below = np.cumsum(without) - without
            pairs = float(without.sum()) * float(having.sum())
            if pairs:
                areas.append(float(having @ (below + 0.5 * without)) / pairs)
        return np.array(areas)

    def _compact(self, dropped: int) -> Self:
        """Return one row per class and score, in order; more bits are dropped until there are at most LIMIT."""
        keys, counts = self.keys, self.counts
        while True:
            keys, place = np.unique(keys >> np.uint64(dropped) << np.uint64(dropped), return_inverse=True)
            counts = np.stack([np.bincount(place, side, len(keys)) for side in counts.T], axis=1).astype(np.int64)
            if len(keys) <= LIMIT or dropped >= 30:
                return type(self)(keys, counts, self.documents, dropped)
            dropped += STEP


def _sums(documents: Documents) -> RankCounts | None:
    if pa.types.is_null(documents.probabilities.type):
        return None
    given = documents.probabilities.is_valid()
    lists = documents.probabilities.filter(given)
    C, places = lists.type.list_size, documents.own.filter(given)
    own = np.zeros((len(lists), C), np.bool_)
    own[np.asarray(pc.list_parent_indices(places)), np.asarray(pc.list_flatten(places))] = True
    return RankCounts.of(np.asarray(lists.flatten()).reshape(len(lists), C), own)


def _value(counts: Counts) -> float:
    return float(counts.tally.sums[KIND].by_class().mean())


def _documents(tally: Tally) -> int:
    found = tally.sums.get(KIND)
    return found.documents if found is not None and len(found.by_class()) else 0


AUC = Metric(
    KIND,
    "mean area under the ROC curve of each class against the rest; classes that no or every document has are left out",
    _value, _documents, title="AUC", shown=(), sums=_sums, full=True,
)  # fmt: skip
