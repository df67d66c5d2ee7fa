"""Sequences of words: order, bounds, unknown words, training rows alone, and refusals."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from fuseline.models.columns import Sequence, Size
from fuseline.stores.errors import DataError
from fuseline.stores.places import open_root
from fuseline.stores.root import Root
from fuseline.tasks.documents.assignment import SplitConfig
from fuseline.tasks.documents.documents_node import SourceConfig
from fuseline.tasks.documents.ingest import stage as ingest_stage
from fuseline.tasks.engine.fit import make_fit
from fuseline.tasks.engine.nodes import ShardStage, in_fold
from fuseline.tasks.engine.rows import Fold
from fuseline.tasks.stages import clean
from fuseline.tasks.stages.clean import CleanConfig
from fuseline.tasks.stages.sequences import SequenceConfig, WordSequence, words_of
from fuseline.tasks.stages.train import Readable
from tests.drive import make_shard

TITLES = ["Red apple, red!", "Green pear", "apple apple blue", "", None, "the Red pear"]
SPLITS = ["train", "train", "test", "train", "train", "valid"]


def node(**options: Any) -> ShardStage:
    documents = ingest_stage("x", SourceConfig(path="none"), shard_size=9, split=SplitConfig(valid=0, test=0))
    config = SequenceConfig.model_validate({"field": "title", **options})
    return WordSequence.node("words", config, Readable(documents, clean.stage(CleanConfig(), documents), {}))


def made(root: Root, titles: list[str | None] = TITLES, **options: Any) -> Sequence:
    """Commit documents and their clean text by hand, then fit and make the stage; return its column."""
    stage = node(**options)
    (fit,) = stage.fits
    ids = [f"d{row}" for row in range(len(titles))]
    cleaned = pa.table({"id": ids, "title": pa.array(titles, pa.string())})
    fit.reads[0].node.dataset(root).commit(0, pa.table({"id": ids, "split": SPLITS[: len(ids)]}), {})
    fit.reads[1].node.dataset(root).commit(0, cleaned, {})
    make_fit(fit, root, source="")
    make_shard(stage, root, 0)
    dataset = stage.dataset(root)
    (record,) = dataset.records().values()
    assert stage.feature is not None
    return Sequence.of(dataset.read(record, ("id", *stage.feature.columns)), stage.feature.field)


def lists(column: Sequence) -> list[list[int]]:
    return [row.tolist() for row in np.split(column.values, column.offsets[1:-1])]


def test_words_keep_their_order_and_training_rows_alone_are_known(tmp_path: Path) -> None:
    found = made(open_root(tmp_path))
    # By falling count, then by name: red (2), apple, green, pear; blue stands in a test row alone.
    assert lists(found) == [[1, 2, 1], [3, 4], [2, 2, 0], [], [], [0, 1, 4]]
    assert found.present.tolist() == [True, True, True, False, False, True]
    assert found.size == Size("sequence", 0, 4)
    assert found.values.dtype == np.int32


def test_options_bound_words_and_vocabulary(tmp_path: Path) -> None:
    assert lists(made(open_root(tmp_path / "a"), length=2))[0] == [4, 1]  # apple, green, pear, red
    assert lists(made(open_root(tmp_path / "b"), min_count=2))[:3] == [[1, 0, 1], [0, 0], [0, 0, 0]]
    assert lists(made(open_root(tmp_path / "c"), size=1))[0] == [1, 0, 1]
    # Green | Red | apple, | pear | red!
    assert lists(made(open_root(tmp_path / "d"), split="spaces", lower=False))[0] == [2, 3, 5]


def test_a_word_beyond_the_cut_has_no_number(tmp_path: Path) -> None:
    found = made(open_root(tmp_path), ["one two three", "three two one"], length=1)
    assert lists(found) == [[1], [2]]
    assert found.vocabulary == 2


def test_words_are_runs_of_letters_and_digits_of_any_script() -> None:
    table = pa.table({"text": ["Über-cool: it's 3.5m\u00a0(nai\u0308ve) snake_case", "жёлтый, 黄色"]})
    words = words_of(table, SequenceConfig()).to_pylist()
    assert words == [["Über", "cool", "it", "s", "3", "5m", "nai\u0308ve", "snake_case"], ["жёлтый", "黄色"]]
    endless = pa.table({"text": ["word " * 100_000]})
    assert len(words_of(endless, SequenceConfig(length=7)).to_pylist()[0]) == 7


@pytest.mark.parametrize(("titles", "options"), [(["", None, "..."], {}), (["a b", "c", "d"], {"min_count": 2})])
def test_nothing_to_learn_from_is_named(tmp_path: Path, titles: list[str | None], options: dict[str, Any]) -> None:
    n = options.get("min_count", 1)
    message = f"words of title: expected 'one that stands {n} times in training rows', got 'none'; name another field"
    with pytest.raises(DataError, match=message):
        made(open_root(tmp_path), titles, **options)


def test_every_option_is_in_the_keys_of_fit_and_stage() -> None:
    changes = ({"length": 3}, {"split": "spaces"}, {"size": 7}, {"min_count": 2}, {"lower": False}, {"field": "text"})
    assert len({node(**change).key for change in ({}, *changes)}) == 7
    assert len({node(**change).fits[0].key for change in ({}, *changes)}) == 7


def test_the_vocabulary_is_fitted_in_every_fold() -> None:
    (stage,) = in_fold([node()], Fold(0, 2))
    assert stage.fold == stage.fits[0].fold == Fold(0, 2)


def test_read_of_several_vocabularies_are_not_joined() -> None:
    one = Sequence(np.array([0, 1]), np.array([1], np.int32), np.array([True]), 3)
    with pytest.raises(ValueError, match="token ids of one vocabulary"):
        Sequence.join([one, Sequence(one.offsets, one.values, one.present, 4)])
    assert Sequence.join([one, one]).vocabulary == one.at(slice(0, 1)).vocabulary == one.masked().vocabulary == 3


def test_padded_ids_end_in_minus_one() -> None:
    column = Sequence(np.array([0, 2, 2, 5]), np.array([4, 0, 1, 2, 3], np.int32), np.array([True, False, True]), 9)
    assert column.padded().tolist() == [[4, 0, -1], [-1, -1, -1], [1, 2, 3]]
    assert column.masked().padded().tolist() == [[-1], [-1], [-1]]
    assert column.at(slice(0, 0)).padded().shape == (0, 1)
