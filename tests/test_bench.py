"""Every benchmark runs, at its smallest: what it measures is for quiet machines, that it measures is for tests."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[1]
SMALLEST = {
    "embed_speed": "--images 4 --detect 1 --texts 8 --rounds 1 --memory 100",
    "plan_speed": "--shards 4 --stages 2 --rows 2 --json",
    "reader_speed": "--rows 100 --layouts jsonl",
    "sets_speed": "--documents 60 --rounds 1 --json",
    "startup": "--repeats 1 --json",
    "torch_speed": "--documents 200 --epochs 1 --rounds 1 --json",
    "train_speed": "--docs 2000 --threads 1 --json",
    "tree_speed": "--docs 2000 --test 20 --classes 500 --rounds 1 --json",
}


def test_every_benchmark_has_a_smallest_size() -> None:
    makefile = (REPO / "Makefile").read_text()
    assert "bench/*_speed.py bench/startup.py" in makefile
    assert {path.stem for path in (REPO / "bench").glob("*_speed.py")} | {"startup"} == set(SMALLEST)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", SMALLEST)
def test_a_benchmark_runs_and_its_figures_are_json(name: str) -> None:
    if name == "train_speed" and importlib.util.find_spec("fasttext") is None:
        pytest.skip("the peer is not installed: pip install -e '.[bench]'")
    command = [sys.executable, "-m", f"bench.{name}", *SMALLEST[name].split()]
    done = subprocess.run(command, cwd=REPO, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    rows = [line for line in done.stdout.splitlines() if line.startswith("{")]
    assert rows, done.stdout[-2000:]
    assert all(json.loads(row) for row in rows)
