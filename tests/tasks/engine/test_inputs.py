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
from fuseline.tasks.engine.fit import make_fit
from fuseline.tasks.engine.nodes import Fit
from fuseline.tasks.engine.pool import Pool
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
