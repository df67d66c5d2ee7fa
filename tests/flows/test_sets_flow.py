"""Sets of real crops and indices, up to the published tables: what every element had, for every model."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq
import pytest
from drive import run

from fuseline.flows.config import Config, parse_config
from fuseline.flows.graph import build
from fuseline.flows.results.publish import publish_results
from fuseline.stores.errors import ConfigError
from fuseline.stores.places import open_root
from fuseline.tasks.engine.planner import PlanOptions, plan_all
from tests.flows.test_features_flow import settings, write_table

SETS = {"vectors": [], "elements": ["lines"], "indices": ["title"], "sequences": ["colour"], "epochs": 2, "lr": 0.01}


def configured(folder: Path, **evaluation: Any) -> Config:
    """Return a configuration over lines read in pictures, words of titles and a column, each as elements."""
    colour = {"encoder": "tabular", "output": "indices", "options": {"columns": ["cat_colour"]}}
    values = settings(folder) | {
        "detect": {"lines": {"detector": "rapidocr"}},
        "crops": {"lines": {"encoder": "efficientnet_lite2", "detections": "lines", "min_score": 0.3}},
        "embed": {
            "columns": {"encoder": "tabular"}, "title": {"encoder": "vocabulary", "field": "title"}, "colour": colour
        },
        "models": {
            "sets": {"kind": "deep_sets", "options": {**SETS, "dim": 8, "head": [4], "maps": 2, "index_dim": 4}},
            "padded": {"kind": "concat_padded", "options": {**SETS, "dim": 8, "head": [4], "maps": 2, "index_dim": 4}},
            "trees": {"kind": "lightgbm", "options": {"rounds": 3, "min_rows": 3, "embeddings": ["columns"]}},
        },
        "evaluation": evaluation,
    }  # fmt: skip
    return parse_config(values)


@pytest.mark.skipif(find_spec("rapidocr") is None, reason="pip install rapidocr")
def test_what_elements_had_is_published_for_every_model(tmp_path: Path) -> None:
    write_table(tmp_path, 30)
    config = configured(tmp_path, importance=True)
    nodes, root = build(config), open_root(config.root)
    run(nodes, root, source=config.source.image_root())
    publish_results(config, [], "run")
    latest = Path(config.root) / "latest"
    found = duckdb.connect(str(Path(config.root) / "catalog.duckdb"), read_only=True).sql(
        "SELECT id, model, method, input, element, box, found, share, dead FROM element_importance"
    )
    rows = [dict(zip(found.columns, row, strict=True)) for row in found.fetchall()]
    methods = {(row["model"], row["method"]) for row in rows}
    assert methods == {
        ("sets", "own"), ("sets", "left_out"), ("sets", "gradient"), ("padded", "left_out"), ("padded", "gradient"),
        ("trees", "left_out"),
    }  # fmt: skip
    lines = [row for row in rows if row["input"] == "crops/lines" and (row["model"], row["method"]) == ("sets", "own")]
    assert {row["found"] for row in lines} >= {"APPLE", "PEAR", "PLUM"}
    assert all(len(row["box"]) == 4 and row["element"] is not None for row in lines)
    own: dict[str, float] = {}
    for row in rows:
        if (row["model"], row["method"]) == ("sets", "own"):
            own[row["id"]] = own.get(row["id"], 0.0) + row["share"]
    assert own
    assert all(total == pytest.approx(1, abs=1e-5) or total == 0 for total in own.values())
    predictions = pq.read_table(latest / "predictions.parquet").to_pylist()
    telling = [row for row in predictions if row["model"] == "sets" and row["element_shares"]]
    assert len(telling) == len(own)
    assert not any(row["element_shares"] for row in predictions if row["model"] != "sets")
    means = pq.read_table(latest / "class_importance.parquet").to_pylist()
    assert {row["model"] for row in means} == {"sets", "padded", "trees"}
    assert '<section id="matrices">' in (latest / "report.html").read_text()
    assert pq.read_table(latest / "importances.parquet").num_rows == 3 * 30
    assert not any(plan.todo for plan in plan_all(build(config), root, PlanOptions()))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"elements": ["faces"]}, r"models.bag.options \(elements\).*expected.*crops/lines.*got 'crops/faces'"),
        ({"indices": ["columns"]}, r"models.bag.options \(sequence\).*expected.*colour.*got 'columns'"),
        ({"vectors": ["title"]}, "an embedding of vectors"),
    ],
)
def test_inputs_that_nothing_makes_are_refused(tmp_path: Path, options: dict[str, Any], said: str) -> None:
    values = configured(tmp_path).model_dump(mode="json")
    values["models"] = {"bag": {"kind": "deep_sets", "options": {"vectors": [], **options}}}
    with pytest.raises(ConfigError, match=said):
        parse_config(values)
