"""A column of numbers is estimated, up to the published tables; what its estimates may not rest on; bad numbers."""

import json
import random
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow.parquet as pq
import pytest
from drive import run
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

from fuseline.flows.config import Config, parse_config
from fuseline.flows.graph import build
from fuseline.flows.results.publish import publish_results
from fuseline.stores.errors import ConfigError, DataError
from fuseline.stores.places import open_root
from fuseline.tasks.engine.planner import PlanOptions, plan_all


def values(folder: Path, **more: Any) -> dict[str, Any]:
    numbers = dict.fromkeys(("a", "b", "cost"), "number")
    quick = {"epochs": 40, "lr": 0.01, "dim": 16}
    return {
        "name": "x", "root": str(folder / "out"), "shard_size": 64,
        "source": {"reader": "jsonl", "path": str(folder / "x.jsonl"), "options": {"tabular": numbers}},
        "split": {"valid": 0.2, "test": 0.3},
        "embed": {"columns": {"encoder": "tabular", "options": {"columns": ["num_a", "num_b"]}}},
        "models": {"net": {"kind": "concat_frozen", "options": {"vectors": ["columns"], **quick}}},
        "regressions": {
            "cost": {"target": "num_cost", "transform": "log", "vectors": ["columns"], **quick},
            "by_hidden": {"target": "num_cost", "vectors": ["hidden/net", "columns"], "error": "huber", **quick},
        },
        "report": {"gallery": 0},
        **more,
    }  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Config:
    folder = tmp_path_factory.mktemp("regression")
    lines = []
    for i in range(300):
        rng = random.Random(i)
        a, b = rng.uniform(0, 3), rng.uniform(0, 3)
        line: dict[str, Any] = {"id": f"d{i}", "text": "sun", "label": "xy"[a > b], "a": a, "b": b}
        line["cost"] = round(float(np.expm1(1 + a + 0.5 * b + rng.gauss(0, 0.05))), 6) + 20_000_000.25 * (i == 5)
        line |= {7: {"cost": None}, 8: {"cost": -3.0}}.get(i % 40, {})
        if i % 40 == 9:
            line |= {"a": None, "b": None}
        lines.append(json.dumps(line))
    (folder / "x.jsonl").write_text("\n".join(lines))
    config = parse_config(values(folder))
    run(build(config), open_root(config.root))
    publish_results(config, [], "run")
    return config


def test_estimates_and_their_errors_are_published_and_agree(made: Config) -> None:
    latest = Path(made.root) / "latest"
    split = {r["id"]: r["split"] for r in pq.read_table(latest / "documents.parquet").to_pylist()}
    given = {r["id"]: r for r in map(json.loads, Path(made.source.path).read_text().splitlines())}
    rows = pq.read_table(latest / "estimates.parquet").to_pylist()
    assert {row["model"] for row in rows} == {"cost", "by_hidden"}
    assert len(rows) == 2 * len(given)
    for row in rows:
        number = given[row["id"]]["cost"]
        lacks = number is None or (number < 0 and row["model"] == "cost")
        assert row["target"] == (None if lacks else number)
        missing = given[row["id"]]["a"] is None
        assert (row["status"], row["estimate"] is None) == (("no_input", True) if missing else ("ok", False))
    errors = pq.read_table(latest / "value_errors.parquet").to_pylist()
    assert {(r["model"], r["split"], r["scale"]) for r in errors} == {
        ("cost", s, scale) for s in ("valid", "test") for scale in ("unit", "log")
    } | {("by_hidden", s, "unit") for s in ("valid", "test")}
    for one in errors:
        pairs = [
            (r["target"], r["estimate"])
            for r in rows
            if r["model"] == one["model"]
            and split[r["id"]] == one["split"]
            and None not in (r["target"], r["estimate"])
        ]
        y, x = (np.log1p(side) if one["scale"] == "log" else np.array(side) for side in zip(*pairs, strict=True))
        assert one["n"] == len(pairs)
        assert one["mae"] == pytest.approx(mean_absolute_error(y, x))
        assert one["rmse"] == pytest.approx(root_mean_squared_error(y, x))
        assert one["r2"] == pytest.approx(r2_score(y, x))
        assert one["no_input"] == sum(
            r["target"] is not None and r["estimate"] is None and split[r["id"]] == one["split"]
            for r in rows
            if r["model"] == one["model"]
        )
    (learnt,) = (r for r in errors if (r["model"], r["split"], r["scale"]) == ("cost", "test", "log"))
    assert learnt["r2"] > 0.9
    assert learnt["mae"] < learnt["constant_mae"] / 2
    assert '<section id="regressions">' in (latest / "report.html").read_text()
    with duckdb.connect(str(Path(made.root) / "catalog.duckdb"), read_only=True) as catalog:
        assert catalog.execute("SELECT count(*) FROM estimates WHERE model = 'cost'").fetchone() == (300,)
    assert not any(plan.todo for plan in plan_all(build(made), open_root(made.root), PlanOptions()))


def test_a_configuration_without_regressions_keeps_its_keys(made: Config) -> None:
    without = parse_config({**values(Path(made.root).parent), "regressions": {}})
    keys = {node.name: node.key for node in build(without)}
    assert {name: key for name, key in keys.items() if "net" in name or "columns" in name}.items() <= {
        node.name: node.key for node in build(made)
    }.items()


@pytest.mark.parametrize(
    ("regression", "embed", "message"),
    [
        ({"target": "cost"}, {}, r"regressions.*target"),
        ({"target": "num_cost", "vectors": ["image"]}, {}, r"regressions.x.vectors: expected \['columns'\]"),
        ({"target": "num_cost", "vectors": ["hidden/image"]}, {}, r"regressions.x.vectors: expected \['net'\]"),
        ({"target": "num_cost", "vectors": ["columns"], "loss": "sigmoid"}, {}, r"loss: expected 'auto' for a number"),
        (
            {"target": "num_a", "vectors": ["hidden/net"]}, {},
            r"regressions.x.vectors: expected 'inputs made without num_a', got 'hidden/net, which reads it'; name the",
        ),
        (
            {"target": "num_cost", "vectors": ["columns"]}, {"columns": {"encoder": "tabular"}},
            r"regressions.x.vectors: expected 'inputs made without num_cost', got 'embed/columns, which reads it'",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_estimated_is_refused(regression: dict[str, Any], embed: dict[str, Any], message: str) -> None:
    given = values(Path("x"), regressions={"x": regression})
    with pytest.raises(ConfigError, match=message):
        build(parse_config({**given, "embed": embed or given["embed"]}))


def test_a_column_that_nobody_has_is_told(made: Config, tmp_path: Path) -> None:
    given = values(Path(made.root).parent, root=str(tmp_path / "out"))
    given["regressions"] = {"x": {"target": "num_price", "vectors": ["columns"]}}
    config = parse_config(given)
    with pytest.raises(DataError, match=r"train/regressions-x: targets/x: expected training documents with a n"):
        run(build(config), open_root(config.root))
