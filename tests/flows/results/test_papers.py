"""`fuseline paper Z` and `paper M`: a configuration is run first, roots are read, repeats become one data set."""

from pathlib import Path

import orjson
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fuseline.flows.results.papers import read_runs, with_sweep
from fuseline.reports.papers.cells import CELLS
from fuseline.reports.papers.paper import VERDICTS
from fuseline.stores.errors import ConfigError, DataError, StorageError
from fuseline.stores.layouts.parquet import put_table
from fuseline.stores.places import open_root
from fuseline.stores.published import publishing
from fuseline.stores.schemas import MODELS, RESULTS
from tests.flows.conftest import Cli


def publish(folder: Path, seed: int, value: float, *, name: str | None = "clip", model: str = "textcnn") -> str:
    """Write what a run with one model publishes; None: one of an older version, that tells no name."""
    root = open_root(folder)
    score = {"model": model, "seed": seed, "split": "test", "metric": "accuracy", "value": value, "n": 10}
    old = MODELS.remove(MODELS.get_field_index("stands_in_for")) if name is None else MODELS
    with publishing(root, "latest", inputs="x", run="r"):
        put_table(root, "latest/metrics.parquet", pa.Table.from_pylist([score], schema=RESULTS))
        put_table(root, "latest/models.parquet", pa.Table.from_pylist([{"model": model, "seed": seed}], schema=old))
        state = {"run": f"r{seed}", "multi_label": False, "metric": None, "cautions": []}
        root.put("latest/state.json", orjson.dumps(state if name is None else {"name": name, **state}))
    return str(folder)


def test_a_configuration_is_run_first_and_its_models_stand_beside_the_paper(
    cli: Cli, finished: Path, tmp_path: Path
) -> None:
    result = cli("paper", "M", finished, "-o", tmp_path / "beside", "--json")
    assert result.exit_code == 0, result.output
    assert "nothing to do" in result.stderr
    found = orjson.loads(result.stdout)
    metrics = pl.read_parquet(finished.parent / "out" / "latest" / "metrics.parquet")
    test = metrics.filter((pl.col("split") == "test") & (pl.col("metric") == "accuracy"))
    ours = {row["model"]: row["value"] for row in found["cells"]
            if row["source"] == "here" and row["metric"] == "top1_accuracy"}  # fmt: skip
    assert ours == {row["model"]: 100 * row["value"] for row in test.to_dicts()}
    assert {row["claim"] for row in found["claims"]} == {"1", "2", "3", "4", "5a", "5b"}
    for table, schema in (("cells", CELLS), ("claims", VERDICTS)):
        assert pq.read_schema(tmp_path / "beside" / f"{table}.parquet").equals(schema)
    assert "<script" not in (tmp_path / "beside" / "report.html").read_text("utf-8")


def test_a_root_is_only_read(cli: Cli, finished: Path, tmp_path: Path) -> None:
    result = cli("paper", "Z", finished.parent / "out", "-o", tmp_path / "beside")
    assert result.exit_code == 0, result.output
    assert "Table 1: decision policies" in result.stdout
    assert "71.8" in result.stdout
    assert "Decision policies" in result.stdout
    assert "nothing to do" not in result.stderr


def test_what_a_model_was_configured_as_is_published(finished: Path) -> None:
    rows = pl.read_parquet(finished.parent / "out" / "latest" / "models.parquet").to_dicts()
    assert all(isinstance(orjson.loads(row["options"]), dict) for row in rows)
    assert all(row["stands_in_for"] is None for row in rows)


def test_roots_of_one_name_are_repeats(tmp_path: Path) -> None:
    roots = [publish(tmp_path / f"s{seed}", seed, 0.5 + seed / 10) for seed in (0, 1)]
    data = read_runs([*roots, publish(tmp_path / "other", 0, 0.9, name="other")])
    assert [(one.title, len(one.runs)) for one in data] == [("clip", 2), ("other", 1)]
    mean = data[0].score("textcnn")
    assert mean is not None
    assert mean.value == pytest.approx(55.0)
    assert mean.std == pytest.approx(7.0710678)
    assert data[1].score("textcnn") == (90.0, None)


def test_the_terminal_stars_what_is_not_as_in_the_paper(cli: Cli, tmp_path: Path) -> None:
    result = cli("paper", "Z", publish(tmp_path / "a", 0, 0.5), "-o", tmp_path / "beside")
    assert result.exit_code == 0, result.output
    (line,) = (line.split() for line in result.stdout.splitlines() if line.startswith("best text CNN"))
    assert line == ["best", "text", "CNN", "(sec.", "4.2)", "textcnn", "70.1", "50.0", "-20.1"]
    other = publish(tmp_path / "b", 0, 0.5, model="textcnn_100")
    shown = " ".join(cli("paper", "Z", other, "-o", tmp_path / "beside").stdout.split())
    assert "textcnn_100* 50.0 -20.1" in shown
    assert "* not as in the paper: 100 filters of each width (textcnn_100)" in shown


def test_the_same_seed_twice_is_refused(tmp_path: Path) -> None:
    root = publish(tmp_path / "a", 0, 0.5)
    with pytest.raises(ConfigError, match="roots of clip: expected 'each model and seed once'"):
        read_runs([root, root])


def test_a_run_of_an_older_version_is_named_after_its_root(tmp_path: Path) -> None:
    (one,) = read_runs([publish(tmp_path / "olden", 0, 0.5, name=None)])
    assert one.title == "olden"
    assert one.models["textcnn"]["stands_in_for"] is None


def test_a_root_without_a_run_and_a_damaged_one_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="expected 'a finished run'"):
        read_runs([str(tmp_path)])
    root = publish(tmp_path / "a", 0, 0.5)
    (tmp_path / "a" / "latest" / "metrics.parquet").write_bytes(b"no")
    with pytest.raises((DataError, StorageError)):
        read_runs([root])


def test_a_sweep_gives_the_seeds_of_the_options_that_it_chose(tmp_path: Path) -> None:
    root = open_root(tmp_path)

    def row(
        options: str | None, seed: int, value: float, model: str = "textcnn", split: str = "test"
    ) -> dict[str, object]:
        fixed = {"model": model, "options": options, "seed": seed, "split": split}
        return {**fixed, "metric": "accuracy", "value": value, "n": 10}

    own = [row(None, 0, 0.1), row(None, 0, 0.7, "vgg"), row(None, 0, 0.3, "only_valid")]
    swept = [row("{a}", 0, 0.4), row("{a}", 1, 0.6), row("{b}", 0, 0.9), row("{a}", 0, 0.2, "only_valid", "valid")]
    put_table(root, "sweep/metrics.parquet", pa.Table.from_pylist(swept, schema=RESULTS))
    chosen = [{"model": "textcnn", "options": "{a}"}, {"model": "only_valid", "options": "{a}"}]
    put_table(root, "sweep/scores.parquet", pa.Table.from_pylist([*chosen, {"model": "vgg", "options": None}]))
    found = with_sweep(pa.Table.from_pylist(own, schema=RESULTS), root).to_pylist()
    assert [(one["model"], one["options"], one["value"]) for one in found] == [
        ("vgg", None, 0.7), ("only_valid", None, 0.3), ("textcnn", None, 0.4), ("textcnn", None, 0.6)
    ]  # fmt: skip


def test_paper_k_takes_no_configuration(cli: Cli, finished: Path, tmp_path: Path) -> None:
    result = cli("paper", "K", finished, "-o", tmp_path / "joined")
    assert result.exit_code == 2
    assert "expected 'roots of finished sweeps'" in result.stderr
