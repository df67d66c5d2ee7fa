"""Splits and folds: shares, balance, groups, and that nobody moves when documents are added."""

from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fuseline.stores.errors import ConfigError
from fuseline.tasks.splits import hash_folds, hash_split, hashed, stratified_folds, stratified_split

KEYS = pa.array([f"doc-{index}" for index in range(20_000)])
LABELS = pa.array([f"label-{index % 7}" if index % 7 < 6 else None for index in range(20_000)])


def counts(array: pa.Array) -> dict[str, int]:
    return {row["values"]: row["counts"] for row in array.value_counts().to_pylist()}


def test_hashes_are_xxh3_of_the_utf8_bytes():
    """The value of an empty input is published with the algorithm; the rest must never change between versions."""
    assert hashed(pa.array(["", None]), seed=0).tolist() == [0x2D06800538D394C2] * 2
    assert hash_split(pa.array(["a", "b", "c", "d", "e", "f"]), valid=0.3, test=0.3, seed=1).to_pylist() == GOLDEN


GOLDEN = ["valid", "train", "test", "train", "train", "valid"]


def test_shares_are_met():
    got = counts(hash_split(KEYS, valid=0.1, test=0.2, seed=3))
    assert abs(got["valid"] - 2000) < 200
    assert abs(got["test"] - 4000) < 250
    assert counts(hash_split(KEYS, valid=0.0, test=0.0, seed=3)) == {"train": 20_000}
    assert counts(hash_split(KEYS, valid=0.0, test=1.0, seed=3)) == {"test": 20_000}
    assert counts(hash_split(KEYS, valid=1.0, test=0.0, seed=3)) == {"valid": 20_000}


@pytest.mark.parametrize("draw", [
    lambda seed: hash_split(KEYS, valid=0.1, test=0.1, seed=seed).to_pylist(),
    lambda seed: stratified_split(KEYS, LABELS, valid=0.1, test=0.1, seed=seed).to_pylist(),
    lambda seed: hash_folds(KEYS, k=5, seed=seed).tolist(),
    lambda seed: stratified_folds(KEYS, LABELS, k=5, seed=seed).tolist(),
])  # fmt: skip
def test_every_draw_follows_its_seed(draw):
    assert draw(1) == draw(1) != draw(2)


def test_seeds_differ_and_larger_shares_keep_the_smaller():
    one, other = (hash_split(KEYS, valid=0.1, test=0.1, seed=seed).to_numpy(zero_copy_only=False) for seed in (0, 1))
    assert (one != other).mean() > 0.2
    more = hash_split(KEYS, valid=0.2, test=0.2, seed=0).to_numpy(zero_copy_only=False)
    assert (more[one != "train"] == one[one != "train"]).all()


@given(st.lists(st.text(), max_size=30), st.lists(st.text(), max_size=30), st.integers(0, 2**32))
def test_added_documents_move_nobody(old, new, seed):
    before = hash_split(pa.array(old, pa.string()), valid=0.2, test=0.2, seed=seed)
    after = hash_split(pa.array(new + old, pa.string()), valid=0.2, test=0.2, seed=seed)
    assert after.to_pylist()[len(new) :] == before.to_pylist()
    folds = hash_folds(pa.array(old, pa.string()), k=5, seed=seed)
    assert hash_folds(pa.array(new + old, pa.string()), k=5, seed=seed)[len(new) :].tolist() == folds.tolist()


def test_a_group_never_lies_on_both_sides():
    groups = pa.array([f"page-{index // 7}" for index in range(20_000)])
    for split in (
        hash_split(groups, valid=0.2, test=0.2, seed=0).to_pylist(),
        stratified_split(groups, LABELS, valid=0.2, test=0.2, seed=0).to_pylist(),
        hash_folds(groups, k=5, seed=0).tolist(),
        stratified_folds(groups, LABELS, k=5, seed=0).tolist(),
    ):
        assert len(set(zip(groups.to_pylist(), split, strict=True))) == len(set(groups.to_pylist()))
        assert len(set(split)) > 2


def test_strata_get_the_same_share_to_the_document():
    split = stratified_split(KEYS, LABELS, valid=0.02, test=0.02, seed=0).to_pylist()
    for label, total in counts(LABELS).items():
        mine = [one for one, other in zip(split, LABELS.to_pylist(), strict=True) if other == label]
        assert (mine.count("valid"), mine.count("test")) == (round(total * 0.02), round(total * 0.02))
    tiny = stratified_split(pa.array(["x"]), pa.array(["rare"]), valid=0.5, test=0.6 - 0.1, seed=0)
    assert len(tiny) == 1


def test_shares_are_rounded_to_the_nearest_document():
    labels = pa.array(["a"] * 13 + ["b"] * 12)
    split = stratified_split(KEYS[:25], labels, valid=0.2, test=0.2, seed=0).to_pylist()
    assert [split[:13].count("test"), split[13:].count("test")] == [3, 2]  # of 2.6 and 2.4
    assert [split[:13].count("valid"), split[13:].count("valid")] == [3, 2]


def test_groups_count_under_the_label_of_their_first_document():
    groups = [f"g{i // 4}" for i in range(1600)]
    labels = [f"l{i // 4 % 4}" if i % 4 == 0 else f"l{i % 3}" for i in range(1600)]
    split = stratified_split(pa.array(groups), pa.array(labels), valid=0.1, test=0.2, seed=0).to_pylist()
    found = Counter(zip(labels[::4], split[::4], strict=True))
    assert {found[f"l{n}", "test"] for n in range(4)} == {20}
    assert {found[f"l{n}", "valid"] for n in range(4)} == {10}


def test_stratified_folds_are_balanced_by_label():
    folds = stratified_folds(KEYS, LABELS, k=5, seed=0)
    labels = np.array(LABELS.to_pylist(), dtype=object)
    for label in set(LABELS.to_pylist()):
        sizes = np.bincount(folds[labels == label], minlength=5)
        assert sizes.max() - sizes.min() <= 1
    rare = stratified_folds(
        pa.array([f"r{i}" for i in range(200)]), pa.array([f"l{i}" for i in range(200)]), k=5, seed=0
    )
    assert np.bincount(rare, minlength=5).min() > 20  # labels of one document do not all fall into one fold


def test_row_order_says_nothing():
    turned = pa.array(KEYS.to_pylist()[::-1])
    labels = pa.array(LABELS.to_pylist()[::-1])
    assert stratified_split(turned, labels, valid=0.1, test=0.1, seed=0).to_pylist()[::-1] == (
        stratified_split(KEYS, LABELS, valid=0.1, test=0.1, seed=0).to_pylist()
    )


def test_empty_input():
    empty = pa.array([], pa.string())
    assert len(hash_split(empty, valid=0.1, test=0.1, seed=0)) == 0
    assert len(stratified_split(empty, empty, valid=0.1, test=0.1, seed=0)) == 0
    assert len(stratified_folds(empty, empty, k=5, seed=0)) == 0


@pytest.mark.parametrize(("valid", "test"), [(-0.1, 0.1), (0.6, 0.6), (float("nan"), 0.1)])
def test_shares_out_of_range_are_refused(valid, test):
    with pytest.raises(ConfigError, match=r"split\.valid and split\.test"):
        hash_split(KEYS, valid=valid, test=test, seed=0)
    with pytest.raises(ConfigError):
        stratified_split(KEYS, LABELS, valid=valid, test=test, seed=0)
    with pytest.raises(ConfigError, match=r"split\.folds"):
        hash_folds(KEYS, k=1, seed=0)
