"""The shipped configurations of paper K: their grids are the paper's, and each runs on its set's layout."""

import re
import shlex
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from fuseline.flows.config import Config, load_config
from fuseline.flows.experiments.trials import swept
from fuseline.flows.graph import build
from fuseline.reports.papers.published import accuracies
from fuseline.stores.places import open_root
from fuseline.tasks.documents.ingest import ingest
from fuseline.tasks.engine.nodes import Ingest
from fuseline.tasks.experiments.grid import grid_points
from tests.fixtures.layouts import LAYOUTS
from tests.flows.conftest import Cli

CONF = Path(__file__).parents[2] / "conf"
NAMES = ("food101", "mmimdb", "flickrtag1", "flickrtag")
# What a grid of 40 generated documents can bear; the network's weights are at hand.
SMALL = {
    "embed.image.encoder": "efficientnet_lite2",
    "quantize.pq.options.codewords": "4",
    "quantize.rspq.options.codewords": "4",
    "sweep.lr": "[0.1, 0.5]",
    "sweep.epochs": "[2]",
    "sweep.dim": "[4]",
    "sweep.alpha": "[0.2]",
    "sweep.seeds": "2",
    "shard_size": "16",
}
REFERENCES = {
    "sweep.grids": "{tfidf_linear: {C: [1]}, avg_tfidf: {C: [1]}, gmu: {lr: [0.01], epochs: [1], dim: [4]}}",
    "models.lightgbm.options.rounds": "2",
    "models.lightgbm.options.min_rows": "2",
}


def config(name: str) -> Config:
    return load_config(CONF / f"kiela_{name}.yaml")


@pytest.mark.parametrize("name", NAMES)
def test_a_configuration_opens_with_its_command_and_the_published_scores(name: str) -> None:
    lines = (CONF / f"kiela_{name}.yaml").read_text("utf-8").splitlines()
    words = shlex.split(lines[0].removeprefix("#"))
    assert words[:3] == ["fuseline", "sweep", f"conf/kiela_{name}.yaml"]
    load_config(CONF / f"kiela_{name}.yaml", [words[4]])
    head = " ".join(line.removeprefix("# ") for line in lines if line.startswith("#"))
    said = {value for _, value, _ in accuracies(name).values()}
    assert said <= {float(number) for number in re.findall(r"\d+\.\d", head)}
    assert "Published" in head
    assert "Not run on the release" in head
    assert config(name).sweep.published == name


@pytest.mark.parametrize("name", NAMES)
def test_the_grids_are_those_of_the_paper(name: str) -> None:
    settings = config(name)
    trials = {model: len(grid_points(model, settings.models[model], settings.sweep)) for model in swept(settings)}
    paper = {"text": 30, "image": 30, "additive": 30, "max": 30, "bilinear": 30, "gated": 60, "bilinear_gated": 60,
             "pq": 180, "rspq": 180}  # fmt: skip
    if name.startswith("flickrtag"):
        paper |= {"bilinear": 15, "bilinear_gated": 30}  # dim 100 would have 3e9 weights
    wanted = paper if name != "flickrtag" else {model: paper[model] for model in ("text", "pq", "rspq")}
    assert {model: trials[model] for model in wanted} == wanted
    assert set(trials) - set(wanted) <= {"tfidf_linear", "gmu", "avg_probs", "avg_tfidf", "lightgbm"}
    assert set(accuracies(name)) <= {settings.models[model].kind for model in trials}
    pq, rspq = (settings.quantize[book].parsed().model_dump() for book in ("pq", "rspq"))
    assert (pq["parts"], pq["codewords"]) == (rspq["parts"], rspq["codewords"]) == (4, 256)
    assert rspq["repeats"] == 4


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_configuration_runs_on_its_layout(cli: Cli, name: str, tmp_path: Path) -> None:
    layout = name if name in LAYOUTS else "flickrtag"
    LAYOUTS[layout].make(tmp_path / "set", 60)
    settings = {**SMALL, "source.path": tmp_path / "set", "root": tmp_path / "out"}
    settings |= REFERENCES if not name.startswith("flickrtag") else {}
    options = [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
    result = cli("sweep", CONF / f"kiela_{name}.yaml", *options)
    assert result.exit_code == 0, result.output
    assert "the grid is complete" in result.stderr
    scores = pl.read_parquet(tmp_path / "out" / "sweep" / "scores.parquet")
    assert scores["seeds"].to_list() == [2] * len(scores)
    known = accuracies(name)
    for row in scores.to_dicts():
        assert row["published"] == (pytest.approx(known[row["kind"]][1] / 100) if row["kind"] in known else None)
        assert 0 <= row["p_at_1"] <= 1
    data = pl.read_parquet(tmp_path / "out" / "sweep" / "data.parquet")
    assert (data["documents"] > 0).all()
    assert data["published_documents"].null_count() == 0
    page = (tmp_path / "out" / "sweep" / "report.html").read_text("utf-8")
    assert ("Table 4 of" in page) == (name == "flickrtag")


def splits(folder: Path, root: Path, **options: Any) -> dict[str, str]:
    """Return the split of every ingested document."""
    source = {"reader": "food101", "path": str(folder), "options": options}
    node = build(Config.model_validate({"root": str(root), "source": source}))[0]
    assert isinstance(node, Ingest)
    ingest(node, open_root(root), done=lambda report: None)
    dataset = node.dataset(open_root(root))
    rows = [row for record in dataset.records().values() for row in dataset.read(record, ("id", "split")).to_pylist()]
    return {row["id"]: row["split"] for row in rows}


def test_food101_gets_its_valid_split_from_train(tmp_path: Path) -> None:
    LAYOUTS["food101"].make(tmp_path / "set", 200)
    given, carved = splits(tmp_path / "set", tmp_path / "a"), splits(tmp_path / "set", tmp_path / "b", valid=0.2)
    assert set(given.values()) == {"train", "test"}
    moved = [name for name in given if given[name] != carved[name]]
    assert {(given[name], carved[name]) for name in moved} == {("train", "valid")}
    train = sum(split == "train" for split in given.values())
    assert 0.1 * train < len(moved) < 0.3 * train
    more = splits(tmp_path / "set", tmp_path / "c", valid=0.4)
    assert all(more[name] == "valid" for name in moved)
