"""What a node reads: a fitted thing whose bytes are damaged is used by nobody."""

from dataclasses import replace
from pathlib import Path

import pytest
from drive import Source, documents, make_shard, nodes, run
from faults import flip
from visual import Visual, pictures, visual

from fuseline.models.quantizers import PQ
from fuseline.stores.errors import DamagedError
from fuseline.stores.root import Root
from fuseline.tasks.documents.ingest import SourceConfig, SplitConfig
from fuseline.tasks.documents.ingest import stage as ingest_stage
from fuseline.tasks.engine.fit import make_fit
from fuseline.tasks.engine.inputs import split_rows
from fuseline.tasks.engine.nodes import Fit
from fuseline.tasks.engine.pool import Pool
from fuseline.tasks.engine.rows import Fold
from fuseline.tasks.engine.shard import make_summary

DAMAGED = "its bytes differ from its digest; run `fuseline repair`"


@pytest.fixture
def made(tmp_path: Path, root: Root) -> Visual:
    """Return nodes that have run, with a codebook and a model."""
    wanted = visual(Source(tmp_path / "x.jsonl").write(pictures(40)))
    run(wanted, root)
    return wanted


def digest_of(node: Fit, root: Root) -> str | None:
    record = node.fitted(root).record()
    return None if record is None else record.digest


def damage(node: Fit, root: Root, name: str = "arrays.safetensors") -> None:
    fitted = node.fitted(root)
    record = fitted.record()
    assert record is not None
    flip(fitted.folder.local(record.name) / name)


def test_rows_of_a_split_are_counted_by_shard(tmp_path: Path, root: Root) -> None:
    rows = [{**row, "split": split} for row, split in zip(documents(5), ("train",) * 3 + ("test",) * 2, strict=True)]
    config = SourceConfig(path=str(Source(tmp_path / "x.jsonl").write(rows)))
    node = ingest_stage("x", config, shard_size=3, split=SplitConfig(valid=0, test=0, folds=2))
    run([node], root)
    counted = [split_rows(node, root, split) for split in ("train", "valid", "test")]
    assert counted == [{0: 3, 1: 0}, {0: 0, 1: 0}, {0: 0, 1: 2}]
    trained, held_out = ([split_rows(node, root, s, Fold(k, 2)) for k in (0, 1)] for s in ("train", "test"))
    assert [one[0] + other[0] for one, other in (trained, held_out)] == [3, 3]
    assert trained[0][0] + held_out[0][0] == 3
    assert [one[1] for one in (*trained, *held_out)] == [0] * 4  # what the source calls test takes no part


def test_codes_are_made_with_a_whole_codebook_or_not_at_all(made: Visual, root: Root) -> None:
    damage(made.codebook, root)
    before = made.codes.dataset(root).records()
    assert DAMAGED in make_shard(replace(made.codes, version=2), root, 0).error
    assert DAMAGED in make_shard(made.token_counts, root, 0).error
    with pytest.raises(DamagedError, match=DAMAGED):
        make_summary(made.drift, root, source="")
    with pytest.raises(DamagedError, match=DAMAGED):
        make_fit(made.model, root, source="")
    assert made.codes.dataset(root).records() == before


def test_predictions_are_made_with_a_whole_model_or_not_at_all(made: Visual, root: Root) -> None:
    damage(made.model, root)
    assert DAMAGED in make_shard(replace(made.predictions, version=2), root, 0).error


def test_a_worker_says_that_a_model_is_damaged(tmp_path: Path, root: Root) -> None:
    wanted = nodes(Source(tmp_path / "x.jsonl").write(documents(20)))
    run(wanted, root)
    damage(wanted.model, root, "model.json")
    pool = Pool(1)
    try:
        (report,) = pool.make_shards([replace(wanted.predictions, version=2)], root, 0, source="")
    finally:
        pool.close(kill=True)
    assert DAMAGED in report.error


def test_what_was_repaired_is_used_again(made: Visual, root: Root) -> None:
    before = digest_of(made.codebook, root)
    damage(made.codebook, root)
    made.codebook.fitted(root).drop()
    run(made, root)
    assert digest_of(made.codebook, root) == before
    assert made.codebook.fitted(root).damaged() == []
    assert make_shard(replace(made.codes, version=2), root, 0).error == ""


def test_a_checkpoint_that_makes_no_sense_is_one_line(made: Visual, root: Root) -> None:
    """Its digests fit: it was written so."""
    fitted = made.codebook.fitted(root)
    record = fitted.record()
    assert record is not None
    whole = PQ.load(fitted.folder.local(record.name))
    whole.permutations = whole.permutations.copy()
    whole.permutations[0, 0] = 99
    fitted.commit(whole.save, n_rows=24, shards=record.shards, fitted={}, facts={})
    error = make_shard(replace(made.codes, version=2), root, 0).error
    assert "permutations of a checkpoint: expected orders of 0..3" in error
    assert error.endswith("run `fuseline run --refit`")
    assert "\n" not in error
