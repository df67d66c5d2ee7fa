"""A fit that is cut short goes on where it stood, for what it saw then alone; gc and forget know what it kept."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
from drive import Nodes, Source, documents, nodes, run, vector

from fuseline.models.columns import Dense
from fuseline.stores.fitted import SCRATCH, scratch_folders
from fuseline.stores.forgotten import Forgotten
from fuseline.stores.places import open_root
from fuseline.stores.root import Root
from fuseline.tasks.documents.erase import datasets_of, erase_rows, find_rows
from fuseline.tasks.engine.fit import make_fit, stale_scratch
from fuseline.tasks.engine.nodes import Feature, Fit, Read
from fuseline.tasks.engine.planner import snapshot_of
from fuseline.tasks.stages.train import ModelConfig, fit_classifier, train_config

OPTIONS = {"image": "length", "text_embedding": "length", "dim": 3, "epochs": 12, "batch": 8, "dropout": 0.2,
           "save_seconds": 0.0}  # fmt: skip


def lengths(tables, config, context):
    table = vector(tables, config, context)
    return table.append_column("present", pa.array([True] * len(table)))


def gated(wanted: Nodes) -> Fit:
    """Return a gated unit over the lengths of the texts."""
    vectors = replace(wanted.vector, transform=lengths, feature=Feature(Dense, "embedding", "image"))
    config = train_config(ModelConfig(kind="gmu", options=OPTIONS, seed=3))
    reads = (Read(wanted.documents, ("split", "labels")), Read(vectors, ("present", "embedding")))
    return Fit(role="models", short="gmu", flow="train", version=1, config=config, fit=fit_classifier, reads=reads)


def prepared(folder: Path) -> tuple[Nodes, Fit, Path]:
    """Return nodes whose features are made under a root of their own."""
    folder.mkdir(exist_ok=True)
    rows = [{**row, "labels": [f"l{i % 2}"]} for i, row in enumerate(documents(40))]
    wanted, root = nodes(Source(folder / "x.jsonl").write(rows)), open_root(folder / "root")
    fit = gated(wanted)
    run([wanted.documents, wanted.clean, fit.reads[1].node], root)
    return wanted, fit, root


def checkpoint(fit: Fit, root: Root) -> dict[str, bytes]:
    folder = fit.fitted(root).folder.local() / fit.fitted(root).record().name
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def fit_in_vain(fit: Fit, root: Root) -> None:
    """Fit, and fail after the state was written."""

    def fails(train, valid, config, context):
        fit_classifier(train, valid, config, context)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_fit(replace(fit, fit=fails), root, source="")


def test_a_killed_process_and_the_next_one_make_what_one_alone_makes(tmp_path):
    _, alone, root = prepared(tmp_path / "alone")
    make_fit(alone, root, source="")
    _, fit, other = prepared(tmp_path / "killed")
    script = "import sys; from test_fit_resume import make, Path; make(Path(sys.argv[1]))"
    here = Path(__file__)
    paths = os.pathsep.join(map(str, (here.parents[3], here.parents[2], here.parent)))
    process = subprocess.Popen([sys.executable, "-c", script, str(tmp_path / "killed")],
                               env={**os.environ, "PYTHONPATH": paths})  # fmt: skip
    folder = fit.fitted(other).folder.local() / SCRATCH
    deadline = time.monotonic() + 60
    while not list(folder.glob("*/training.safetensors")) and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert fit.fitted(other).record() is None
    assert scratch_folders(other)
    make_fit(fit, other, source="")
    assert checkpoint(fit, other) == checkpoint(alone, root)
    assert scratch_folders(other) == []


def make(folder: Path) -> None:
    """Fit slowly enough to be killed; run in a process of its own."""
    from fuseline.models.training.loop import Loop

    step = Loop._step

    def slow(self, *args):
        step(self, *args)
        time.sleep(0.02)

    Loop._step = slow
    make_fit(gated(nodes(folder / "x.jsonl")), open_root(folder / "root"), source="")


def test_what_another_training_set_left_is_not_gone_on_from(tmp_path):
    wanted, fit, root = prepared(tmp_path)
    fit_in_vain(fit, root)
    (kept,) = scratch_folders(root)
    assert stale_scratch([fit], root) == []
    assert stale_scratch([], root) == [kept]
    rows = [{**row, "labels": [f"l{i % 2}"]} for i, row in enumerate(documents(40, d3="another text"))]
    Source(tmp_path / "x.jsonl").write(rows)
    run([wanted.documents, wanted.clean, fit.reads[1].node], root)
    assert stale_scratch([fit], root) == [kept]
    fit_in_vain(fit, root)
    (now,) = scratch_folders(root)
    assert now.folder != kept.folder
    assert root.local(f"{now.fit}/{now.folder}") == fit.fitted(root).scratch(snapshot_of(fit, root).digest)


def test_forgetting_removes_what_was_learnt_so_far(tmp_path):
    wanted, fit, root = prepared(tmp_path)
    fit_in_vain(fit, root)
    forgotten = Forgotten.load(root).with_ids(["d3"])
    datasets = datasets_of(root, list(wanted))
    erase_rows(root, list(wanted), datasets, list(find_rows(datasets, forgotten)), forgotten)
    assert scratch_folders(root) == []
    assert not (fit.fitted(root).folder.local() / SCRATCH).exists()
