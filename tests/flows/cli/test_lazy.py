"""Commands are imported when they are called: help and lists answer at once."""

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
import yaml
from typer.main import get_group
from typer.testing import CliRunner

from fuseline.flows.cli.app import app
from fuseline.flows.cli.choices import REGISTRIES
from fuseline.flows.cli.lazy import COMMANDS, MOVED
from tests.flows.live import REPO

HEAVY = ("torch", "numba", "pandas", "scipy", "prefect", "sklearn", "lightgbm", "sentence_transformers", "onnxruntime",
         "faiss", "duckdb", "polars")  # fmt: skip
ASKED = [["--help"], ["config", "--help"], ["init", "--help"], *(["list", name] for name in REGISTRIES)]


@pytest.mark.parametrize("arguments", ASKED, ids=" ".join)
def test_help_and_lists_import_no_heavy_library(arguments: list[str]) -> None:
    script = (
        "import sys\nfrom fuseline.flows.cli.app import app\n"
        f"try:\n    app({arguments!r})\nexcept SystemExit as end:\n    assert not end.code\n"
        f"print('HEAVY', [name for name in {HEAVY} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=REPO, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "HEAVY []"


def test_the_nodes_of_a_run_are_known_without_a_heavy_library(tmp_path: Path) -> None:
    """What a run with nothing to do takes is mostly imports."""
    values = {"name": "x", "root": "out", "source": {"path": "d.jsonl"}, "models": {"text": {"kind": "text"}}}
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(values))
    heavy = {*HEAVY, "zarr", "urllib.request"} - {"duckdb"}  # it writes the catalog
    script = (
        "import sys\nfrom pathlib import Path\nfrom fuseline.flows.cli.pipeline import build, load_config\n"
        f"build(load_config(Path({str(tmp_path / 'c.yaml')!r})))\n"
        f"print('HEAVY', [name for name in {sorted(heavy)} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=REPO, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "HEAVY []"


def test_every_command_is_listed_with_its_own_first_line() -> None:
    modules = {lazy.module for lazy in COMMANDS.values()}
    defined = {
        name: command
        for module in modules
        for name, command in get_group(import_module(module).commands).commands.items()
    }
    assert set(defined) == {*COMMANDS, *MOVED}
    for name, lazy in COMMANDS.items():
        assert " ".join(defined[name].help.split("\n\n")[0].split()) == lazy.summary, name


def test_an_unknown_command_is_refused_with_the_nearest() -> None:
    result = CliRunner().invoke(app, ["rnu"])
    assert result.exit_code == 2
    assert "No such command 'rnu'" in result.output
