"""The pipeline through the command line: outputs, freshness, healing."""

import shutil
from pathlib import Path

import duckdb
import orjson
import polars as pl
import pyarrow.parquet as pq
import pytest
import yaml

from fuseline.stores.schemas import PREDICTIONS, RESULTS
from tests.flows.conftest import Cli, document, make_data, settings, write_config, write_documents


@pytest.fixture
def copied(cli: Cli, finished: Path, tmp_path: Path) -> Path:
    """Return the configuration of a finished pipeline of one's own, moved to another folder."""
    shutil.copytree(finished.parent, tmp_path / "data", symlinks=True)
    config = write_config(tmp_path / "data", settings(tmp_path / "data"))
    assert busy(plan_of(cli, config)) == {"report"}  # the catalog names files by their place, nothing else does
    assert cli("report", config).exit_code == 0
    return config


def plan_of(cli: Cli, config: Path, *options: object) -> dict[str, dict[str, object]]:
    """Return the planned rows by stage."""
    result = cli("plan", config, "--json", *options)
    assert result.exit_code == 0, result.output
    return {row["stage"]: row for row in orjson.loads(result.stdout)}


def busy(plan: dict[str, dict[str, object]]) -> set[str]:
    """Return the stages that have something to do."""
    return {stage for stage, row in plan.items() if row["stale"] or row["missing"]}


def last_summaries(root: Path) -> dict[str, dict[str, int]]:
    """Return what each stage of the last run did."""
    run = max((root / "runs").glob("*.json"))
    return {row["stage"]: row for row in orjson.loads(run.read_bytes())["stages"]}


def test_predictions_are_complete_and_in_the_published_schema(finished: Path) -> None:
    root = finished.parent / "out"
    predictions = pq.read_table(root / "latest" / "predictions.parquet")
    assert predictions.schema.equals(PREDICTIONS)
    assert predictions.num_rows == 3 * 50
    row = pl.from_arrow(predictions).filter(pl.col("model") == "additive").row(0, named=True)
    assert row["label"] == row["top_k"][0]["label"]
    assert sum(item["score"] for item in row["top_k"]) == pytest.approx(1, abs=1e-4)
    assert sum(item["share"] for item in row["importance"]) == pytest.approx(1, abs=1e-4)
    assert any(key.startswith("documents/shapes=") for key in row["dataset_keys"])


def test_metrics_are_a_table_with_the_run(finished: Path) -> None:
    root = finished.parent / "out"
    metrics = pq.read_table(root / "latest" / "metrics.parquet")
    assert metrics.schema.equals(RESULTS)
    (history,) = (root / "metrics").glob("*.parquet")
    assert set(metrics["run"].to_pylist()) == {history.stem}
    accuracy = pl.from_arrow(metrics).filter((pl.col("metric") == "accuracy") & (pl.col("model") == "additive"))
    assert accuracy["value"].min() > 0.5  # three classes that both modalities tell apart


def test_the_catalog_answers_from_any_working_directory(
    finished: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    catalog = (finished.parent / "out" / "catalog.duckdb").absolute()
    monkeypatch.chdir(tmp_path)
    with duckdb.connect(str(catalog), read_only=True) as connection:
        joined = connection.execute("SELECT count(*) FROM predictions p JOIN documents d USING (id)").fetchall()
        views = {name for (name,) in connection.execute("SHOW TABLES").fetchall()}
    assert joined == [(150,)]
    assert {"documents", "features", "detections", "predictions", "metrics"} <= views


def test_the_report_is_one_file_that_asks_for_nothing(finished: Path) -> None:
    page = (finished.parent / "out" / "latest" / "report.html").read_text()
    assert "additive" in page
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert "https://" not in page


def test_a_second_run_makes_nothing(cli: Cli, copied: Path) -> None:
    assert busy(plan_of(cli, copied)) == set()
    before = {path: path.stat().st_mtime_ns for path in (copied.parent / "out").rglob("*.parquet")}
    result = cli("run", copied)
    assert result.exit_code == 0
    assert "nothing to do" in result.output
    assert {path: path.stat().st_mtime_ns for path in (copied.parent / "out").rglob("*.parquet")} == before


def test_a_changed_stage_runs_with_what_is_downstream_and_changing_back_finds_the_old(cli: Cli, copied: Path) -> None:
    changed = plan_of(cli, copied, "--set", "clean.cleaner=selectolax")
    assert "'html2text' -> 'selectolax'" in str(changed["clean/text"]["why"])
    assert {stage.split("/")[0] for stage in busy(changed)} == {"clean", "train", "predict", "evaluate", "report"}
    assert not {"ingest/shapes", "embed/image", "quantize/pq"} & busy(changed)
    assert cli("run", copied, "--set", "clean.cleaner=selectolax").exit_code == 0
    assert last_summaries(copied.parent / "out")["embed/image"]["computed_shards"] == 0
    assert busy(plan_of(cli, copied)) == {"report"}  # published results are of the other cleaner


def test_one_edited_document_costs_one_row_per_row_wise_stage(cli: Cli, copied: Path) -> None:
    path = copied.parent / "documents.jsonl"
    rows = [orjson.loads(line) for line in path.read_bytes().splitlines()]
    rows[7]["text"] = "a different caption"
    path.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
    assert plan_of(cli, copied)["ingest/shapes"]["stale"] == 1
    assert cli("run", copied).exit_code == 0
    done = last_summaries(copied.parent / "out")
    assert done["ingest/shapes"]["rows_computed"] == 1
    assert done["clean/text"]["rows_computed"] == 1
    assert done["predict/additive"]["rows_computed"] == 1
    assert done["embed/image"]["rows_computed"] == 0
    assert done["train/additive"]["computed_shards"] == 0  # models stay as fitted until they are refitted


def test_new_documents_touch_new_shards_only(cli: Cli, copied: Path) -> None:
    folder = copied.parent
    write_documents(folder, [document(folder, number) for number in range(63)])
    plan = plan_of(cli, copied)
    assert plan["embed/image"] == {"stage": "embed/image", "fresh": 3, "stale": 0, "missing": 1, "why": "new shard"}
    assert cli("run", copied).exit_code == 0
    done = last_summaries(folder / "out")
    assert done["ingest/shapes"]["rows_computed"] == 13
    assert done["embed/image"]["rows_computed"] == 13
    assert done["embed/image"]["fresh"] == 3
    again = plan_of(cli, copied)
    assert "fitted on" in str(again["train/additive"]["why"])
    assert busy(again) == set()
    refit = plan_of(cli, copied, "--refit")
    assert {"train/additive", "predict/additive", "quantize/pq"} <= busy(refit)


def test_damage_is_found_and_healed_alone(cli: Cli, copied: Path) -> None:
    root = copied.parent / "out"
    (first, *_) = sorted((root / "clean").rglob("*.parquet"))
    data = bytearray(first.read_bytes())
    data[len(data) // 2] ^= 0xFF
    first.write_bytes(data)
    chunk = next(path for path in sorted((root / "embed").rglob("embedding/c/**/*")) if path.is_file())
    chunk.unlink()
    found = cli("verify", copied, "--json")
    assert found.exit_code == 1
    damaged = {row["stage"]: len(row["damaged"]) for row in orjson.loads(found.stdout) if row["damaged"]}
    assert damaged == {"clean/text": 1, "embed/image": 1}
    assert cli("repair", copied).exit_code == 0
    done = last_summaries(root)
    assert done["clean/text"]["computed_shards"] == 1
    assert done["embed/image"]["computed_shards"] == 1
    assert done["predict/additive"]["computed_shards"] == 0
    assert cli("verify", copied).exit_code == 0


def test_gc_keeps_what_is_needed(cli: Cli, copied: Path) -> None:
    root = copied.parent / "out"
    assert cli("run", copied, "--set", "clean.cleaner=selectolax").exit_code == 0
    assert len(list((root / "clean" / "text").iterdir())) == 2
    assert "would free" in cli("gc", copied, "--dry-run").output
    listed = {path for name in ("images", "quarantine") for path in root.glob(f"documents/*/*/{name}.parquet")}
    assert len(listed) == 2
    assert len(list((root / "clean" / "text").iterdir())) == 2
    assert cli("gc", copied).exit_code == 0
    assert len(list((root / "clean" / "text").iterdir())) == 1
    assert all(path.exists() for path in listed)
    assert busy(plan_of(cli, copied)) == {"report"}
    assert cli("verify", copied).exit_code == 0


def test_status_and_show_speak_of_the_run(cli: Cli, finished: Path) -> None:
    status = orjson.loads(cli("status", finished, "--json").stdout)
    assert status["held_by"] is None
    assert {row["stage"]: row["documents"] for row in status["stages"]}["embed/image"] == 50
    shown = cli("config", "show", finished).stdout
    assert yaml.safe_load(shown)["name"] == "shapes"


@pytest.mark.parametrize("what", ["readers", "stages", "encoders", "detectors", "quantizers", "models", "metrics"])
def test_every_registry_is_listed(cli: Cli, what: str) -> None:
    result = cli("list", what, "--json")
    assert result.exit_code == 0
    rows = orjson.loads(result.stdout)
    assert all(set(row) == {"name", "summary", "weights"} for row in rows)
    assert all(row["name"] in cli("list", what).output for row in rows)


def test_every_command_has_help_with_an_example(cli: Cli) -> None:
    for name in {"run", "plan", "status", "predict", "report", "verify", "repair", "gc", "list"}:
        assert "Example: fuseline" in cli(name, "--help").output, name


def test_weights_are_listed_and_checked(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.delenv("FUSELINE_WEIGHTS", raising=False)
    listed = {row["name"]: row for row in orjson.loads(cli("weights", "list", "--json").stdout)}
    assert listed["efficientnet_lite2"]["state"] == "ok"
    assert listed["resnet152"]["state"] == "missing"
    assert "resnet152" in cli("weights", "list").stdout
    assert cli("weights", "check").exit_code == 0  # nothing is damaged, and nobody needs the rest
    few = settings(tmp_path)
    assert cli("weights", "check", write_config(tmp_path, few)).exit_code == 0
    few["embed"] = {"image": {"encoder": "resnet152"}, "columns": {"encoder": "tabular"}}
    config = write_config(tmp_path, few)
    result = cli("weights", "check", config)
    assert result.exit_code == 1
    assert "missing: embed.image (resnet152): resnet152: expected the path of a weight file" in result.output
    damaged = tmp_path / "resnet152-394f9c45.pth"
    damaged.write_bytes(b"cut")
    weights = f"embed.image.options.weights={damaged}"
    (row,) = orjson.loads(cli("weights", "check", config, "--json", "--set", weights).stdout)
    assert (row["name"], row["kind"], row["state"]) == ("embed.image (resnet152)", "image", "wrong")
    assert cli("weights", "check", "--set", weights).exit_code == 2
    cnn = {"kind": "image_cnn", "options": {"architecture": "vgg16", "pretrained": True}}
    few |= {"embed": {}, "quantize": {}, "models": {"cnn": cnn}, "stages": {"pixels": {"stage": "pixels"}}}
    result = cli("weights", "check", write_config(tmp_path, few))
    assert "missing: models.cnn (vgg16): vgg16: expected the path of a weight file" in result.output
    for command in ("list", "check"):
        assert "Example: fuseline weights" in cli("weights", command, "--help").output


def test_text_of_documents_is_escaped_in_the_report(cli: Cli, tmp_path: Path) -> None:
    config = make_data(tmp_path / "data", 30)
    folder = config.parent
    rows = [document(folder, number) for number in range(30)]
    for row in rows:
        row["text"] = f"<script>alert(1)</script> {row['text']}"
        row["label"] = f"<b>{row['label']}</b>"
    write_documents(folder, rows)
    assert cli("run", config).exit_code == 0
    page = (folder / "out" / "latest" / "report.html").read_text()
    assert "<script>" not in page
    assert "&lt;b&gt;circle" in page
