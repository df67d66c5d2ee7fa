"""What installed packages may add to the registries, and how a fault of theirs is told."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.flows.live import REPO

Installed = Callable[..., subprocess.CompletedProcess[str]]
REGISTER = "from fuseline.plugins import register\n"
QUANTIZER = """
from fuseline.plugins import register
from fuseline.models.quantizers import PQ
class Mine(PQ):
    kind, summary = {kind!r}, "mine: a product quantizer of another name"
register("quantizer", Mine)
"""


def install(folder: Path, modules: dict[str, str]) -> None:
    """Put a package of one module per entry point where Python finds it, as pip does."""
    info = folder / "mine-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1.0\n")
    lines = "".join(f"{name} = {name}\n" for name in modules)
    (info / "entry_points.txt").write_text(f"[fuseline.plugins]\n{lines}")
    for name, text in modules.items():
        (folder / f"{name}.py").write_text(text)


@pytest.fixture
def installed(tmp_path: Path) -> Installed:
    """Install a package of these modules, then call the command line."""

    def call(modules: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
        install(tmp_path / "site", modules)
        environment = {**os.environ, "PYTHONPATH": str(tmp_path / "site")}
        command = [sys.executable, "-m", "fuseline.flows.cli", *arguments]
        return subprocess.run(command, cwd=REPO, env=environment, capture_output=True, text=True, check=False)

    return call


def test_a_registered_part_is_listed_and_described(installed: Installed) -> None:
    done = installed({"mine": QUANTIZER.format(kind="mine")}, "describe", "quantizer", "mine")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("mine: mine: a product quantizer")
    assert "codewords" in done.stdout


@pytest.mark.parametrize(
    ("module", "said"),
    [
        (QUANTIZER.format(kind="pq"), "quantizer: expected a name that is not taken, got 'pq' from plugin mine (mine)"),
        ("import nothing_of_this_name", "got ModuleNotFoundError: No module named 'nothing_of_this_name'"),
        ("1 / 0", "plugin mine (mine): expected a module that can be imported, got ZeroDivisionError"),
        (f"{REGISTER}register('quantiser', int)", "'section', 'stage'], got 'quantiser'"),
        (f"{REGISTER}register('quantizer', int)", "quantizer int of plugin mine (mine)"),
    ],
)  # fmt: skip
def test_a_fault_is_one_line_that_names_the_package(installed: Installed, module: str, said: str) -> None:
    done = installed({"mine": module}, "list", "quantizers")
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert said in done.stderr


def test_two_packages_with_one_name_are_refused(installed: Installed) -> None:
    module = QUANTIZER.format(kind="mine")
    done = installed({"mine": module, "other": module}, "list", "quantizers")
    assert done.returncode == 2
    assert "got 'mine' from plugin other (other)" in done.stderr


def test_nothing_is_imported_before_a_registry_is_read(installed: Installed) -> None:
    assert installed({"mine": "1 / 0"}, "--help").returncode == 0
