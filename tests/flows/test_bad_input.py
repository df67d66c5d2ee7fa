"""Bad input never ends a run with a traceback, and never vanishes."""

import errno
import os
import re
from pathlib import Path

import orjson
import polars as pl
import pytest
from PIL import Image

from fuseline.flows.config import load_config
from fuseline.flows.graph import build
from fuseline.flows.results.outcome import TooManyFailuresError
from fuseline.flows.results.tables import presence_table
from fuseline.stores.places import open_root
from tests.flows.conftest import Cli, document, make_data, settings, write_config, write_documents


def outcome(cli: Cli, config: Path, *options: object) -> tuple[int, str]:
    """Run and return exit code and output; a traceback of ours fails the test."""
    result = cli("run", config, *options)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exc_info
    assert "Traceback" not in result.output, result.output
    return result.exit_code, result.output


def test_every_kind_of_bad_image_and_row_is_marked(cli: Cli, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    config = make_data(folder, 36)
    images = folder / "images"
    good = Image.open(images / "0000.png").convert("RGB")
    (images / "0001.png").write_bytes(b"")
    (images / "0002.png").write_bytes(b"<html>not found</html>")
    good.save(images / "cut.jpg")
    (images / "0004.png").write_bytes((images / "cut.jpg").read_bytes()[:200])
    (images / "0005.png").unlink()
    good.convert("CMYK").save(images / "0006.jpg")
    good.convert("P").save(images / "0007.png")
    good.convert("RGBA").save(images / "0008.png")
    good.convert("I;16").save(images / "0009.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    good.save(images / "0010.jpg", exif=exif)
    rows = [document(folder, n) for n in range(36) if n in (0, 3) or n > 10]
    for n in (1, 2, 4, 5, 7, 8, 9):
        rows.append({"id": f"bad/{n}", "text": "round", "label": "circle", "image": f"images/{n:04d}.png"})
    for n in (6, 10):
        rows.append({"id": f"odd {n}", "text": "round", "label": "circle", "image": f"images/{n:04d}.jpg"})
    rows.append({"id": "empty", "text": "", "label": "circle"})
    rows.append({"id": "no-label", "text": "round ball"})
    rows.append({"id": "new-label", "text": "round", "label": "hexagon", "split": "test"})
    rows.append(dict(rows[0]))
    path = write_documents(folder, rows)
    path.write_bytes(path.read_bytes() + b"{not json}\n[1, 2]\n")
    code, output = outcome(cli, config, "--set", "run.allowed_failures=0.5")
    assert code == 0, output
    root = folder / "out"
    quarantine = pl.read_parquet(root / "latest" / "quarantine.parquet")
    reasons = {(row["stage"].split("/")[0], row["id"]): row["reason"] for row in quarantine.iter_rows(named=True)}
    assert reasons["embed", "bad/1"] == reasons["embed", "bad/2"] == reasons["embed", "bad/4"] == "bad_image"
    assert reasons["embed", "bad/5"] == "no_image"
    assert not {f"bad/{n}" for n in (7, 8, 9)} & {i for _, i in reasons}
    assert reasons["ingest", rows[0]["id"]] == "duplicate_id"
    assert {"bad_json", "bad_row"} <= set(quarantine.filter(pl.col("id").is_null())["reason"])
    (found,) = [
        row
        for row in presence_table(build(load_config(config)), open_root(root)).to_pylist()
        if row["stage"] == "embed/image"
    ]
    assert found["failed"] == quarantine.filter(pl.col("stage") == "embed/image").height == 4
    assert found["missing"] == 3  # documents without an image
    predictions = pl.read_parquet(root / "latest" / "predictions.parquet").filter(pl.col("model") == "additive")
    assert predictions.height == len(rows) - 1
    assert predictions.filter(pl.col("id") == "empty")["status"].to_list() == ["no_input"]
    metrics = pl.read_parquet(root / "latest" / "metrics.parquet")
    unknown = metrics.filter((pl.col("metric") == "unknown_label") & (pl.col("split") == "test"))
    assert set(unknown["value"]) == {1.0}
    code, output = outcome(cli, config, "--set", "run.allowed_failures=0.01")
    assert code == 1
    assert "failed rows of ingest/shapes: expected at most 1.0% (run.allowed_failures), got 3 of 42" in output
    document(folder, 5)  # the missing picture turns up
    code, _ = outcome(cli, config, "--retry-failed", "--set", "run.allowed_failures=0.5")
    run = max((root / "runs").glob("*.json"))
    stages = {row["stage"]: row for row in orjson.loads(run.read_bytes())["stages"]}
    assert stages["embed/image"]["rows_computed"] == 4
    quarantine = pl.read_parquet(root / "latest" / "quarantine.parquet")
    assert "no_image" not in quarantine["reason"].to_list()


def test_a_flow_says_that_too_many_rows_failed(cli: Cli, tmp_path: Path) -> None:
    """A deployment has no command line around it: a step says so at once, the pipeline when all is published."""
    folder = tmp_path / "data"
    config = make_data(folder, 30)
    rows = [document(folder, n) | ({"split": "heldout"} if n % 3 == 0 else {}) for n in range(30)]
    write_documents(folder, rows)
    values = {**settings(folder), "embed": {}, "quantize": {}, "models": {"text": {"kind": "text"}}}
    settled = load_config(write_config(folder, values))
    from fuseline.flows.pipeline import pipeline
    from fuseline.flows.steps import ingest

    told = r"failed rows of ingest/shapes: .*10 of 30 \(33.3%: 10 bad_split\); first: bad_split, doc-0000 at .*:1"
    with pytest.raises(TooManyFailuresError, match=told):
        ingest(settled)
    with pytest.raises(TooManyFailuresError, match=told):
        pipeline(settled)
    assert (folder / "out" / "latest" / "report.html").exists()
    code, output = outcome(cli, config.parent / "pipeline.yaml")
    assert code == 1
    assert re.search(told, " ".join(output.split()))
    assert output.index("report.html") < output.index("failed rows of")


def test_a_csv_row_with_a_wrong_number_of_fields_stays(cli: Cli, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    make_data(folder, 30)
    lines = ["id,text,label,image"]
    for n in range(30):
        row = document(folder, n)
        lines.append(f"{row['id']},{row['text']},{row['label']},{row['image']}")
    lines.insert(9, "doc-bad,one,two,three,four,five")
    (folder / "documents.csv").write_text("\n".join(lines) + "\n")
    values = settings(folder)
    values["source"] = {"reader": "csv", "path": str(folder / "documents.csv")}
    code, output = outcome(cli, write_config(folder, values), "--set", "run.allowed_failures=0.5")
    assert code == 0, output
    quarantine = pl.read_parquet(folder / "out" / "latest" / "quarantine.parquet")
    assert quarantine.filter(pl.col("reason") == "bad_row").height == 1


@pytest.mark.parametrize(("rows", "word"), [(0, "at least one document"), (1, "train")])
def test_too_little_data_is_one_line(cli: Cli, tmp_path: Path, rows: int, word: str) -> None:
    folder = tmp_path / "data"
    config = make_data(folder, 3)
    single = {**document(folder, 0), "split": "test"}
    write_documents(folder, [single][:rows])
    code, output = outcome(cli, config)
    assert code == 1
    assert word in output


def test_a_single_training_document_is_enough_for_text(cli: Cli, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    make_data(folder, 1)
    write_documents(folder, [{**document(folder, 0), "split": "train"}])
    values = {
        **settings(folder),
        "quantize": {},
        "models": {"text": {"kind": "text", "options": {"preset": "fasttext", "dim": 4}}},
    }
    code, output = outcome(cli, write_config(folder, values))
    assert code == 0, output
    assert pl.read_parquet(folder / "out" / "latest" / "predictions.parquet")["label"].to_list() == ["circle"]


def test_no_labels_at_all_is_one_line(cli: Cli, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    config = make_data(folder, 30)
    write_documents(folder, [{k: v for k, v in document(folder, n).items() if k != "label"} for n in range(30)])
    code, output = outcome(cli, config)
    assert code == 1
    assert "label" in output


def test_a_page_that_hangs_the_cleaner_is_marked(cli: Cli, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    config = make_data(folder, 30)
    rows = [document(folder, n) for n in range(30)]
    rows[20] = {"id": "deep", "html": "<div>" * 100_000, "label": "circle"}
    rows[21] = {"id": "slow", "html": "<table>" + "<tr><td>x</td></tr>" * 300_000, "label": "circle"}
    write_documents(folder, rows)
    code, output = outcome(cli, config, "--set", "clean.timeout=0.5", "--set", "run.allowed_failures=0.5")
    assert code == 0, output
    quarantine = pl.read_parquet(folder / "out" / "latest" / "quarantine.parquet")
    cleaned = {row["id"]: row["reason"] for row in quarantine.iter_rows(named=True) if row["stage"].startswith("clean")}
    assert cleaned["slow"] in ("timeout", "too_large")
    assert set(cleaned.values()) <= {"timeout", "bad_html", "too_large"}


def test_a_root_that_cannot_be_written_is_one_line(cli: Cli, tmp_path: Path) -> None:
    config = make_data(tmp_path / "data", 3)
    (tmp_path / "file").write_text("in the way")
    code, output = outcome(cli, config, "--set", f"root={tmp_path / 'file' / 'out'}")
    assert code == 1
    assert "choose another `root`" in output


def test_a_full_disk_is_one_line_and_loses_nothing(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = make_data(tmp_path / "data", 30)
    real, calls = os.fsync, []

    def full(handle: int) -> None:
        calls.append(handle)
        if len(calls) > 6:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(handle)

    monkeypatch.setattr(os, "fsync", full)
    code, output = outcome(cli, config)
    assert code == 1
    assert "free some space" in output
    monkeypatch.undo()
    code, output = outcome(cli, config)
    assert code == 0, output
    assert cli("verify", config).exit_code == 0


def test_a_second_run_on_the_same_root_says_who_holds_it(cli: Cli, finished: Path) -> None:
    import subprocess
    import sys

    root = finished.parent / "out"
    holder = """import sys, time; from fuseline.stores.lock import hold
from fuseline.stores.places import open_root
with hold(open_root(sys.argv[1]), started='noon', wait=0): print('held', flush=True); time.sleep(60)"""
    with subprocess.Popen([sys.executable, "-c", holder, str(root)], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        code, output = outcome(cli, finished, "--wait", "0.1")
        status = orjson.loads(cli("status", finished, "--json").stdout)
        other.kill()
    assert code == 1
    assert f"process {other.pid}" in output
    assert f"process {other.pid}" in status["held_by"]
    assert outcome(cli, finished)[0] == 0


def test_images_that_are_all_elsewhere_end_the_run_before_any_work(cli: Cli, tmp_path: Path) -> None:
    """Ids stood where paths belong: every row was `no_image`, and after 97 s training asked for fewer codewords."""
    folder = tmp_path / "data"
    config = make_data(folder, 30)
    rows = [{**document(folder, number), "image": f"{number:04d}"} for number in range(30)]
    write_documents(folder, rows)
    told = f"0 of 30 images found; first tried: {folder}/0000, {folder}/0001, {folder}/0002"
    planned = {row["stage"]: row["why"] for row in orjson.loads(cli("plan", config, "--json").stdout)}
    assert told in planned["ingest/shapes"]
    code, output = outcome(cli, config)
    assert code == 1
    assert f"embed/image: {told}; say where they lie with source.options.images.pattern" in " ".join(output.split())
    assert not (folder / "out" / "embed" / "image").exists()
    pattern = "source.options.images.pattern=images/{title}.png"
    write_documents(folder, [{**row, "image": None, "title": f"{number:04d}"} for number, row in enumerate(rows)])
    planned = {row["stage"]: row["why"] for row in orjson.loads(cli("plan", config, "--set", pattern, "--json").stdout)}
    assert "images found" not in planned["ingest/shapes"]
