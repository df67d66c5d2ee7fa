"""Detectors and crops as stages: added later, they touch nothing else."""

from pathlib import Path

import duckdb
import orjson

from fuseline.reports.redact import shown
from fuseline.tasks.evaluation.contact_sheet import drawn_documents
from tests.flows.conftest import Cli, make_data, settings, write_config
from tests.flows.test_run import busy, plan_of


def test_a_detector_added_later_makes_its_own_datasets_only(cli: Cli, tmp_path: Path) -> None:
    config = make_data(tmp_path / "data", 12)
    folder = config.parent
    few = {
        **settings(folder),
        "quantize": {},
        "models": {"text": {"kind": "text", "options": {"preset": "fasttext", "dim": 4}}},
    }
    config = write_config(folder, few)
    assert cli("run", config).exit_code == 0
    crops = {"objects": {"detections": "objects", "encoder": "efficientnet_lite2", "min_score": 0.05}}
    config = write_config(folder, {**few, "detect": {"objects": {"detector": "ssdlite_coco"}}, "crops": crops})
    assert busy(plan_of(cli, config)) == {
        "detect/objects", "detect/crops-objects", "evaluate/contact_sheet-detections", "report"
    }  # fmt: skip
    result = cli("run", config)
    assert result.exit_code == 0, result.output
    with duckdb.connect(str(folder / "out" / "catalog.duckdb"), read_only=True) as connection:
        rows = connection.execute("SELECT id, status, len(elements) FROM detections ORDER BY id").fetchall()
    assert [row[0] for row in rows] == [f"doc-{n:04d}" for n in range(12)]
    assert {row[1] for row in rows} == {"ok"}
    assert busy(plan_of(cli, config)) == set()
    shows_and_forgets(cli, config)


def shows_and_forgets(cli: Cli, config: Path) -> None:
    """Assert that the contact sheet shows every document, and after one was forgotten, the others."""
    latest, everybody = config.parent / "out" / "latest", {f"doc-{n:04d}" for n in range(12)}
    assert set(drawn_documents((latest / "contact_sheet.png").read_bytes()) or ()) == everybody
    assert set(shown((latest / "report.html").read_text("utf-8"))) == everybody
    result = cli("forget", config, "--ids", "doc-0003", "--json")
    assert result.exit_code == 0, result.output
    stages = {name.rpartition("/")[0] for name in orjson.loads(result.stdout)["rows"]}
    assert stages >= {"detect/objects", "crops/objects", "embed/image", "contact_sheet/detections"}
    assert set(drawn_documents((latest / "contact_sheet.png").read_bytes()) or ()) == everybody - {"doc-0003"}
    assert set(shown((latest / "report.html").read_text("utf-8"))) == everybody - {"doc-0003"}
    assert busy(plan_of(cli, config)) == set()
    assert cli("verify", config).exit_code == 0
