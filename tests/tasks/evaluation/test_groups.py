"""Scores of each source and each kind of document."""

import numpy as np
import pyarrow as pa
import pytest
from sklearn.metrics import accuracy_score, f1_score

from fuseline.stores.errors import DataError
from fuseline.stores.score_schemas import GROUPS
from fuseline.tasks.engine.nodes import Context
from fuseline.tasks.evaluation import groups
from fuseline.tasks.evaluation.groups import GroupsConfig, checked_column, score_groups
from fuseline.tasks.stages.train import MULTI_LABEL
from tests.tasks.evaluation.test_evaluate import LABELS, documents, predictions

FOLDERS = ["google/a.json", "flickr/b.json", "top.json"]


def stream(n, size, *, colour=True):
    """Return predictions and documents of three sources, with colours of which some are missing; and the arrays."""
    rng = np.random.default_rng(5)
    truth, guess = rng.choice(LABELS, n), rng.choice(LABELS, n)
    source = [FOLDERS[k] for k in rng.integers(0, 3, n)]
    colours = [["red", "blue", None][k] for k in rng.integers(0, 3, n)]
    known = documents([(f"d{i}", "test" if i % 3 else "train", [truth[i]]) for i in range(n)])
    known = known.append_column("source_file", pa.array(source))
    known = known.append_column("cat_colour", pa.array(colours)) if colour else known
    guessed = predictions([(f"d{i}", guess[i], 1 if guess[i] == truth[i] else 6, 0.5, []) for i in range(n)])
    shards = lambda: ([guessed.slice(lo, size), known.slice(lo, size)] for lo in range(0, n, size))  # noqa: E731
    return shards, truth, guess, np.array(source), np.array([one or "(none)" for one in colours])


def scored(shards, *by, splits=("test",)):
    context = Context("", {}, {}, facts={"models/m": {MULTI_LABEL: False}})
    table = score_groups(shards, GroupsConfig(model="m", splits=splits, by=by), context)["groups"]
    assert table.schema == GROUPS
    return {(row["column"], row["group"], row["metric"]): (row["value"], row["n"]) for row in table.to_pylist()}


@pytest.mark.parametrize("size", [90, 8])
def test_groups_are_scored_as_scikit_learn_scores_their_documents(size):
    shards, truth, guess, source, colours = stream(90, size)
    found = scored(shards, "source", "cat_colour")
    test = np.arange(90) % 3 > 0
    named = {"source": np.array([name.partition("/")[0] if "/" in name else "" for name in source]),
             "cat_colour": colours}  # fmt: skip
    assert {key[:2] for key in found} == {(column, group) for column in named for group in named[column][test]}
    for column, groups_ in named.items():
        for group in {*groups_[test]}:
            mask = test & (groups_ == group)
            assert found[column, group, "accuracy"] == (
                pytest.approx(accuracy_score(truth[mask], guess[mask])), mask.sum()
            )  # fmt: skip
            expected = f1_score(truth[mask], guess[mask], average="weighted", zero_division=0)
            assert found[column, group, "f1_weighted"][0] == pytest.approx(expected)


def test_small_groups_are_one_when_there_are_too_many(monkeypatch):
    monkeypatch.setattr(groups, "LARGEST", 1)
    shards, *_ = stream(90, 30)
    found = scored(shards, "source")
    sizes = {key[1]: n for key, (_, n) in found.items() if key[2] == "accuracy"}
    assert "(others)" in sizes
    assert len(sizes) == 2
    assert sum(sizes.values()) == 60


def test_a_column_that_no_document_has_is_refused():
    shards, *_ = stream(20, 10, colour=False)
    with pytest.raises(DataError, match=r"evaluation.by: expected 'columns of the documents', got 'cat_colour'; the"):
        scored(shards, "cat_colour")


def test_a_shard_may_lack_the_column_and_a_split_documents():
    (one, *_), (other, *_) = stream(20, 20), stream(20, 20, colour=False)
    both = lambda: iter([*one(), *other()])  # noqa: E731
    assert ("cat_colour", "(none)", "accuracy") in scored(both, "cat_colour")
    assert scored(one, "source", splits=("valid",)) == {}
    assert scored(lambda: iter([]), "cat_colour") == {}


def test_only_columns_with_values_to_group_by_are_named():
    assert checked_column("source") == "source"
    for name in ("title", "num_price", ""):
        with pytest.raises(ValueError, match="expected 'source' or a column of the source"):
            checked_column(name)
