"""What a document is in a fold: the folds partition the documents, and nothing is fitted on and scored."""

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fuseline.tasks.engine.rows import Fold, split_in

parts = st.integers(2, 7)
SPLITS = st.sampled_from(["train", "valid", "test", None])


@st.composite
def divided(draw: st.DrawFn) -> tuple[int, list[str | None], list[int | None]]:
    of = draw(parts)
    rows = draw(st.lists(st.tuples(SPLITS, st.one_of(st.none(), st.integers(0, of - 1)))))
    return of, [split for split, _ in rows], [part for _, part in rows]


def inside(k: int, of: int, splits: list[str | None], folds: list[int | None]) -> list[str | None]:
    found: list[str | None] = split_in(
        Fold(k, of), pa.array(splits, pa.string()), pa.array(folds, pa.int32())
    ).to_pylist()
    return found


@given(divided())
def test_every_document_that_takes_part_is_scored_once_and_no_other_is(
    rows: tuple[int, list[str | None], list[int | None]],
) -> None:
    of, splits, folds = rows
    scored = [0] * len(splits)
    for k in range(of):
        for row, split in enumerate(inside(k, of, splits, folds)):
            scored[row] += split == "test"
    eligible = [s in ("train", "valid") and f is not None for s, f in zip(splits, folds, strict=True)]
    assert scored == [int(one) for one in eligible]


@given(divided())
def test_documents_of_other_parts_keep_their_split_and_the_source_s_test_takes_no_part(
    rows: tuple[int, list[str | None], list[int | None]],
) -> None:
    of, splits, folds = rows
    for k in range(of):
        for own, part, now in zip(splits, folds, inside(k, of, splits, folds), strict=True):
            if own in (None, "test") or part is None:
                assert now is None
            else:
                assert now == ("test" if part == k else own)


def test_without_a_fold_a_document_is_what_its_split_says() -> None:
    splits = pa.array(["train", "test", None])
    assert split_in(None, splits, pa.array([0, 1, 2], pa.int32())) is splits


def test_a_part_beyond_the_folds_takes_no_part() -> None:
    assert inside(0, 2, ["train", "train", "train", "train"], [5, 0, -1, 2]) == [None, "test", None, None]


@pytest.mark.parametrize(("k", "of"), [(3, 3), (-1, 3), (0, 1)])
def test_a_fold_that_is_none_is_refused(k: int, of: int) -> None:
    with pytest.raises(ValueError, match="fold: expected 'k from 0 to of - 1, of from 2'"):
        Fold(k, of)
