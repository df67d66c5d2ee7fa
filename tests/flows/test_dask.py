"""The same pipeline on a Dask cluster."""

import sys
from pathlib import Path

import polars as pl
import pytest

from tests.flows.conftest import Cli, settings, write_config
from tests.flows.live import clean_env, program, wait_for
from tests.flows.test_run import busy, last_summaries, plan_of


def digests(root: Path) -> pl.DataFrame:
    """Return what each document was predicted, without the keys that name the root."""
    found = pl.read_parquet(root / "latest" / "predictions.parquet")
    return found.sort("model", "id").select("model", "id", "label", "score", "top_k", "importance", "status")


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.skipif(sys.platform != "linux", reason="processes are watched through /proc")
def test_a_local_cluster_makes_the_same_bytes(cli: Cli, finished: Path, tmp_path: Path) -> None:
    pytest.importorskip("prefect_dask")
    values = settings(finished.parent)
    # Without it, threads race while they train.
    options = {"preset": "fasttext", "dim": 8, "lr": 0.5, "epochs": 5, "deterministic": True}
    values["models"] = {name: {"kind": name, "options": options} for name in ("text", "additive", "pq")}
    values["root"] = str(tmp_path / "out")
    config = write_config(tmp_path, {**values, "run": {"executor": "dask", "workers": 2}})
    (tmp_path / "local").mkdir()
    local = write_config(tmp_path / "local", {**values, "root": str(tmp_path / "local" / "out")})
    assert cli("run", local).exit_code == 0
    for attempt in ("first", "second"):
        log = tmp_path / f"{attempt}.log"
        with program("fuseline.flows.cli", "run", config, log=log, env=clean_env()) as run:
            wait_for(lambda run=run: run.poll() is not None, "the run on Dask to end", seconds=500)  # type: ignore[misc]
            assert run.returncode == 0, log.read_text()
        assert "Traceback" not in log.read_text()
    assert "nothing to do" in (tmp_path / "second.log").read_text()
    assert {row["computed_shards"] for row in last_summaries(tmp_path / "out").values()} <= {1, 3}
    assert digests(tmp_path / "out").equals(digests(tmp_path / "local" / "out"))
    assert busy(plan_of(cli, config, "--set", "run.executor=local")) == set()


@pytest.mark.parametrize("executor", ["dask", "ray"])
def test_a_cluster_without_its_package_is_told_with_the_cure(
    cli: Cli, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, executor: str
) -> None:
    monkeypatch.setitem(sys.modules, f"prefect_{executor}", None)
    result = cli("run", finished, "--set", f"run.executor={executor}", "--set", f"root={tmp_path / 'out'}")
    assert result.exit_code == 2
    assert f"pip install 'fuseline[{executor}]'" in " ".join(result.output.split())
