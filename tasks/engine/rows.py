"""Which documents a node learns from: their split, or a half of it, and the fold of a cross-validation."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from fuseline.stores.digests import cell_digests
from fuseline.stores.errors import mismatch

TAKES_PART = ("train", "valid")  # splits that a cross-validation divides
HELD_OUT = "test"  # what the documents that are held out are in their fold


@dataclass(frozen=True)
class Fold:
    """Part `k` of a cross-validation with `of` parts, counted from 0 as the documents' column `fold`."""

    k: int
    of: int

    def __post_init__(self) -> None:
        if not 0 <= self.k < self.of or self.of < 2:
            raise ValueError(mismatch("fold", "k from 0 to of - 1, of from 2", self, "count folds from 0"))

    def __str__(self) -> str:
        return f"fold{self.k}of{self.of}"


@dataclass(frozen=True)
class Rows:
    """Which documents a fit sees: of which split it learns, by which it chooses, and in which fold."""

    fit: str = "train"
    tune: str = "valid"
    fold: Fold | None = None


ORDINARY = Rows()


class Half(NamedTuple):
    """A half of a split, drawn by the documents' ids: a document that is added moves no other."""

    split: str
    number: int  # 0 or 1


# What learns from the scores of other models does so on documents that they were not fitted on, and is tuned on others.
HALVES = {"valid_fit": Half("valid", 0), "valid_tune": Half("valid", 1)}
STACKED = Rows("valid_fit", "valid_tune")


def split_of(name: str) -> str:
    """Return the split that a split, or a half of one, belongs to."""
    return HALVES[name].split if name in HALVES else name


def in_split(documents: pa.Table, name: str) -> NDArray[np.bool_]:
    """Return which documents (n,) are of a split, or of a half of one, from their columns `id` and `split`."""
    own = np.asarray(pc.fill_null(pc.equal(documents["split"], split_of(name)), False))
    return own & (cell_digests(documents["id"])[:, 0] % 2 == HALVES[name].number) if name in HALVES else own


def split_in(fold: Fold | None, splits: pa.ChunkedArray, folds: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return what each document (n,) is in a fold; without a fold, its own split.

    Documents of part k are held out ("test"), whether they are of train or valid; those of the other parts keep their
    split. What the source calls test takes no part in a cross-validation, nor does a document without a part: null.

    Args:
        fold: which part is held out.
        splits: (n,) string, the documents' own.
        folds: (n,) int32, the part that each was assigned to.
    """
    if fold is None:
        return splits
    assigned = pc.and_(pc.greater_equal(folds, 0), pc.less(folds, fold.of))
    takes_part = pc.fill_null(pc.and_(pc.is_in(splits, pa.array(TAKES_PART)), assigned), False)
    held_out = pc.fill_null(pc.equal(folds, fold.k), False)
    return pc.if_else(takes_part, pc.if_else(held_out, HELD_OUT, splits), pa.scalar(None, pa.string()))
