"""Splits and folds: the release's own first, then a hash that never moves, or the same share of every label."""

import pyarrow as pa
import pytest

from fuseline.models.config import key_values
from fuseline.tasks.documents.assignment import Assignment, SplitConfig, settle_splits
from fuseline.tasks.readers.base import documents
from fuseline.tasks.splits import stratified_folds, stratified_split


def batch(n: int, *, start: int = 0, labels: int = 5, group: bool = False, split: str | None = None) -> pa.Table:
    ids = [f"d{i}" for i in range(start, start + n)]
    return documents(
        n,
        source=[f"f:{i}" for i in range(n)],
        id=ids,
        labels=[[f"l{i % labels}"] if i % 11 else [] for i in range(start, start + n)],
        group=[f"g{i // 4}" for i in range(start, start + n)] if group else [None] * n,
        split=[split] * n,
    )


def splits(table: pa.Table) -> dict[str, str]:
    return dict(zip(table["id"].to_pylist(), table["split"].to_pylist(), strict=True))


def assigned(config: SplitConfig, *tables: pa.Table) -> dict[str, str]:
    assignment = Assignment(config).learn(iter(tables))
    return {key: value for table in tables for key, value in splits(assignment.apply(table)).items()}


def test_hash_splits_do_not_move_when_documents_are_added():
    few, many = assigned(SplitConfig(), batch(500)), assigned(SplitConfig(), batch(400), batch(600, start=400))
    assert all(many[key] == value for key, value in few.items())
    counts = [list(many.values()).count(name) for name in ("train", "valid", "test")]
    assert counts == pytest.approx([800, 100, 100], abs=40)


def test_stratified_splits_have_the_same_share_of_every_label():
    config = SplitConfig(method="stratified", valid=0.02, test=0.02)  # paper M: 4 % of each class, halved
    found = assigned(config, batch(1000), batch(1000, start=1000))
    for label in range(5):
        ids = [i for i in range(2000) if i % 5 == label and i % 11]
        own = [found[f"d{i}"] for i in ids]
        assert own.count("test") == round(0.02 * len(ids))
        assert own.count("valid") == round(0.02 * len(ids))


@pytest.mark.parametrize("method", ["hash", "stratified"])
def test_shares_seed_and_folds_are_those_of_the_configuration(method):
    parts = batch(700), batch(500, start=700)
    drawn = []
    for seed in (3, 4):
        config = SplitConfig(method=method, valid=0.1, test=0.3, folds=4, seed=seed)
        assignment = Assignment(config).learn(iter(parts))
        table = pa.concat_tables([assignment.apply(part) for part in parts])
        split, fold = table["split"].to_pylist(), table["fold"].to_pylist()
        assert [split.count(name) for name in ("train", "valid", "test")] == pytest.approx([720, 120, 360], abs=50)
        assert set(fold) == {0, 1, 2, 3}
        drawn.append((split, fold))
    assert drawn[0][0] != drawn[1][0]
    assert drawn[0][1] != drawn[1][1]


def test_stratified_draws_reach_the_documents_that_they_were_made_for():
    config, table = SplitConfig(method="stratified", valid=0.1, test=0.2, folds=3), batch(300, group=True)
    found = Assignment(config).learn(iter([table])).apply(table)
    labels = pa.array([one[0] if one else None for one in table["labels"].to_pylist()])
    keys = table["group"].combine_chunks()
    assert found["split"].to_pylist() == stratified_split(keys, labels, valid=0.1, test=0.2, seed=0).to_pylist()
    assert found["fold"].to_pylist() == stratified_folds(keys, labels, k=3, seed=0).tolist()


def test_groups_are_never_torn_apart():
    for method in ("hash", "stratified"):
        table = batch(400, group=True)
        config = SplitConfig(method=method, valid=0.3, test=0.3, folds=5)
        result = Assignment(config).learn(iter([table])).apply(table)
        groups: dict[str, set[tuple[str, int]]] = {}
        for group, split, fold in zip(*(result[c].to_pylist() for c in ("group", "split", "fold")), strict=True):
            groups.setdefault(group, set()).add((split, fold))
        assert all(len(found) == 1 for found in groups.values())
        assert {fold for found in groups.values() for _, fold in found} == {0, 1, 2, 3, 4}


def test_the_releases_own_split_wins_unless_it_is_to_be_ignored():
    table = batch(50, split="valid")
    assert set(assigned(SplitConfig(), table).values()) == {"valid"}
    assert set(assigned(SplitConfig(ignore_given=True, valid=0, test=0), table).values()) == {"train"}


def test_shares_that_leave_nothing_to_train_on_are_refused():
    with pytest.raises(ValueError, match=r"split.valid \+ split.test"):
        SplitConfig(valid=0.5, test=0.5)


def test_without_folds_the_column_is_null():
    table = Assignment(SplitConfig()).apply(batch(3))
    assert table["fold"].to_pylist() == [None, None, None]


def test_a_split_nobody_knows_matters_only_where_given_splits_count():
    """The row keeps nothing that could be trained on, or is a document like any other."""
    table = documents(
        3, source=["f:0", "f:1", "f:2"], id=["a", "b", "c"], text=["x", "y", "z"], labels=[["l"]] * 3,
        status=["bad_split", "ok", "bad_path"], split=[None, "test", None],
    )  # fmt: skip
    judged = settle_splits(table, SplitConfig())
    assert judged["status"].to_pylist() == ["bad_split", "ok", "bad_path"]
    assert judged["text"].to_pylist() == [None, "y", "z"]
    assert judged["labels"].to_pylist() == [[], ["l"], ["l"]]
    ignored = settle_splits(table, SplitConfig(ignore_given=True))
    assert ignored["status"].to_pylist() == ["ok", "ok", "bad_path"]
    assert ignored["text"].to_pylist() == ["x", "y", "z"]
    assert ignored.schema == table.schema


@pytest.mark.parametrize("method", ["hash", "stratified"])
def test_train_is_cut_and_what_the_source_sets_apart_never_enters_it(method):
    """Paper M: the clean validation set and the unlabelled test rows lie beside splits made of noisy training rows."""
    train, clean = batch(1000, split="train"), batch(500, start=1000, split="valid")
    unlabelled, free = batch(300, start=1500, labels=1, split="test"), batch(200, start=1800)
    config = SplitConfig(method=method, valid=0.02, test=0.02, cut_train=True, folds=4)
    found = assigned(config, train, clean, unlabelled, free)
    assert {found[f"d{i}"] for i in range(1000, 1500)} == {"given_valid"}
    assert {found[f"d{i}"] for i in range(1500, 1800)} == {"given_test"}
    cut = [*range(1000), *range(1800, 2000)]
    assert {found[f"d{i}"] for i in cut} == {"train", "valid", "test"}
    # The clean rows move none of the others.
    assert {key: value for key, value in found.items() if int(key[1:]) in set(cut)} == assigned(config, train, free)
    table = Assignment(config).learn(iter([train, clean])).apply(pa.concat_tables([clean, train]))
    assert table["fold"].slice(0, 500).null_count == 500
    assert table["fold"].slice(500).null_count == 0


def test_the_cut_is_a_share_of_the_training_rows_of_each_class():
    train, clean = batch(1000, split="train"), batch(5000, start=1000, split="valid")
    found = assigned(SplitConfig(method="stratified", valid=0.02, test=0.02, cut_train=True), train, clean)
    for label in range(5):
        own = [found[f"d{i}"] for i in range(1000) if i % 5 == label and i % 11]
        assert own.count("valid") == own.count("test") == round(0.02 * len(own))


def test_a_source_without_training_rows_has_nothing_to_cut():
    for method in ("hash", "stratified"):
        config = SplitConfig(method=method, cut_train=True, folds=3)
        assert set(assigned(config, batch(30, split="test")).values()) == {"given_test"}


def test_cutting_train_and_ignoring_what_is_given_exclude_each_other():
    with pytest.raises(ValueError, match=r"split.cut_train: expected 'false with ignore_given', got True; leave"):
        SplitConfig(cut_train=True, ignore_given=True)


def test_no_cut_is_no_part_of_the_key():
    assert "cut_train" not in key_values(SplitConfig())
