"""`fuseline forget`: documents are gone from all that lies under the root, and everything else stays as it was."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import duckdb
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zarr

from fuseline.reports.redact import shown
from fuseline.stores.places import open_root
from fuseline.stores.root import Root
from tests.flows.conftest import Cli, document, settings, write_config, write_documents
from tests.flows.test_run import busy, last_summaries, plan_of

GONE = "doc-0007"


@pytest.fixture(scope="module")
def config(cli: Cli, finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the configuration of a finished pipeline of one's own."""
    folder = tmp_path_factory.mktemp("forget") / "data"
    shutil.copytree(finished.parent, folder, symlinks=True)
    config = write_config(folder, settings(folder))
    assert cli("report", config).exit_code == 0
    return config


@pytest.fixture(scope="module")
def erased(cli: Cli, config: Path) -> Path:
    """Forget two documents, after another version of the texts was made and the first one published again."""
    assert cli("run", config, "--set", "clean.cleaner=selectolax").exit_code == 0
    assert cli("run", config).exit_code == 0
    root = open_root(config.parent / "out")
    assert set(holding(root, GONE)) >= {"documents", "clean", "embed", "quantize", "predictions", "latest"}
    ids = config.parent / "ids.txt"
    ids.write_text("doc-0031\n", encoding="utf-8")
    result = cli("forget", config, "--ids", GONE, "--ids", ids, "--json")
    assert result.exit_code == 0, result.output
    done = orjson.loads(result.stdout)
    assert done["forgotten"] == 2
    assert (done["unknown"], done["unreadable"]) == (0, [])
    stages = [name.rpartition("/")[0] for name in done["rows"]]
    assert stages.count("clean/text") == stages.count("predictions/pq") == 2
    assert done["rows"][next(name for name in done["rows"] if name.startswith("embed/image"))] == 2
    assert any(name.startswith("tokens/pq/") for name in done["tables"])  # it names its representatives
    assert "fitted on them" in result.stderr
    assert {name.rpartition("/")[0] for name in done["fitted"]} >= {"models/text", "codebooks/pq"}
    assert str(config.parent / "documents.jsonl") in result.stderr
    return config


def holding(root: Root, document: str) -> Iterator[str]:
    """Yield the folders of files that hold a document's id anywhere in them, read without any code of ours."""
    for path in root.local().rglob("*"):
        if path.suffix == ".parquet" and path.is_file():
            held = any(document in str(row) for row in pq.read_table(path, partitioning=None).to_pylist())
        elif path.suffix == ".zarr":
            held = document in zarr.open_group(str(path), mode="r")["id"][:].tolist()
        else:
            held = path.is_file() and document.encode() in path.read_bytes()
        if held:
            yield path.relative_to(root.local()).parts[0]


def test_no_file_under_the_root_holds_them(cli: Cli, erased: Path) -> None:
    root = open_root(erased.parent / "out")
    assert list(holding(root, GONE)) == list(holding(root, "doc-0031")) == []
    assert list(holding(root, "images/0007.png")) == []
    assert list(holding(open_root(Path(os.environ["PREFECT_HOME"])), GONE)) == []
    verified = cli("verify", erased)
    assert verified.exit_code == 0, verified.output
    assert "2 documents are forgotten" in verified.output


def test_nothing_is_left_to_make_and_what_is_published_counts_the_rest(cli: Cli, erased: Path) -> None:
    assert busy(plan_of(cli, erased)) == set()
    root = open_root(erased.parent / "out")
    assert pq.read_table(root.local() / "latest" / "predictions.parquet").num_rows == 3 * 48
    counted = pq.read_table(root.local() / "latest" / "statistics.parquet").to_pylist()
    total = sum(row["value"] for row in counted if row["field"] == row["measure"] == "documents")
    assert total == 48
    with duckdb.connect(str(root.local() / "catalog.duckdb"), read_only=True) as connection:
        for view, rows in (("documents", 48), ("clean", 48), ("predictions", 144), ("features", 48)):
            assert connection.execute(f"SELECT count(*) FROM {view}").fetchall() == [(rows,)]  # noqa: S608
    assert "fitted on 41 of 40" in str(plan_of(cli, erased)["train/text"]["why"]) or trained_less(cli, erased)


def trained_less(cli: Cli, config: Path) -> bool:
    """Return whether the plan says that models saw more documents than there are."""
    why = str(plan_of(cli, config)["train/text"]["why"])
    fitted, now = (int(word) for word in why.split() if word.isdigit())
    return now < fitted


def test_the_other_version_needs_its_summaries_alone(cli: Cli, erased: Path) -> None:
    plan = plan_of(cli, erased, "--set", "clean.cleaner=selectolax")
    assert {stage.split("/")[0] for stage in busy(plan)} <= {"evaluate", "report"}


def test_old_reports_show_neither(erased: Path) -> None:
    pages = [path.read_text("utf-8") for path in (erased.parent / "out" / "reports").glob("*/index.html")]
    assert len(pages) >= 3
    assert all(shown(page) and GONE not in page for page in pages)


def test_forgetting_twice_and_completing_change_nothing(cli: Cli, erased: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in (erased.parent / "out").rglob("*.parquet")}
    for arguments in (("--ids", GONE), ()):
        result = cli("forget", erased, *arguments)
        assert result.exit_code == 0, result.output
        assert "0 rows of 0 datasets went" in result.output
    after = {path: path.stat().st_mtime_ns for path in (erased.parent / "out").rglob("*.parquet")}
    # What the first erasure had counted anew left the old counts behind.
    assert after.items() <= before.items()
    summaries = {"evaluation", "gallery", "statistics", "token_counts", "drift", "tokens"}
    assert {path.parts[-4] for path in before.keys() - after.keys()} <= summaries


def test_an_unknown_id_is_refused_before_anything_is_done(cli: Cli, erased: Path) -> None:
    listed = (erased.parent / "out" / "forgotten.json").read_bytes()
    result = cli("forget", erased, "--ids", "doc-0001", "--ids", "no-such")
    assert result.exit_code == 2
    assert "got 'no-such'; check them, or give --missing-ok" in result.output
    assert (erased.parent / "out" / "forgotten.json").read_bytes() == listed
    picture = cli("forget", erased, "--ids", erased.parent / "images" / "0001.png")
    assert picture.exit_code == 2
    assert "a text file with one id per line" in picture.output
    kept_out = cli("forget", erased, "--ids", "no-such", "--missing-ok")
    assert kept_out.exit_code == 0
    assert "1 ids were held by nothing; they are kept out from now on" in kept_out.output


def test_a_dry_run_changes_nothing(cli: Cli, erased: Path) -> None:
    root = open_root(erased.parent / "out")
    before = {path: path.read_bytes() for path in root.local().rglob("*") if path.is_file()}
    result = cli("forget", erased, "--ids", "doc-0001", "--dry-run")
    assert result.exit_code == 0
    assert "rows of" in result.output
    after = {
        path: path.read_bytes() for path in root.local().rglob("*") if path.is_file() and path.name != ".lock.json"
    }
    assert after == {path: data for path, data in before.items() if path.name != ".lock.json"}


def test_verify_finds_what_is_left(cli: Cli, erased: Path) -> None:
    """As after a kill: a file that no record names."""
    folder = next((erased.parent / "out" / "clean" / "text").iterdir())
    stray = folder / "000000-0123456789ab.parquet"
    pq.write_table(pa.table({"id": [GONE]}), stray)
    result = cli("verify", erased, "--json")
    assert result.exit_code == 1
    (row,) = [row for row in orjson.loads(result.stdout) if row["stage"] == "forgotten documents"]
    assert row["damaged"] == [f"{stray.relative_to(erased.parent / 'out').as_posix()}: 1 forgotten"]
    assert cli("forget", erased).exit_code == 0
    assert not stray.exists()
    assert cli("verify", erased).exit_code == 0


def test_they_come_back_neither_by_a_run_nor_by_a_prediction(cli: Cli, erased: Path) -> None:
    folder, root = erased.parent, open_root(erased.parent / "out")
    write_documents(folder, [document(folder, number) for number in range(52)])
    assert cli("run", erased).exit_code == 0
    done = last_summaries(root.local())
    assert (done["ingest/shapes"]["rows_computed"], done["embed/image"]["rows_computed"]) == (2, 2)
    assert pq.read_table(root.local() / "latest" / "predictions.parquet").num_rows == 3 * 50
    output = folder / "new.parquet"
    result = cli("predict", erased, "--model", "pq", "--source", folder / "documents.jsonl", "--output", output)
    assert result.exit_code == 0, result.output
    predicted = pq.read_table(output)["id"].to_pylist()
    assert len(predicted) == 50
    assert GONE not in predicted
    held = pq.read_table(root.local() / "latest" / "quarantine.parquet").to_pylist()
    assert [(row["id"], row["reason"]) for row in held] == [(None, "forgotten")] * 2
    assert cli("verify", erased).exit_code == 0


def test_refit_makes_models_that_never_saw_them(cli: Cli, erased: Path) -> None:
    root = open_root(erased.parent / "out")
    result = cli("forget", erased, "--ids", "doc-0012", "--refit")
    assert result.exit_code == 0, result.output
    assert busy(plan_of(cli, erased)) == set()
    plan = plan_of(cli, erased)
    assert not any("fitted on" in str(row["why"]) for row in plan.values())
    for record in root.local().glob("models/text/*/record.json"):
        assert len(list(record.parent.glob("checkpoint-*"))) == 1
    assert cli("verify", erased).exit_code == 0
