"""Ctrl-C, kill -9 and a worker that the system kills: what was committed stays, and nobody stays behind."""

import dataclasses
import os
import signal
import subprocess
import sys
from concurrent.futures import CancelledError, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import orjson
import pytest

from fuseline.flows.config import load_config
from fuseline.flows.graph import build
from fuseline.stores.places import open_root
from fuseline.tasks.engine.nodes import ShardStage
from fuseline.tasks.engine.pool import Pool
from tests.flows.conftest import Cli, make_data, settings, write_config
from tests.flows.live import alive, command_of, descendants, program, wait_for
from tests.flows.test_run import busy, last_summaries, plan_of

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are watched through /proc")


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Return the configuration of 60 documents in 20 shards."""
    make_data(tmp_path / "data", 60)
    return write_config(tmp_path / "data", {**settings(tmp_path / "data"), "shard_size": 3})


def records(config: Path, stage: str) -> dict[Path, bytes]:
    """Return the shard records of a stage that are on disk."""
    return {path: path.read_bytes() for path in (config.parent / "out" / stage).glob("*/shards/*.json")}


def unrecorded(config: Path, stage: str) -> set[str]:
    """Return the numbers of the shards of a stage whose bytes are on disk without a record."""
    shards = {path.name[:6] for path in (config.parent / "out" / stage).glob("*/[0-9]*-*")}
    return shards - {path.stem for path in records(config, stage)}


def interrupted_at(config: Path, stage: str, shards: int, number: int) -> tuple[int, str, dict[Path, bytes]]:
    """Run, signal once some shards of a stage are committed, and wait until every process is gone."""
    log = config.parent / "run.log"
    with program("fuseline.flows.cli", "run", config, log=log) as run:
        wait_for(lambda: run.poll() is not None or len(records(config, stage)) >= shards, f"{stage} to start")
        assert run.poll() is None, log.read_text()
        family = descendants(run.pid)
        assert any("fuseline.flows.server" in command_of(pid) for pid in family)
        if number == signal.SIGINT:
            os.killpg(run.pid, number)  # as a terminal does
        else:
            os.kill(run.pid, number)
        code = run.wait(60)
        wait_for(lambda: not any(map(alive, family)), "every process to end", seconds=60)
    kept = {path: data for name in STAGES for path, data in records(config, name).items()}
    return code, log.read_text(), kept


def completes(cli: Cli, config: Path, kept: dict[Path, bytes]) -> None:
    """Assert that the next run makes exactly what was not committed, and that all bytes are sound."""
    before = {row["stage"]: row for row in orjson.loads(cli("plan", config, "--json").stdout)}
    # Killed between the bytes of a shard and its record: the ingest makes the record again, and nothing else.
    recovered = {stage: len(unrecorded(config, stage)) for stage in STAGES if stage.startswith("documents/")}
    result = cli("run", config)
    assert result.exit_code == 0, result.output
    done = last_summaries(config.parent / "out")
    for folder in STAGES:
        stage = folder.replace("documents/", "ingest/")
        if stage not in before:
            continue
        committed = sum(path.is_relative_to(config.parent / "out" / folder) for path in kept)
        assert before[stage]["fresh"] == committed, stage
        assert done[stage]["fresh"] + done[stage]["computed_shards"] + recovered.get(folder, 0) == 20, stage
        assert len(records(config, folder)) == 20, stage
        assert done[stage]["computed_shards"] == 20 - committed or stage.startswith("ingest")
    assert {path: path.read_bytes() for path in kept} == kept
    assert busy(plan_of(cli, config)) == set()
    assert cli("gc", config).exit_code == 0
    assert not list((config.parent / "out").rglob("*.partial"))
    assert cli("verify", config).exit_code == 0


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_ctrl_c_keeps_what_is_committed_and_leaves_nobody_behind(cli: Cli, config: Path) -> None:
    texts = {
        "embed": {},
        "quantize": {},
        "models": {"text": {"kind": "text", "options": {"preset": "fasttext", "dim": 4, "epochs": 2}}},
    }
    write_config(config.parent, {**settings(config.parent), **texts, "shard_size": 3})
    code, output, kept = interrupted_at(config, "clean/text", 2, signal.SIGINT)
    assert code == 130, output
    assert output.splitlines()[-1].startswith("interrupted: every shard that was committed is kept")
    assert "Traceback" not in output
    assert "KeyboardInterrupt" not in output
    assert "ERROR" not in output
    completes(cli, config, kept)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("stage", ["documents/shapes", "embed/image", "predictions/text", "statistics/shards"])
def test_ctrl_c_at_any_stage(cli: Cli, config: Path, stage: str) -> None:
    code, output, kept = interrupted_at(config, stage, 1, signal.SIGINT)
    assert code == 130, output
    assert "Traceback" not in output
    completes(cli, config, kept)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=lambda number: number.name)
@pytest.mark.parametrize("stage", ["documents/shapes", "embed/image", "predictions/text"])
def test_a_killed_run_is_completed_by_the_next(cli: Cli, config: Path, stage: str, number: int) -> None:
    code, output, kept = interrupted_at(config, stage, 1, number)
    assert code == -number, output
    completes(cli, config, kept)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_killed_run_can_be_repeated_at_once_with_its_own_server(config: Path) -> None:
    """The history of the killed run lies in the database that the next server opens."""
    interrupted_at(config, "embed/image", 1, signal.SIGKILL)
    log = config.parent / "again.log"
    with program("fuseline.flows.cli", "run", config, log=log) as run:
        assert run.wait(240) == 0, log.read_text()
        wait_for(lambda: not descendants(run.pid), "every process to end", seconds=60)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_killed_worker_is_replaced(config: Path) -> None:
    log = config.parent / "run.log"
    with program("fuseline.flows.cli", "run", config, log=log) as run:
        wait_for(lambda: run.poll() is not None or records(config, "embed/image"), "embed to start")
        workers = [pid for pid in descendants(run.pid) if "spawn_main" in command_of(pid)]
        assert workers, log.read_text()
        for pid in workers:
            os.kill(pid, signal.SIGKILL)
        assert run.wait(240) == 0, log.read_text()
    assert len(records(config, "embed/image")) == 20
    assert last_summaries(config.parent / "out")["embed/image"]["failed_shards"] == 0


def kill_own_process(tables: Any, _config: Any, _context: Any) -> Any:
    """Die as if out of memory on the documents of the first shard."""
    if tables[0]["id"][0].as_py() == "doc-0000":
        os.kill(os.getpid(), signal.SIGKILL)
    return tables[0].select(["id"])


def test_a_shard_that_kills_its_worker_fails_alone(finished: Path, tmp_path: Path) -> None:
    """Shards in flight beside it lost their worker too: they must not fail with it, nor cancel one another."""
    nodes, root = build(load_config(finished)), finished.parent / "out"
    clean = next(node for node in nodes if isinstance(node, ShardStage) and node.name == "clean/text")
    deadly = dataclasses.replace(clean, role="clean", short="deadly", transform=kill_own_process)
    subprocess.run(["cp", "-r", root / "documents", tmp_path / "documents"], check=True)
    pool = Pool(2)
    with ThreadPoolExecutor(3) as threads:
        futures = [
            threads.submit(pool.make_shards, [deadly], open_root(tmp_path), index, source="") for index in range(3)
        ]
        (first,), (second,), (third,) = (future.result(120) for future in futures)
    assert "ended its worker process twice" in first.error
    assert (second.error, third.error) == ("", "")
    assert pool.make_shards([deadly], open_root(tmp_path), 1, source="")[0].reused == 20
    pool.close()
    with pytest.raises(CancelledError):
        pool.make_shards([deadly], open_root(tmp_path), 1, source="")


STAGES = ("documents/shapes", "clean/text", "embed/image")
