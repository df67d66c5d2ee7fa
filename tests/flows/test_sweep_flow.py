"""`fuseline sweep` through the command line: a grid end to end, what is run again, budgets, kills, test labels."""

import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import orjson
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from faults import flip

from fuseline.flows.config import load_config, parse_config
from fuseline.flows.experiments.tables import FORMER, publish_sweep
from fuseline.flows.experiments.trials import Grid, sweep_nodes
from fuseline.flows.graph import build
from fuseline.reports.papers.kiela_data import DATA, HIDDEN, PAIRED, SCORES, SIZES, TIMES
from fuseline.reports.papers.published import REFERENCE
from fuseline.stores.errors import ConfigError
from fuseline.stores.places import open_root
from fuseline.stores.schemas import RESULTS, TOKENS, TRIALS
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


def schema_of(config: Path, name: str) -> pa.Schema:
    """Return the columns of one of the tables of a sweep."""
    return pq.read_schema(config.parent / "out" / "sweep" / f"{name}.parquet")


def option(frame: pl.DataFrame, axis: str) -> list[Any]:
    """Return what the trials of a table tried on one axis; None where it is none of theirs."""
    return [orjson.loads(text).get(axis) for text in frame["options"]]


SCORED = pl.col("metric") == "accuracy"
PLAIN = pl.col("condition").is_null()


def test_every_trial_is_a_row_and_its_scores_are_rows_of_the_results_table(swept: Path) -> None:
    trials, metrics = table(swept, "trials"), table(swept, "metrics")
    assert (schema_of(swept, "trials"), schema_of(swept, "metrics")) == (TRIALS, RESULTS)
    assert len(trials) == trials["key"].n_unique() == N_ALL
    assert trials["phase"].value_counts().sort("phase").rows() == [
        ("final", N_SEEDS), ("search", N_CELLS), ("timing", N_TIMES),
    ]  # fmt: skip
    assert set(trials["status"]) == {"ok"}
    assert (trials["seconds"] > 0).all()
    search = trials.filter(pl.col("phase") == "search")
    gated = search.filter(pl.col("model") == "gated")
    assert sorted(zip(option(gated, "lr"), option(gated, "gate"), strict=True)) == [
        (0.1, "image"), (0.1, "text"), (0.5, "image"), (0.5, "text"),
    ]  # fmt: skip
    assert option(search.filter(pl.col("model") == "text"), "gate") == [None, None]
    valid = metrics.filter(SCORED & (pl.col("split") == "valid"))
    assert valid["value"].is_between(0, 1).all()
    # The chosen options are searched with the first seed and trained again with it: that is one score.
    keys = ["model", "options", "seed"]
    assert len(valid) == valid.select(keys).n_unique() == N_CELLS + N_SEEDS - 2
    assert (
        valid.select(keys)
        .sort(keys)
        .equals(trials.filter(pl.col("phase") != "timing").select(keys).unique().sort(keys))
    )
    assert metrics["fold"].null_count() == metrics["run"].null_count() == len(metrics)


def test_the_best_trial_on_valid_is_trained_with_every_seed_and_scored_on_test(swept: Path) -> None:
    grid, found = Grid(load_config(swept)), publish_sweep(Grid(load_config(swept)))
    metrics = table(swept, "metrics").filter(SCORED & PLAIN)
    for name in ("gated", "text"):
        valid = metrics.filter((pl.col("model") == name) & (pl.col("split") == "valid"))
        options = found.chosen[name]
        chosen = valid.filter(pl.col("options") == options)
        assert valid.filter(pl.col("seed") == 0)["value"].max() == chosen.filter(pl.col("seed") == 0)["value"][0]
        finals = [one for one in grid.outcomes(grid.finals(name)) if one is not None]
        assert [one.record.seed for one in finals] == [0, 1]
        for split in ("valid", "test"):
            values = [
                row["value"]
                for one in finals
                for row in one.results.to_pylist()
                if (row["split"], row["condition"], row["metric"]) == (split, None, "accuracy")
            ]
            (row,) = (
                row
                for row in found.means()
                if (row["model"], row["split"], row["condition"], row["metric"]) == (name, split, None, "accuracy")
            )
            assert row["options"] == options
            assert row["mean"] == pytest.approx(sum(values) / 2)
            assert row["std"] == pytest.approx(abs(values[0] - values[1]) / np.sqrt(2))
            assert (row["values"], row["ddof"]) == (2, 1)


def test_a_masked_modality_is_a_condition(swept: Path) -> None:
    masked = table(swept, "metrics").filter(SCORED & ~PLAIN)
    assert masked.group_by("model", "split", "condition").len().sort("model", "condition").rows() == [
        ("gated", "test", "image masked", 2), ("gated", "test", "text masked", 2), ("text", "test", "text masked", 2),
    ]  # fmt: skip


def folder_of(config: Path, trial: Any) -> Path:
    """Return the folder of a trial."""
    return config.parent / "out" / trial.node.name / trial.node.key


def test_the_best_trial_of_either_gate_is_kept(cli: Cli, swept: Path) -> None:
    sweep = publish_sweep(Grid(load_config(swept)))
    valid = table(swept, "metrics").filter(SCORED & (pl.col("split") == "valid") & (pl.col("seed") == 0))
    assert [(one.model, one.gate) for one in sweep.gates] == [("gated", "text"), ("gated", "image")]
    for one in sweep.gates:
        own = valid.filter((pl.col("model") == "gated") & pl.col("options").str.contains(f'"gate":"{one.gate}"'))
        assert one.value == own["value"].max()
    (chosen,) = (one for one in sweep.gates if one.chosen)
    assert chosen.options == sweep.chosen["gated"]
    assert chosen.value == max(one.value or 0 for one in sweep.gates)
    assert table(swept, "scores")["gate"].to_list() == [chosen.gate, None]
    assert sweep.to_json()["gates"][0]["gate"] == "text"


def test_tables_of_older_versions_go(own: Path) -> None:
    folder = own.parent / "out" / "sweep"
    for name in FORMER:
        shutil.copy(folder / "trials.parquet", folder / f"{name}.parquet")
    publish_sweep(Grid(load_config(own)))
    assert not [name for name in FORMER if (folder / f"{name}.parquet").exists()]


def test_analysts_find_the_sweep_in_the_catalog(swept: Path) -> None:
    with duckdb.connect(str(swept.parent / "out" / "catalog.duckdb"), read_only=True) as connection:
        (rows,) = connection.execute(
            "SELECT count(*), count(DISTINCT key) FROM sweep_metrics JOIN sweep_trials USING (model, options, seed) "
            "WHERE metric = 'accuracy' AND split = 'test' AND condition IS NULL AND phase = 'final'"
        ).fetchall()
    assert rows == (N_SEEDS, N_SEEDS)


def test_the_tables_of_the_paper_are_written(swept: Path) -> None:
    folder = swept.parent / "out" / "sweep"
    schemas = {"data": DATA, "scores": SCORES, "paired": PAIRED, "times": TIMES, "sizes": SIZES, "hidden": HIDDEN,
               "published": REFERENCE}  # fmt: skip
    for name, schema in schemas.items():
        assert pq.read_schema(folder / f"{name}.parquet").equals(schema)
    scores, means = table(swept, "scores"), publish_sweep(Grid(load_config(swept))).means()
    test = {(row["model"], row["metric"]): row for row in means if row["split"] == "test" and not row["condition"]}
    assert scores["model"].to_list() == ["gated", "text"]
    for row in scores.to_dicts():
        for metric in ("accuracy", "p_at_1", "f1_macro"):
            mean = test[row["model"], metric]
            assert (row[metric], row[f"{metric}_std"], row["seeds"]) == (mean["mean"], mean["std"], mean["values"])
    gated, text = scores.to_dicts()
    assert gated["extra_correct"] == round((gated["p_at_1"] - text["p_at_1"]) * gated["n"])
    assert text["extra_correct"] is None
    assert gated["published"] is None
    statistics = table(swept, "data")
    assert statistics["documents"].sum() == 50
    assert statistics["words"].sum() == 50 * 5  # of title and text


def test_every_test_document_counts_in_the_paired_test(swept: Path) -> None:
    grid = Grid(load_config(swept))
    values = {}
    for name in grid.names:
        trials = grid.finals(name)
        scores = [
            {
                row["metric"]: row["value"]
                for row in one.results.to_pylist()
                if row["split"] == "test" and not row["condition"]
            }
            for one in grid.outcomes(trials)
            if one is not None
        ]
        for trial, own in zip(trials, scores, strict=True):
            documents = outcome_table(trial.node, grid.root, "documents")
            assert documents is not None
            assert sum(documents["first"].to_pylist()) / len(documents) == own["p_at_1"]
        values[name] = [own["accuracy"] for own in scores]
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


def result_of(config: Path, trial: Any) -> bytes:
    """Return the bytes of what a trial found."""
    record = orjson.loads((folder_of(config, trial) / "record.json").read_bytes())
    checkpoint = folder_of(config, trial) / record["name"]
    return (checkpoint / "trial.json").read_bytes() + (checkpoint / "results.parquet").read_bytes()


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
