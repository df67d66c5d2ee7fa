"""`fuseline paper`: finished sweeps become the tables of the paper, and others are refused in one line."""

from pathlib import Path

import orjson
import pyarrow.parquet as pq

from fuseline.reports.papers.kiela_joined import CELLS, VERDICTS
from tests.flows.conftest import Cli
from tests.flows.experiments.sweeps import table


def test_sweeps_are_joined(cli: Cli, swept: Path, tmp_path: Path) -> None:
    root = swept.parent / "out"
    result = cli("paper", "K", root, "-o", tmp_path / "joined", "--json")
    assert result.exit_code == 0, result.output
    found = orjson.loads(result.stdout)
    scores = {row["model"]: row for row in table(swept, "scores").to_dicts()}
    ours = {
        (row["model"], row["metric"]): row
        for row in found["cells"]
        if row["table"] == "2" and row["source"] != "published"
    }
    assert ours["gated", "score"]["value"] == 100 * scores["gated"]["accuracy"]
    assert ours["gated", "score"]["std"] == 100 * scores["gated"]["accuracy_std"]
    assert {row["claim"] for row in found["claims"]} == set(range(1, 8))
    page = (tmp_path / "joined" / "report.html").read_text("utf-8")
    assert "Table 2: accuracy" in page
    assert "<script" not in page
    for name, schema in (("cells", CELLS), ("claims", VERDICTS)):
        assert pq.read_schema(tmp_path / "joined" / f"{name}.parquet").equals(schema)
    shown = cli("paper", "K", root, "-o", tmp_path / "joined")
    assert "narrowly holds: bilinear" in " ".join(shown.stdout.split())


def test_what_is_no_sweep_is_refused(cli: Cli, swept: Path, finished: Path, tmp_path: Path) -> None:
    result = cli("paper", "K", finished.parent / "out", "-o", tmp_path / "joined")
    assert result.exit_code == 1
    assert "expected 'the tables of a sweep'" in result.stderr
    assert not (tmp_path / "joined").exists()
    root = swept.parent / "out"
    result = cli("paper", "K", root, root, "-o", tmp_path / "joined")
    assert result.exit_code == 2
    assert "sweeps of different names" in result.stderr
    result = cli("paper", "X", root)
    assert result.exit_code == 2
