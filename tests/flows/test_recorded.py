"""What Prefect keeps of a run: small parameters in its database, and no file beside it."""

import os
from pathlib import Path

import httpx

from tests.flows.conftest import Cli, settings, write_config, write_documents

FILES = {"prefect.db", "prefect.db-shm", "prefect.db-wal", "server.log", "memo_store.toml"}


def test_runs_that_fail_and_runs_that_do_not_leave_no_pickle(cli: Cli, tmp_path: Path) -> None:
    """Prefect pickled the exception of every failed flow into its storage, although nothing was to be persisted."""
    text = {**settings(tmp_path), "name": "kept", "embed": {}, "quantize": {}}
    config = write_config(tmp_path, {**text, "models": {"text": {"kind": "text"}}})
    write_documents(tmp_path, [{"id": f"d{number}", "text": "alpha"} for number in range(5)])
    failed = cli("run", config)
    assert (failed.exit_code, "train/text" in failed.stderr) == (1, True), failed.output
    write_documents(tmp_path, [{"id": f"d{number}", "text": "alpha", "label": "x"} for number in range(9)])
    done = cli("run", config)
    assert done.exit_code == 0, done.output

    home = Path(os.environ["PREFECT_HOME"])
    assert {path.name for path in home.rglob("*") if path.is_file()} <= FILES
    assert not [path for path in tmp_path.rglob("*") if path.suffix in (".pkl", ".pickle")]

    url = os.environ["PREFECT_API_URL"]
    runs = httpx.post(f"{url}/flow_runs/filter", json={"sort": "START_TIME_DESC"}).raise_for_status().json()
    parameters = {run["name"]: run["parameters"] for run in runs if run["name"].endswith(": kept")}
    assert {"pipeline: kept", "ingest: kept", "train: kept"} <= set(parameters)
    assert all(set(values["config"]) == {"name", "digest"} for values in parameters.values())
    assert parameters["pipeline: kept"]["retry_failed"] is False
