"""Hits among the first k labels: scikit-learn's top-k accuracy, where any of a document's own labels is a hit."""

from functools import partial

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from fuseline.models.metrics.metric import Counts, Documents, Metric
from fuseline.models.metrics.scores import Tally


def hit_at(k: int) -> Metric:
    """Return the share of documents with an own label among the best k; one without known labels has no hit."""
    kind = f"hit_at_{k}"
    return Metric(
        kind, f"share of documents with an own label among the best {k}", partial(_share, kind),
        partial(_documents, kind), title=f"hit@{k}", shown=(), sums=partial(_hits, k),
    )  # fmt: skip


def _hits(k: int, documents: Documents) -> NDArray[np.float64]:
    hits = pc.sum(pc.less_equal(documents.rank, k)).as_py() or 0
    return np.array([hits, len(documents.rank)], np.float64)


def _share(kind: str, counts: Counts) -> float:
    hits, n = counts.tally.sums[kind]
    return float(hits / n)


def _documents(kind: str, tally: Tally) -> int:
    return int(tally.sums[kind][1]) if kind in tally.sums else 0
