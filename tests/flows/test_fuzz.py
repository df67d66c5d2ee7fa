"""The command line over mutated roots and configurations: whatever lies there, an error is one line of ours."""

import random
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml
from typer.testing import Result

from tests.flows.conftest import Cli, settings, write_config

COMMANDS = ("plan", "status", "verify", "gc --dry-run", "forget --dry-run --ids doc-0001", "report")
ODD: tuple[Any, ...] = (
    None,
    True,
    5,
    -1,
    0.5,
    2**62,
    "",
    "x\0y",
    "m[/x]y",
    "../..",
    [],
    [[]],
    [1, "a"],
    {},
    {"a": {}},
    "\ud7ff",
)
DEEP = b"[" * 3000 + b"]" * 3000


def replace_one(value: Any, rng: random.Random) -> Any:
    """Return JSON with one value, at any depth, replaced by an odd one, or without one of its entries."""
    if not isinstance(value, dict | list) or not value or rng.random() < 0.2:
        return rng.choice(ODD)
    keys = list(value) if isinstance(value, dict) else list(range(len(value)))
    key = rng.choice(keys)
    copy = value.copy()
    if rng.random() < 0.15:
        del copy[key]
    else:
        copy[key] = replace_one(value[key], rng)
    return copy


def mutate(path: Path, rng: random.Random) -> str:
    """Harm one file and return how: its bytes, its JSON, or what lies in its place."""
    data = path.read_bytes()
    if path.suffix == ".json" and rng.random() < 0.6:
        path.write_bytes(orjson.dumps(replace_one(orjson.loads(data), rng)))
        return "value"
    how = rng.choice(["flip", "cut", "empty", "noise", "deep", "folder", "gone", "longer"])
    if how == "flip" and data:
        changed, place = bytearray(data), rng.randrange(len(data))
        changed[place] ^= 1 << rng.randrange(8)
        path.write_bytes(changed)
    elif how in ("gone", "folder"):
        path.unlink()
        if how == "folder":
            path.mkdir()
    else:
        new = {
            "cut": data[: rng.randrange(len(data) + 1)],
            "noise": rng.randbytes(200),
            "deep": DEEP,
            "longer": data * 2,
        }
        path.write_bytes(new.get(how, b""))
    return how


def in_a_line(outcome: Result, codes: tuple[int, ...] = (0, 1, 2)) -> bool:
    """Return whether a command ended well or with an error of ours."""
    ours = outcome.exception is None or isinstance(outcome.exception, SystemExit)
    return ours and outcome.exit_code in codes and "Traceback" not in outcome.output


def files(root: Path) -> dict[str, list[Path]]:
    """Return the files of a root by kind: stage or folder, and name without numbers."""
    kinds: dict[str, list[Path]] = {}
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root)
        if path.is_file() and not path.is_symlink() and name.parts[0] not in (".prefect", ".lock"):
            kind = f"{name.parts[0]}/{''.join(c for c in name.name if not c.isdigit())}"
            kinds.setdefault(kind, []).append(path)
    return kinds


def fuzz(cli: Cli, config: Path, whole: Path, *, mutations: int, seed: int) -> tuple[Counter[int], list[str]]:
    """Run every command over roots with one harmed file each; return the exit codes, and what was not ours."""
    rng, root = random.Random(seed), config.parent / "out"
    codes: Counter[int] = Counter()
    wrong = []
    for number in range(mutations):
        shutil.rmtree(root)
        shutil.copytree(whole, root, symlinks=True)
        kinds = files(root)
        path = rng.choice(kinds[rng.choice(sorted(kinds))])
        how = mutate(path, rng)
        for command in COMMANDS:
            name, *options = command.split()
            outcome = cli(name, config, *options)
            codes[outcome.exit_code] += 1
            if not in_a_line(outcome):
                wrong.append(
                    f"{number} {path.relative_to(root)} {how}: {command}: {outcome.exception!r} {outcome.output[-600:]}"
                )
    return codes, wrong


@pytest.fixture
def copied(finished: Path, tmp_path: Path) -> tuple[Path, Path]:
    """Return the configuration of a copied pipeline, and its root before any harm."""
    shutil.copytree(finished.parent, tmp_path / "data", symlinks=True)
    shutil.copytree(tmp_path / "data" / "out", tmp_path / "whole", symlinks=True)
    return write_config(tmp_path / "data", settings(tmp_path / "data")), tmp_path / "whole"


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_no_command_trips_over_a_mutated_root(cli: Cli, copied: tuple[Path, Path]) -> None:
    codes, wrong = fuzz(cli, *copied, mutations=300, seed=9)
    print(codes)
    assert wrong == []
    assert codes[0] > 300  # most commands need only some of the files
    assert codes[1] + codes[2] > 100


def test_no_command_trips_over_a_mutated_configuration(cli: Cli, copied: tuple[Path, Path]) -> None:
    config, _ = copied
    rng, values = random.Random(9), settings(config.parent)
    wrong = []
    for number in range(100):
        changed = replace_one(values, rng)
        config.write_text(yaml.safe_dump(changed), encoding="utf-8")
        outcome = cli("plan", config)
        if not in_a_line(outcome):
            wrong.append(f"{number} {changed}: {outcome.exception!r} {outcome.output[-600:]}")
    assert wrong == []


@pytest.mark.parametrize("text", [
    "extends: 5", "name: " + "9" * 5000, "a: " + "[" * 3000 + "]" * 3000, "{" * 3000, "5", "- a", "\0",
    "root: \"a\\0b\"", "name: m[/x]y", "a: &a [*a]", "!!python/object:os.system {}", "? [a]\n: b",
])  # fmt: skip
@pytest.mark.parametrize("command", ["plan", "config show", "config check", "status"])
def test_odd_configurations_are_refused_in_one_line(cli: Cli, tmp_path: Path, command: str, text: str) -> None:
    (tmp_path / "c.yaml").write_text(text)
    outcome = cli(*command.split(), tmp_path / "c.yaml")
    assert in_a_line(outcome, (2,)), (outcome.exit_code, outcome.exception, outcome.output)
    assert len(outcome.output.strip().splitlines()) <= 12


@pytest.mark.parametrize("root", ["file", "file/below", "m[/x]y", "a\0b", "x" * 300])
def test_odd_roots_are_told_in_one_line(cli: Cli, copied: tuple[Path, Path], root: str) -> None:
    config, _ = copied
    (config.parent / "file").write_text("x")
    write_config(config.parent, {**settings(config.parent), "root": f"{config.parent}/{root}"})
    for command in COMMANDS:
        name, *options = command.split()
        outcome = cli(name, config, *options)
        assert in_a_line(outcome), (command, outcome.exit_code, outcome.exception, outcome.output)
