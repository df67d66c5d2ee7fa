"""`fuseline sweep` again: what is trained, budgets, kills, damage, test labels, forgotten documents."""

import signal
import sys
from pathlib import Path

import orjson
import polars as pl
import pytest
from faults import flip

from fuseline.flows.config import load_config, parse_config
from fuseline.flows.experiments.trials import Grid, sweep_nodes
from fuseline.flows.graph import build
from fuseline.stores.errors import ConfigError
from fuseline.stores.places import open_root
from tests.flows.conftest import Cli, document, settings, write_config, write_documents
from tests.flows.experiments.sweeps import N_ALL, call, copy_of, result_of, table
from tests.flows.live import program, wait_for
from tests.flows.upkeep.test_forget import holding


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
    trials = table(own, "trials").filter(pl.col("phase") == "search")
    (row,) = (row for row in trials.to_dicts() if orjson.loads(row["options"])["lr"] == 1e30)
    assert row["status"] == "diverged"
    assert row["options"] not in set(table(own, "metrics")["options"])
    assert "lr" in row["reason"]
    assert call(cli, own, "--set", "sweep.lr=[1.0e+30]", "--set", "sweep.models=[text]")[
        "complete"
    ]  # nothing to choose
    assert len(table(own, "metrics")) == 0
    assert table(own, "scores")["seeds"].to_list() == [0]


def test_no_budget_stops_at_once_and_says_what_is_missing(cli: Cli, features: Path) -> None:
    result = cli("sweep", features)
    assert result.exit_code == 0, result.output
    assert "0 trainings run, 0 were there; 6 trials and at least 4 seeds and 2 times are missing" in " ".join(
        result.stderr.split()
    )
    assert set(table(features, "trials")["status"]) == {"missing"}
    assert len(table(features, "metrics")) == 0
    assert table(features, "scores")["options"].to_list() == [None, None]
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
    before = table(own, "trials")
    write_documents(own.parent, [*map(orjson.loads, source.read_bytes().splitlines()),
                                 *(document(own.parent, number) for number in range(50, 60))])  # fmt: skip
    result = cli("sweep", own)
    assert result.exit_code == 0, result.output
    said = " ".join(result.stderr.split())
    assert f"trials saw {before['documents'][0]} to" in said
    assert "--set refit=on_change" in said
    assert table(own, "trials").equals(before)


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
