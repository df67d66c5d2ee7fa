"""What decisions that learn have in common: half of valid to learn from, the other to be tuned on, who is right."""

from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from fuseline.models.classifiers.decision import Decision, Mask
from fuseline.models.columns import Logits
from fuseline.models.features import Features
from fuseline.models.labels import Classes, label_pairs, labelled


class Stacked(Decision):
    """A decision that learns from documents that its models were not fitted on: `train` is one half of valid.

    `valid` is the other half, by which it is tuned; both are needed.
    """

    learns_from: ClassVar[Literal["train", "valid"]] = "valid"

    def _fit(
        self, train: Features, valid: Features | None, classes: Classes, *, seed: int, scratch: Path | None
    ) -> None:
        super()._fit(train, valid, classes, seed=seed, scratch=scratch)
        if valid is None or next(labelled(valid), None) is None:
            cure = "give valid more documents (split.valid): one half is learned from, the other tunes"
            raise ValueError(f"valid: expected labelled documents in both of its halves, got none in one; {cure}")
        self._learn(train, valid, seed=seed, scratch=scratch)

    def _learn(self, train: Features, valid: Features, *, seed: int, scratch: Path | None) -> None:
        """Learn from the labelled documents of `train`, tune on those of `valid`."""
        raise NotImplementedError


def right(columns: list[Logits], labels: pa.Array) -> Mask:
    """Return whether the best class of each model is one of a document's own labels (n, m); not where it is absent.

    Of classes with equal logits the first is best, as in predictions.
    """
    best = np.stack([column.values.argmax(axis=1) for column in columns], axis=1)
    there = np.stack([column.present for column in columns], axis=1)
    return is_own(best, columns[0].labels, labels) & there


def is_own(best: NDArray[np.int64], names: tuple[str, ...], labels: pa.Array) -> Mask:
    """Return whether classes (n, m) are among the labels of their documents (n,)."""
    rows, classes, _ = label_pairs(labels, pa.array(names, pa.string()))
    return np.isin(np.arange(len(labels))[:, None] * len(names) + best, rows * len(names) + classes)
