"""What a fit sees: training rows of every shard, as blocks."""

import time
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from drive import Source, documents, nodes, run

from fuseline.models.columns import Codes, Dense
from fuseline.stores.errors import DataError
from fuseline.tasks.engine import shard_features
from fuseline.tasks.engine.cache import Cache
from fuseline.tasks.engine.fit import make_fit
from fuseline.tasks.engine.planner import snapshot_of
from fuseline.tasks.engine.shard_features import Blocks, CachedFeatures, ShardFeatures, block_of
from tests.tasks.feature_nodes import read


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


def test_seconds_leave_compilation_out(tmp_path, root):
    wanted = nodes(split_source(tmp_path, ["train", "test", "train"]), shard_size=2)
    run([wanted.documents, wanted.clean], root)
    model = replace(wanted.model, fit=compiling)
    make_fit(model, root, source="")
    facts = model.fitted(root).record().facts
    assert facts["compile_seconds"] == 0.2
    assert 0 < facts["seconds"] < 0.2


def compiling(train, valid, config, context):
    time.sleep(0.2)
    return lambda folder: (folder / "x").write_text("x"), train.n_rows, {"compile_seconds": 0.2}


def kept(wanted, root, cache, split="train"):
    return CachedFeatures(wanted.model, root, split, cache=cache, snapshot=snapshot_of(wanted.model, root))


def ids(features) -> list[str]:
    return [i for block in features.blocks() for i in block.ids.to_pylist()]


@pytest.fixture
def reads(monkeypatch):
    """Count the shards that are read."""
    found: list[int] = []
    read = shard_features.upstream_tables

    def counted(node, root, index):
        found.append(index)
        return read(node, root, index)

    monkeypatch.setattr(shard_features, "upstream_tables", counted)
    return found


def test_small_splits_are_read_once_for_all_fits(tmp_path, root, reads):
    source = split_source(tmp_path, ["train", "valid", "test", "train", "train", "valid"])
    wanted, cache = nodes(source, shard_size=2), Cache()
    run([wanted.documents, wanted.clean], root)
    for _ in range(3):
        assert ids(kept(wanted, root, cache)) == ["d0", "d3", "d4"]
        assert ids(kept(wanted, root, cache, "valid")) == ["d1", "d5"]
    assert reads == [0, 1, 2] * 2


def test_a_split_beyond_a_quarter_of_the_cache_is_streamed_every_time(tmp_path, root, reads):
    wanted = nodes(split_source(tmp_path, ["train"] * 6), shard_size=2)
    run([wanted.documents, wanted.clean], root)
    size = sum(block.nbytes for block in ShardFeatures(wanted.model, root, "train").blocks())
    reads.clear()
    small, large = Cache(4 * size - 4), Cache(4 * size)
    for cache, times in ((small, 2), (large, 1)):
        assert ids(kept(wanted, root, cache)) == ids(kept(wanted, root, cache))
        assert len(reads) == 3 * times
        reads.clear()
    assert (small.nbytes, large.nbytes) == (0, size)


def test_what_was_kept_of_other_documents_is_not_used(tmp_path, root):
    source = split_source(tmp_path, ["train", "train"])
    wanted, cache = nodes(source, shard_size=2), Cache()
    run([wanted.documents, wanted.clean], root)
    assert ids(kept(wanted, root, cache)) == ["d0", "d1"]
    with kept(wanted, root, cache).get_or_create("x", lambda: Blocks([])) as first:
        pass
    split_source(tmp_path, ["train", "test", "train"])
    run([wanted.documents, wanted.clean], root)
    assert ids(kept(wanted, root, cache)) == ["d0", "d2"]
    with kept(wanted, root, cache).get_or_create("x", lambda: Blocks([])) as second:
        assert second is not first


def test_a_block_takes_embeddings_and_codes_by_name():
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(range(8), pa.float16()), 2).slice(1, 2)
    codes = pa.FixedSizeListArray.from_arrays(pa.array(range(4), pa.uint8()), 2)
    block = block_of(
        [read(name) for name in ("documents/x", "embed/same", "quantize/same")],
        [
            pa.table({"id": ["a", "b"]}),
            pa.table({"present": [True, False], "embedding": vectors}),
            pa.table({"present": [True, True], "codes": codes}),
        ],
    )
    dense, tokens = block.column("embed/same", Dense), block.column("quantize/same", Codes)
    assert dense.values.dtype == np.float32
    assert dense.values.tolist() == [[2, 3], [4, 5]]
    assert tokens.values.tolist() == [[0, 1], [2, 3]]
    # An embedding and a codebook of one name keep masks of their own.
    assert (dense.present.tolist(), tokens.present.tolist()) == ([True, False], [True, True])
    assert block.text.to_pylist() == ["", ""]
    assert block.labels.to_pylist() == [[], []]
    assert len(block) == 2
