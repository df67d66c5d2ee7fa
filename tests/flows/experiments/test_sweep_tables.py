"""What a sweep writes: trials, scores, the tables of the paper, its page."""

import shutil
from pathlib import Path

import duckdb
import numpy as np
import orjson
import polars as pl
import pyarrow.parquet as pq
import pytest

from fuseline.flows.config import load_config
from fuseline.flows.experiments.joined import read_studies
from fuseline.flows.experiments.tables import FORMER, publish_sweep
from fuseline.flows.experiments.trials import Grid
from fuseline.reports.papers.kiela_data import DATA, HIDDEN, PAIRED, SCORES, SIZES, TIMES, VARIED
from fuseline.reports.papers.kiela_joined import verdict_table
from fuseline.reports.papers.published import REFERENCE
from fuseline.reports.redact import shown, tells_all
from fuseline.stores.schemas import RESULTS, TOKENS, TRIALS
from fuseline.tasks.experiments.trial import outcome_table
from tests.flows.conftest import Cli
from tests.flows.experiments.sweeps import (
    N_ALL,
    N_CELLS,
    N_SEEDS,
    N_TIMES,
    PLAIN,
    SCORED,
    call,
    option,
    schema_of,
    table,
)


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
    assert times["published_minutes"].to_list() == [None, None]  # Table 3 is about FlickrTag-1, which this is not
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
    assert (row["published_as"], row["published"], row["published_std"]) == ("PQ (n=4, k=256)", 0.895, 0.001)
    assert row["gap"] == pytest.approx(row["p_at_1"] - 0.895)
    page = (own.parent / "out" / "sweep" / "report.html").read_text("utf-8")
    assert "Table 2 of Kiela et al. 2018 for UPMC Food-101" in page
    assert "Words nearest to visual tokens: pq" in page
    assert '<a href="tokens.html">' in page


def test_every_token_is_shown_with_images_until_their_document_is_forgotten(cli: Cli, own: Path) -> None:
    options = ("--set", "sweep.models=[pq]", "--set", "sweep.alpha=[0.5]", "--set", "sweep.lr=[0.5]")
    call(cli, own, *options)
    file, words = own.parent / "out" / "sweep" / "tokens.html", table(own, "tokens")
    page = file.read_text("utf-8")
    assert page.count("<article") == len(words)
    assert all(token in page for token in words["token"])
    assert page.count("data:image/webp") >= len(words)
    assert tells_all(page)
    assert set(words["thumbnails"].list.len()) == {0}  # a table is not told what it shows: it keeps no picture
    written = file.stat().st_mtime_ns
    assert call(cli, own, *options)["ran"] == 0
    assert file.stat().st_mtime_ns == written
    gone = shown(page)[0]
    assert cli("forget", own, "--ids", gone).exit_code == 0
    assert gone not in shown(file.read_text("utf-8"))


def test_threads_and_min_count_are_varied_and_decide_the_claim(cli: Cli, own: Path) -> None:
    more = ("--set", "sweep.varied={threads: [2], min_count: [2]}")
    found = call(cli, own, *more)
    assert (found["ran"], found["complete"]) == (2 * 2 * 2, True)
    assert call(cli, own, *more)["ran"] == 0
    varied, scores = table(own, "varied"), table(own, "scores")
    assert pq.read_schema(own.parent / "out" / "sweep" / "varied.parquet").equals(VARIED)
    assert varied.select("model", "option", "value", "seeds").rows() == [
        ("gated", "threads", "2", 2), ("gated", "min_count", "2", 2),
        ("text", "threads", "2", 2), ("text", "min_count", "2", 2),
    ]  # fmt: skip
    assert varied["p_at_1"].null_count() == 0
    assert (
        varied.filter(pl.col("model") == "text")["chosen"][0] == scores.filter(pl.col("model") == "text")["p_at_1"][0]
    )
    trials = table(own, "trials").filter(pl.col("phase") == "varied")
    assert sorted(option(trials, "threads"), key=str) == [2, 2, 2, 2, None, None, None, None]
    page = (own.parent / "out" / "sweep" / "report.html").read_text("utf-8")
    assert "Threads and minimum count" in page
    (study,) = read_studies([str(own.parent / "out")])
    (row,) = (row for row in verdict_table([study]).to_pylist() if row["claim"] == 6 and row["source"] != "published")
    assert row["verdict"] != "not measured"
