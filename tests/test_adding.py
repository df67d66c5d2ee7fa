"""Each example of docs/adding.md is a user's package outside the repository that keeps its registry's contract."""

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml

from tests.flows.conftest import document, settings, write_config, write_documents
from tests.flows.live import REPO
from tests.test_plugins import install

PAGE = (REPO / "docs" / "adding.md").read_text("utf-8")
EXAMPLES = dict(re.findall(r"```python\n# (\w+)\.py\n(.*?)```", PAGE, re.DOTALL))
(LINES,) = (tomllib.loads(text) for text in re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL))
SETTINGS = [yaml.safe_load(text) for text in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)]
CONTRACTS = dict(re.findall(r"^\| ([\w ]+) \| `(tests/\S+\.py)`.*\| one file, one line \|$", PAGE, re.MULTILINE))


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Install the examples, each from its own block, and write a source for the reader."""
    folder = tmp_path_factory.mktemp("adding")
    install(folder / "site", EXAMPLES)
    for label in ("ode", "haiku"):
        (folder / "samples" / "poems" / label).mkdir(parents=True)
        for n in range(3):
            (folder / "samples" / "poems" / label / f"{n}.poem").write_text(f"Nr {n}\n{label} line\n")
    return {**os.environ, "PYTHONPATH": str(folder / "site"), "FUSELINE_SAMPLES": str(folder / "samples")}


def call(environment: dict[str, str], *command: object) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-m", *map(str, command)]
    return subprocess.run(words, cwd=REPO, env=environment, capture_output=True, text=True, check=False)


def test_the_page_names_one_line_per_example_and_a_contract_per_registry() -> None:
    assert LINES["project"]["entry-points"]["fuseline.plugins"] == {name: name for name in EXAMPLES}
    assert len(EXAMPLES) == len(CONTRACTS) == 10
    assert all(text.count("register(") == 1 for text in EXAMPLES.values())


def test_every_example_keeps_the_contract_of_its_registry(environment: dict[str, str]) -> None:
    chosen = " or ".join(f"[{name}" for name in EXAMPLES).replace("[", "")
    done = call(environment, "pytest", "-p", "no:cacheprovider", "-rA", "-k", chosen, *CONTRACTS.values())
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
    assert "SKIPPED" not in done.stdout
    for name, contract in zip(EXAMPLES, CONTRACTS.values(), strict=True):
        passed = re.findall(rf"PASSED {contract}::\w+\[(?:\w+-)*{name}(?:-\w+)*\]", done.stdout)
        assert len(passed) >= 2, name


def test_the_examples_are_told_by_the_command_line(environment: dict[str, str]) -> None:
    kinds = (
        "reader", "stage", "encoder", "encoder", "detector", "quantizer", "model", "metric", "section", "place",
    )  # fmt: skip
    for kind, name in zip(kinds, EXAMPLES, strict=True):
        done = call(environment, "fuseline.flows.cli", "describe", kind, name)
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith(f"{name}: ")


@pytest.mark.slow
def test_a_pipeline_of_the_examples_runs(environment: dict[str, str], tmp_path: Path) -> None:
    """The settings of the page, in one configuration: in worker processes too, and in the published tables."""
    (tmp_path / "images").mkdir()
    write_documents(
        tmp_path,
        [
            {**document(tmp_path, number), "size": number % 7, "html": "<h1>page</h1>" * (number % 3)}
            for number in range(24)
        ],
    )
    values: dict[str, Any] = settings(tmp_path)
    values["source"]["options"] = {"tabular": {"size": "number"}}
    values["embed"] = {"image": {"encoder": "efficientnet_lite2"}}
    values["quantize"], values["models"] = {}, {}
    for part in SETTINGS:
        for key, inner in part.items():
            if key not in ("source", "root"):
                values[key] = {**values.get(key, {}), **inner}  # type: ignore[dict-item]
    values["quantize"]["strided"]["options"] = {"codewords": 4}  # type: ignore[index]
    config = write_config(tmp_path, values)
    done = call(environment, "fuseline.flows.cli", "run", config)
    assert done.returncode == 0, done.stderr
    metrics = pq.read_table(tmp_path / "out" / "latest" / "metrics.parquet")
    assert "miss_at_5" in metrics["metric"].to_pylist()
    page = (tmp_path / "out" / "latest" / "report.html").read_text("utf-8")
    assert '<section id="rare_labels">' in page
    assert "<span>Miss at 5 on test</span>" in page  # `report.metric` names it: it ranks the models


@pytest.mark.slow
def test_a_pipeline_runs_on_the_place_of_the_examples(environment: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    write_documents(tmp_path, [document(tmp_path, number) for number in range(24)])
    values: dict[str, Any] = settings(tmp_path)
    values["root"] = f"sqlite://{tmp_path / 'documents.db'}"
    values["embed"], values["quantize"] = {}, {}
    values["models"] = {"text": {"kind": "text", "options": {"preset": "fasttext", "dim": 4, "epochs": 2}}}
    config = write_config(tmp_path, values)
    for _ in range(2):
        done = call(environment, "fuseline.flows.cli", "run", config)
        assert done.returncode == 0, done.stderr
    plan = call(environment, "fuseline.flows.cli", "plan", config, "--json")
    assert {row["why"] for row in json.loads(plan.stdout)} <= {""}
    assert (tmp_path / "documents.db").is_file()
    assert not (tmp_path / "out").exists()
