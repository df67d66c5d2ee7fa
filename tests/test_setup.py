"""`make setup` takes the Python that is there, and says what it needs where none is."""

import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
VERSIONS = ("3.11", "3.12", "3.13")

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="there is no make")


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """Return the only folder of programs on a machine without any Python; make does nothing for real there."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("make", "sh"):
        (programs / name).symlink_to(str(shutil.which(name)))
    shutil.copy(ROOT / "Makefile", tmp_path)
    for name in ("pyproject.toml", "constraints.txt"):
        (tmp_path / name).touch()
    return programs


def install(machine: Path, name: str, *, works: bool) -> None:
    """Put a Python there: it can be asked for its version, makes no venv and says how it was called."""
    asked = "exit 0" if works else "exit 127"
    (machine / name).write_text(f'#!/bin/sh\n[ "$1" = -c ] && {asked}\necho "{name} $*"\nexit 3\n')
    (machine / name).chmod(0o755)


def setup(machine: Path, *more: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PATH": str(machine)}
    environment.pop("PYTHON", None)
    command = [str(machine / "make"), "setup", *more]
    return subprocess.run(command, cwd=machine.parent, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("there", "taken"),
    [
        (["python3.11", "python3.12", "python3.13"], "python3.11"),
        (["python3.12"], "python3.12"),
        (["python3.13", "python3"], "python3.13"),
        (["python3"], "python3"),
    ],
)
def test_the_first_that_is_there_is_taken(machine: Path, there: list[str], taken: str) -> None:
    for name in there:
        install(machine, name, works=True)
    assert f"{taken} -m venv .venv" in setup(machine).stdout.splitlines()


def test_a_name_that_does_not_run_is_passed_over(machine: Path) -> None:
    install(machine, "python3.11", works=False)
    install(machine, "python3.13", works=True)
    assert "python3.13 -m venv .venv" in setup(machine).stdout.splitlines()


@pytest.mark.parametrize(("more", "got"), [([], "none"), (["PYTHON=python3.9"], "python3.9")])
def test_without_any_it_says_what_it_needs(machine: Path, more: list[str], got: str) -> None:
    done = setup(machine, *more)
    assert done.returncode == 2
    assert re.match(rf"error: python: expected Python 3\.11, 3\.12 or 3\.13 with venv, got {got}; install", done.stderr)


def test_all_say_the_same_versions() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["requires-python"] == ">=3.11,<3.14"
    assert project["classifiers"] == [f"Programming Language :: Python :: {version}" for version in VERSIONS]
    assert "(3, 11) <= sys.version_info < (3, 14)" in (ROOT / "Makefile").read_text()
    assert "needs Python 3.11, 3.12 or 3.13" in (ROOT / "README.md").read_text()
