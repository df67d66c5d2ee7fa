"""What a fit sees: training rows of every shard, as blocks."""

import numpy as np
import pyarrow as pa
import pytest
from drive import Source, documents, nodes, run

from stores.errors import DataError
from tasks.fit import ShardFeatures, block_of, make_fit


@pytest.fixture
def root(tmp_path):
    return tmp_path / "root"


def split_source(tmp_path, splits: list[str]):
    rows = [
        {**d, "split": s, "labels": [f"l{i % 2}"]} for i, (d, s) in enumerate(zip(documents(99), splits, strict=False))
    ]
    return Source(tmp_path / "x.jsonl").write(rows)


def test_blocks_hold_the_rows_of_one_split_in_order(tmp_path, root):
    splits = ["train", "valid", "test", "train", "train", "valid"]
    wanted = nodes(split_source(tmp_path, splits), shard_size=2)
    run([wanted.documents, wanted.clean], root)
    train = ShardFeatures(wanted.model, root, "train")
    for _ in range(2):
        blocks = list(train.blocks())
        assert [block.ids.to_pylist() for block in blocks] == [["d0"], ["d3"], ["d4"]]
        assert [block.text.to_pylist() for block in blocks] == [["TEXT D0"], ["TEXT D3"], ["TEXT D4"]]
        assert [block.labels.to_pylist() for block in blocks] == [[["l0"]], [["l1"]], [["l0"]]]
    assert train.n_rows == 3
    assert ShardFeatures(wanted.model, root, "valid").n_rows == 2
    assert list(ShardFeatures(wanted.model, root, "absent").blocks()) == []


def test_no_training_document_is_one_error_with_the_cure(tmp_path, root):
    wanted = nodes(split_source(tmp_path, ["test", "valid"]))
    run([wanted.documents, wanted.clean], root)
    with pytest.raises(
        DataError, match="train/longest: expected 'documents in the train split', got 0; check `source`"
    ):
        make_fit(wanted.model, root, source="")


def test_the_record_says_what_was_seen(tmp_path, root):
    wanted = nodes(split_source(tmp_path, ["train", "test", "train"]), shard_size=2)
    run([wanted.documents, wanted.clean, wanted.model], root)
    record = wanted.model.fitted(root).record()
    assert record.n_rows == 2
    assert list(record.shards) == ["0", "1"]
    assert record.facts["seconds"] > 0


def test_a_block_takes_embeddings_and_codes_by_name():
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(range(8), pa.float16()), 2).slice(1, 2)
    codes = pa.FixedSizeListArray.from_arrays(pa.array(range(4), pa.uint8()), 2)
    block = block_of(
        {
            "documents/x": pa.table({"id": ["a", "b"]}),
            "embed/image": pa.table({"present": [True, False], "embedding": vectors}),
            "quantize/pq": pa.table({"present": [True, True], "codes": codes}),
        }
    )
    assert block.dense["image"].dtype == np.float32
    assert block.dense["image"].tolist() == [[2, 3], [4, 5]]
    assert block.codes["pq"].tolist() == [[0, 1], [2, 3]]
    assert block.present["image"].tolist() == [True, False]
    assert block.text.to_pylist() == ["", ""]
    assert block.labels.to_pylist() == [[], []]
    assert len(block) == 2
