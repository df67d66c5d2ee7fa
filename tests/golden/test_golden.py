"""A whole pipeline gives the numbers it gave: every dataset, checkpoint, prediction, metric and published table.

A redesign must leave `golden.json` as it is. Where a change of content is meant, write it again and read the diff:

    .venv/bin/python -m pytest tests/golden --write-golden
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.golden.collect import collect, machine
from tests.golden.pipeline import write_data

GOLDEN = Path(__file__).with_name("golden.json")
# On another processor or with other libraries the last bits differ, and training carries them on.
LOOSE = 0.15
# Facts of papers, not of ours: the copy was a few rows of one paper, and is all of five.
PUBLISHED = {"sweep/published": None, "sweep/times": {"published_minutes", "published_ratio"}}


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, dict[str, Any]]]:
    config = write_data(tmp_path_factory.mktemp("golden") / "data")
    for command in ("run", "sweep"):
        program = str(Path(sys.executable).with_name("fuseline"))
        result = subprocess.run([program, command, str(config)], capture_output=True, text=True, check=False)
        assert result.returncode == 0, result.stdout + result.stderr
    return collect(config.parent / "out")


@pytest.mark.timeout(1200)
def test_content_is_what_it_was(found: dict[str, Any], pytestconfig: pytest.Config) -> None:
    if pytestconfig.getoption("--write-golden"):
        text = json.dumps({"machine": machine(), "content": found}, indent=0, sort_keys=True)
        GOLDEN.write_text(text + "\n", "utf-8")
    golden = json.loads(GOLDEN.read_bytes())
    exact = golden["machine"] == machine()
    ours, now = (without_published(content) for content in (golden["content"], json.loads(json.dumps(found))))
    assert differences(ours, now, exact=exact) == []


def without_published(content: dict[str, Any]) -> dict[str, Any]:
    """Return what Fuseline computed, without what it quotes."""
    kept = {name: values for name, values in content.items() if PUBLISHED.get(name, ()) is not None}
    return {
        name: {column: value for column, value in values.items() if column not in PUBLISHED.get(name, ())}
        for name, values in kept.items()
    }


def differences(golden: dict[str, Any], found: dict[str, Any], *, exact: bool) -> list[str]:
    """Return what differs; unless `exact`, numbers may differ a little, and all that follows from them."""
    if not exact:
        golden, found = _by_name(golden), _by_name(found)
    lines = [f"{name}: {'new' if name in found else 'gone'}" for name in sorted(golden.keys() ^ found.keys())]
    for name in sorted(golden.keys() & found.keys()):
        old, new = golden[name], found[name]
        lines += [f"{name}.{c}: {'new' if c in new else 'gone'}" for c in sorted(old.keys() ^ new.keys())]
        for column in sorted(old.keys() & new.keys()):
            same = _equal(old[column], new[column]) if exact else _close(old[column], new[column])
            lines += [] if same else [f"{name}.{column}: expected {old[column]}, got {new[column]}"]
    return lines


def _equal(old: dict[str, Any], new: dict[str, Any]) -> bool:
    return (old["n"], old["digest"]) == (new["n"], new["digest"])


def _close(old: dict[str, Any], new: dict[str, Any]) -> bool:
    if old["mean"] is None or new["mean"] is None:
        return True
    return abs(old["mean"] - new["mean"]) <= LOOSE * max(1.0, abs(old["mean"]))


def _by_name(content: dict[str, Any]) -> dict[str, Any]:
    return {name: values for name, values in content.items() if not name.startswith("sweep/")}


def test_any_change_is_seen() -> None:
    golden = json.loads(GOLDEN.read_bytes())["content"]
    assert len(golden) > 60
    for name, values in golden.items():
        column = next(iter(values))
        changed = {**golden, name: {**values, column: {**values[column], "digest": "other"}}}
        (line,) = differences(golden, changed, exact=True)
        assert line.startswith(f"{name}.{column}: expected")
        assert differences(golden, {k: v for k, v in golden.items() if k != name}, exact=True) == [f"{name}: gone"]
