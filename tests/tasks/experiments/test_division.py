"""Whether documents can be divided into folds."""

from typing import Any

import pytest
from drive import Source, run

from fuseline.stores.errors import ConfigError
from fuseline.stores.root import Root
from fuseline.tasks.documents.assignment import SplitConfig
from fuseline.tasks.documents.documents_node import SourceConfig
from fuseline.tasks.documents.ingest import stage
from fuseline.tasks.engine.nodes import Ingest
from fuseline.tasks.experiments.folds import check_folds, divided


def ingested(source: Source, root: Root, splits: list[str], **split: Any) -> Ingest:
    path = source.write({"id": f"d{i}", "text": "x", "split": split} for i, split in enumerate(splits))
    node = stage("x", SourceConfig(path=str(path)), shard_size=4, split=SplitConfig(**split), workers=1)
    run([node], root)
    return node


def test_test_documents_take_no_part_and_are_counted(source: Source, root: Root) -> None:
    node = ingested(source, root, ["train"] * 20 + ["test"] * 7 + ["valid"] * 2, folds=3)
    check_folds(node, root, 3)
    assert divided(node, root) == (22, 7)


def test_more_folds_than_documents_are_refused(source: Source, root: Root) -> None:
    node = ingested(source, root, ["train", "train", "test"], folds=4)
    with pytest.raises(ConfigError, match=(
        r"evaluation.folds: expected 'documents to score in every fold', got 'none in fold \d of 4, with 2 documents "
        r"that are not test'; lower it, or give more documents"
    )):  # fmt: skip
        check_folds(node, root, 4)


def test_a_fold_without_anything_to_train_on_is_refused(source: Source, root: Root) -> None:
    node = ingested(source, root, ["valid"] * 12, folds=2)
    with pytest.raises(ConfigError, match="expected 'documents to train on in every fold', got 'none in fold 0 of 2"):
        check_folds(node, root, 2)
