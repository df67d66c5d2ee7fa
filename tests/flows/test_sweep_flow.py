"""`fuseline sweep` through the command line: a grid end to end, what is run again, budgets, kills, test labels."""

import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import polars as pl
import pyarrow.parquet as pq
import pytest
from faults import flip

from fuseline.flows.config import load_config, parse_config
from fuseline.flows.experiments.trials import Grid, sweep_nodes
from fuseline.flows.graph import build
from fuseline.reports.papers.kiela_data import DATA, HIDDEN, PAIRED, SCORES, SIZES, TIMES
from fuseline.reports.papers.published import REFERENCE
from fuseline.stores.errors import ConfigError
from fuseline.stores.places import open_root
from fuseline.stores.schemas import TOKENS
from fuseline.tasks.experiments.grid import DIRECTIONS, GRID, RESULTS
from fuseline.tasks.experiments.trial import outcome_table
from tests.flows.conftest import Cli, document, settings, write_config, write_documents
from tests.flows.live import program, wait_for
from tests.flows.upkeep.test_forget import holding

SWEEP = {"models": ["gated", "text"], "lr": [0.1, 0.5], "epochs": [3], "dim": [4], "seeds": 2}
N_CELLS, N_SEEDS, N_TIMES = 2 * 2 + 2, 2 * 2, 2
N_ALL = N_CELLS + N_SEEDS + N_TIMES


def with_sweep(folder: Path, **changes: Any) -> Path:
    """Write the configuration of the small pipeline with a small sweep."""
    values: dict[str, Any] = settings(folder)
    values["models"]["gated"] = {"kind": "gated", "options": {"min_count": 1}}
    values |= {key: changes.pop(key) for key in ("refit", "run") if key in changes}
    return write_config(folder, {**values, "sweep": {**SWEEP, **changes}})


def call(cli: Cli, config: Path, *options: object) -> dict[str, Any]:
    """Sweep and return what is printed as JSON."""
    result = cli("sweep", config, "--json", *options)
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = orjson.loads(result.stdout)
    return found


def table(config: Path, name: str) -> pl.DataFrame:
    """Return one of the tables of a sweep."""
    return pl.read_parquet(config.parent / "out" / "sweep" / f"{name}.parquet")


@pytest.fixture(scope="module")
def features(cli: Cli, finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the configuration of a sweep whose features are fresh and whose grid is empty."""
    config = copy_of(finished, tmp_path_factory.mktemp("sweep") / "data", budget_minutes=0)
    assert call(cli, config)["ran"] == 0
    return config


@pytest.fixture(scope="module")
def swept(cli: Cli, features: Path) -> Path:
    """Return the configuration of a finished sweep."""
    config = copy_of(features, features.parent.parent / "swept")
    found = call(cli, config)
    assert found["complete"]
    assert (found["ran"], found["there"]) == (N_ALL, 0)
    return config


def copy_of(config: Path, folder: Path, **changes: Any) -> Path:
    """Copy data and output, and write the configuration of the copy."""
    shutil.copytree(config.parent, folder, symlinks=True)
    return with_sweep(folder, **changes)


@pytest.fixture
def own(swept: Path, tmp_path: Path) -> Iterator[Path]:
    """Return a copy of the finished sweep."""
    return copy_of(swept, tmp_path / "own")


def test_the_grid_is_a_table_of_every_trial(swept: Path) -> None:
    grid = table(swept, "grid")
    assert pq.read_schema(swept.parent / "out" / "sweep" / "grid.parquet").equals(GRID)
    assert len(grid) == N_CELLS
    assert grid["key"].n_unique() == N_CELLS
    assert set(grid["status"]) == {"ok"}
    assert grid["accuracy"].is_between(0, 1).all()
    assert (grid["seconds"] > 0).all()
    gated, text = grid.filter(pl.col("model") == "gated"), grid.filter(pl.col("model") == "text")
    assert sorted(zip(gated["lr"], gated["gate"], strict=True)) == [
        (0.1, "image"), (0.1, "text"), (0.5, "image"), (0.5, "text"),
    ]  # fmt: skip
    assert text["gate"].null_count() == text["alpha"].null_count() == 2


def test_the_best_cell_on_valid_is_trained_with_every_seed_and_scored_on_test(swept: Path) -> None:
    config = load_config(swept)
    results, grid = table(swept, "results"), table(swept, "grid")
    assert pq.read_schema(swept.parent / "out" / "sweep" / "results.parquet").equals(RESULTS)
    assert results["complete"].all()
    for name in ("gated", "text"):
        best = grid.filter(pl.col("model") == name)["accuracy"].max()
        rows = results.filter((pl.col("model") == name) & (pl.col("metric") == "accuracy"))
        options = orjson.loads(rows["options"][0])
        chosen = grid.filter((pl.col("model") == name) & (pl.col("lr") == options["lr"]))
        assert best in chosen["accuracy"].to_list()
        finals = [orjson.loads(next(folder_of(swept, trial).glob("checkpoint-*/trial.json")).read_bytes())
                  for trial in Grid(config).finals(name)]  # fmt: skip
        assert [final["seed"] for final in finals] == [0, 1]
        for split in ("valid", "test"):
            values = [final["metrics"][split]["accuracy"] for final in finals]
            (row,) = rows.filter(pl.col("split") == split).to_dicts()
            assert row["mean"] == pytest.approx(sum(values) / 2)
            assert row["std"] == pytest.approx(abs(values[0] - values[1]) / np.sqrt(2))
            assert (row["n"], row["ddof"]) == (2, 1)


def folder_of(config: Path, trial: Any) -> Path:
    """Return the folder of a trial."""
    return config.parent / "out" / trial.node.name / trial.node.key


def test_both_directions_of_a_gate_are_told(swept: Path) -> None:
    directions, grid = table(swept, "directions"), table(swept, "grid")
    assert pq.read_schema(swept.parent / "out" / "sweep" / "directions.parquet").equals(DIRECTIONS)
    assert directions["model"].to_list() == ["gated", "gated"]
    assert directions["chosen"].sum() == 1
    for row in directions.to_dicts():
        trials = grid.filter((pl.col("model") == "gated") & (pl.col("gate") == row["direction"]))
        assert row["value"] == trials["accuracy"].max()
    (chosen,) = directions.filter(pl.col("chosen"))["direction"]
    assert set(table(swept, "results").filter(pl.col("model") == "gated")["direction"]) == {chosen}
    assert directions.filter(pl.col("chosen"))["value"][0] == directions["value"].max()


def test_the_tables_of_the_paper_are_written(swept: Path) -> None:
    folder = swept.parent / "out" / "sweep"
    schemas = {"data": DATA, "scores": SCORES, "paired": PAIRED, "times": TIMES, "sizes": SIZES, "hidden": HIDDEN,
               "published": REFERENCE}  # fmt: skip
    for name, schema in schemas.items():
        assert pq.read_schema(folder / f"{name}.parquet").equals(schema)
    scores, results = table(swept, "scores"), table(swept, "results").filter(pl.col("split") == "test")
    assert scores["model"].to_list() == ["gated", "text"]
    for row in scores.to_dicts():
        for metric in ("accuracy", "p_at_1", "f1_macro"):
            (found,) = results.filter((pl.col("model") == row["model"]) & (pl.col("metric") == metric)).to_dicts()
            assert (row[metric], row[f"{metric}_std"], row["seeds"]) == (found["mean"], found["std"], found["n"])
    gated, text = scores.to_dicts()
    assert gated["extra_correct"] == round((gated["p_at_1"] - text["p_at_1"]) * gated["n"])
    assert text["extra_correct"] is None
    assert gated["published"] is None
    statistics = table(swept, "data")
    assert statistics["documents"].sum() == 50
    assert statistics["words"].sum() == 50 * 5  # of title and text


def test_every_test_document_is_told_for_the_paired_test(swept: Path) -> None:
    grid = Grid(load_config(swept))
    values = {}
    for name in grid.names:
        found = [outcome_table(trial.node, grid.root, "documents") for trial in grid.finals(name)]
        rows = grid.rows(grid.finals(name))
        for documents, row in zip(found, rows, strict=True):
            assert documents is not None
            assert sum(documents["first"].to_pylist()) / len(documents) == row["splits"]["test"]["p_at_1"]
        values[name] = [row["splits"]["test"]["accuracy"] for row in rows]
    first, second = table(swept, "paired").to_dicts()
    assert (first["model"], first["other"], second["model"], second["other"]) == ("gated", "text", "text", "gated")
    assert first["difference"] == pytest.approx(np.mean(values["gated"]) - np.mean(values["text"]))
    assert first["difference"] == pytest.approx(-second["difference"])
    assert first["low"] <= first["difference"] <= first["high"]


def test_times_and_sizes_are_those_of_the_chosen_options(swept: Path) -> None:
    times, sizes = table(swept, "times"), table(swept, "sizes")
    assert times["model"].to_list() == sizes["model"].to_list() == ["gated", "text"]
    assert (times["fastest"] <= times["seconds"]).all()
    assert (times["seconds"] <= times["slowest"]).all()
    assert times.filter(pl.col("model") == "text")["ratio"][0] == 1
    assert times["published_minutes"].to_list() == [40, 1]
    assert times["published_ratio"].to_list() == [40, 1]
    gated, text = sizes.to_dicts()
    assert (gated["image_bytes"], gated["image_bytes_float16"]) == (4 * 1280, 2 * 1280)
    assert (text["image_bytes"], text["image_bytes_float16"]) == (0, None)
    assert gated["document_bytes"] == gated["image_bytes"] + gated["text_bytes"]
    documents = [orjson.loads(line) for line in (swept.parent / "documents.jsonl").read_bytes().splitlines()]
    lengths = [len(f"{row['title']} {row['text']}") for row in documents]
    assert min(lengths) <= text["text_bytes"] <= max(lengths)


def test_hidden_modalities_are_scored(swept: Path) -> None:
    gated, text = table(swept, "hidden").to_dicts()
    assert gated["without_image"] is not None
    assert gated["without_text"] is not None
    assert text["without_image"] is None
    assert text["without_text"] == 0  # it reads nothing else, so that it says nothing


def test_the_report_of_a_sweep_is_one_page(swept: Path) -> None:
    folder = swept.parent / "out" / "sweep"
    page = (folder / "report.html").read_text("utf-8")
    for part in ("Scores", "What a point costs", "Training time", "Which side the gate is on", "Grids", "<svg"):
        assert part in page
    assert "publish nothing for this data set" in page
    assert "<script" not in page
    assert not [part for part in page.split("<svg")[0].split('"') if part.startswith("http")]
    assert (folder / "frontier.svg").read_text("utf-8").startswith("<?xml")
    assert (folder / "frontier.png").read_bytes().startswith(b"\x89PNG")


def test_visual_tokens_have_words(cli: Cli, own: Path) -> None:
    call(cli, own, "--set", "sweep.models=[pq]", "--set", "sweep.published=food101", "--set", "sweep.alpha=[0.5]")
    words = table(own, "tokens")
    assert pq.read_schema(own.parent / "out" / "sweep" / "tokens.parquet").equals(TOKENS)
    assert set(words["model"]) == {"pq"}
    assert set(words["part"]) == {0, 1, 2, 3}
    assert words["token"][0].startswith("_q-_0_")
    assert words["words"].list.len().min() >= 1
    (row,) = table(own, "scores").to_dicts()
    assert (row["published_as"], row["published"], row["published_std"]) == ("PQ", 0.895, 0.001)
    assert row["gap"] == pytest.approx(row["p_at_1"] - 0.895)
    page = (own.parent / "out" / "sweep" / "report.html").read_text("utf-8")
    assert "Table 2 of Kiela et al. 2018 for UPMC Food-101" in page
    assert "Words nearest to visual tokens: pq" in page


def test_trials_side_by_side_find_what_they_find_alone(cli: Cli, features: Path, swept: Path, tmp_path: Path) -> None:
    """BLAS was given its threads back by the first trial that ended, while others still ran."""
    alone = copy_of(features, tmp_path / "alone", run={"workers": 1})
    assert call(cli, alone)["complete"]
    grid, other = Grid(load_config(alone)), Grid(load_config(swept))
    assert load_config(swept).run.workers == 2
    for name in grid.names:
        for trial, same in zip(
            grid.trials(name) + grid.finals(name), other.trials(name) + other.finals(name), strict=True
        ):
            assert result_of(alone, trial) == result_of(swept, same)


def test_a_second_call_trains_nothing_and_says_so(cli: Cli, own: Path) -> None:
    found = call(cli, own)
    assert (found["ran"], found["there"], found["complete"]) == (0, N_ALL, True)
    config = load_config(own)
    folders = {path.parent for path in (own.parent / "out" / "sweep").glob("*/*/record.json")}
    assert {own.parent / "out" / node.name / node.key for node in sweep_nodes(config)} == folders
    result = cli("sweep", own)
    assert result.exit_code == 0
    assert "0 trainings run, 12 were there; the grid is complete" in " ".join(result.stderr.split())
    assert "text" in result.stdout
    assert "+-" in result.stdout


def test_a_damaged_training_is_made_again(cli: Cli, own: Path) -> None:
    file = sorted((own.parent / "out" / "sweep").glob("*/*/checkpoint-*/trial.json"))[0]
    before = file.read_bytes()
    flip(file)
    found = call(cli, own)
    assert (found["ran"], found["there"], found["complete"]) == (1, N_ALL - 1, True)
    assert file.read_bytes() == before


def test_tidying_keeps_every_trial(cli: Cli, own: Path) -> None:
    before = {path: path.read_bytes() for path in (own.parent / "out" / "sweep").rglob("*.json")}
    assert cli("gc", own).exit_code == 0
    assert {path: path.read_bytes() for path in (own.parent / "out" / "sweep").rglob("*.json")} == before


def test_one_more_learning_rate_trains_only_the_new_trials(cli: Cli, own: Path) -> None:
    before = {path: path.read_bytes() for path in (own.parent / "out" / "sweep").glob("*/*/record.json")}
    # So small a step learns nothing: the best trials and their seeds stay.
    found = call(cli, own, "--set", "sweep.lr=[0.1,0.5,1.0e-9]")
    assert (found["ran"], found["there"]) == (3, N_ALL)
    assert {path: path.read_bytes() for path in before} == before


def test_a_learning_rate_that_diverges_is_a_row(cli: Cli, own: Path) -> None:
    found = call(cli, own, "--set", "sweep.lr=[0.1,0.5,1.0e+30]", "--set", "sweep.models=[text]")
    assert found["complete"]
    (row,) = table(own, "grid").filter(pl.col("lr") == 1e30).to_dicts()
    assert row["status"] == "diverged"
    assert row["accuracy"] is None
    assert "lr" in row["reason"]
    assert call(cli, own, "--set", "sweep.lr=[1.0e+30]", "--set", "sweep.models=[text]")[
        "complete"
    ]  # nothing to choose
    assert table(own, "results")["n"].to_list() == [0]


def test_no_budget_stops_at_once_and_says_what_is_missing(cli: Cli, features: Path) -> None:
    result = cli("sweep", features)
    assert result.exit_code == 0, result.output
    assert "0 trainings run, 0 were there; 6 trials and at least 4 seeds and 2 times are missing" in " ".join(
        result.stderr.split()
    )
    assert set(table(features, "grid")["status"]) == {"missing"}
    results = table(features, "results")
    assert results["complete"].to_list() == [False, False]
    assert results["mean"].null_count() == 2
    assert not list((features.parent / "out" / "sweep").glob("*/*/record.json"))


@pytest.mark.slow
def test_a_killed_sweep_goes_on(cli: Cli, features: Path, tmp_path: Path) -> None:
    if sys.platform != "linux":
        pytest.skip("processes are watched through /proc")
    lr = [0.01 * n for n in range(1, 16)]
    config = copy_of(features, tmp_path / "own", models=["text"], lr=lr, epochs=[300], run={"workers": 1})
    log, records = tmp_path / "log", config.parent / "out" / "sweep"
    with program("fuseline.flows.cli", "sweep", config, log=log) as sweep:
        wait_for(lambda: sweep.poll() is not None or len(list(records.glob("*/*/record.json"))) >= 2, "two trials")
        assert sweep.poll() is None, log.read_text()
        sweep.send_signal(signal.SIGKILL)
        sweep.wait(60)
    kept = {path: path.read_bytes() for path in records.glob("*/*/record.json")}
    assert 2 <= len(kept) < 15
    found = call(cli, config)
    assert found["complete"]
    assert (found["ran"], found["there"]) == (18 - len(kept), len(kept))
    assert {path: path.read_bytes() for path in kept} == kept


def test_labels_of_test_decide_nothing_in_the_grid(cli: Cli, own: Path) -> None:
    config = load_config(own)
    trials = [trial for name in ("gated", "text") for trial in Grid(config).trials(name)]
    before = {trial.node.key: result_of(own, trial) for trial in trials}
    source = own.parent / "documents.jsonl"
    dataset = build(config)[0].dataset(open_root(config.root))
    documents = [dataset.read(record, ("id", "split")).to_pylist() for record in dataset.records().values()]
    test = {row["id"] for rows in documents for row in rows if row["split"] == "test"}
    assert test
    rows = [orjson.loads(line) for line in source.read_bytes().splitlines()]
    changed = [{**row, "label": "circle"} if row["id"] in test else row for row in rows]
    source.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in changed))
    found = call(cli, own, "--set", "refit=on_change")  # everything that read the changed shards is trained again
    assert found["ran"] == N_ALL
    assert {trial.node.key: result_of(own, trial) for trial in trials} == before


def test_trials_that_saw_fewer_documents_than_there_are_stay_and_are_told(cli: Cli, own: Path) -> None:
    source = own.parent / "documents.jsonl"
    before = table(own, "grid")
    write_documents(own.parent, [*map(orjson.loads, source.read_bytes().splitlines()),
                                 *(document(own.parent, number) for number in range(50, 60))])  # fmt: skip
    result = cli("sweep", own)
    assert result.exit_code == 0, result.output
    said = " ".join(result.stderr.split())
    assert f"trials saw {before['documents'][0]} to" in said
    assert "--set refit=on_change" in said
    assert table(own, "grid").equals(before)


def result_of(config: Path, trial: Any) -> bytes:
    """Return the bytes of what a trial found."""
    record = orjson.loads((folder_of(config, trial) / "record.json").read_bytes())
    return (folder_of(config, trial) / record["name"] / "trial.json").read_bytes()


def test_a_sweep_without_models_or_with_an_unknown_one_is_refused(cli: Cli, tmp_path: Path) -> None:
    values = settings(tmp_path)
    with pytest.raises(ConfigError, match=r"sweep.models.*did you mean 'text'"):
        parse_config({**values, "sweep": {"models": ["txet"]}})
    path = write_config(tmp_path, {**values, "models": {}})
    result = cli("sweep", path)
    assert result.exit_code == 2
    assert "at least one model" in result.stderr
    path = write_config(tmp_path, {**values, "sweep": {"lr": [-1]}})
    result = cli("sweep", path)
    assert result.exit_code == 2
    assert "lr" in result.stderr
    assert "-1" in result.stderr


def test_help_has_an_example(cli: Cli) -> None:
    assert "fuseline sweep conf/demo.yaml" in cli("sweep", "--help").stdout


def test_forgotten_documents_are_in_no_trial_and_in_no_page_of_a_sweep(cli: Cli, own: Path) -> None:
    """Trials kept the ids of test documents: after `forget` they were still there, and `verify` said so for ever."""
    root = own.parent / "out"
    (node,) = (node for node in build(load_config(own)) if node.flow == "ingest" and node.name.startswith("documents/"))
    dataset = node.dataset(open_root(root))
    rows = [row for record in dataset.records().values() for row in dataset.read(record, ("id", "split")).to_pylist()]
    gone = next(row["id"] for row in rows if row["split"] == "test")
    assert "sweep" not in set(holding(open_root(root), gone))
    assert list(root.glob("sweep/*/*/checkpoint-*/documents.parquet"))
    page = root / "sweep" / "report.html"  # as one would look that shows documents
    page.write_text(page.read_text("utf-8") + f"<article data-shows='[\"{gone}\"]'>{gone}</article>", "utf-8")
    assert cli("forget", own, "--ids", gone).exit_code == 0
    assert list(holding(open_root(root), gone)) == []
    assert "on test" in page.read_text("utf-8")
    verified = cli("verify", own)
    assert verified.exit_code == 0, verified.output
