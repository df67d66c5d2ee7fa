"""Evaluations that a configuration may ask for, up to the published tables: masked inputs, groups, pairs, maps."""

import json
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from drive import run

from fuseline.flows.config import parse_config
from fuseline.flows.graph import build
from fuseline.flows.results.publish import publish_results
from fuseline.stores.errors import ConfigError
from fuseline.stores.places import open_root
from fuseline.tasks.engine.nodes import Fit
from fuseline.tasks.engine.planner import PlanOptions, plan_all
from tests.flows.test_cross_validation import values, write


@pytest.mark.parametrize("given", [True, {"splits": ["valid", "test"], "shares": [0.5]}])
def test_every_input_of_every_model_is_masked(tmp_path: Path, given: object) -> None:
    write(tmp_path, 60)
    config = parse_config(values(tmp_path, evaluation={"missing": given}))
    nodes, root = build(config), open_root(config.root)
    run(nodes, root)
    publish_results(config, [], "run")
    latest = Path(config.root) / "latest"
    metrics = pq.read_table(latest / "metrics.parquet")
    rows = [row for row in metrics.to_pylist() if row["metric"] == "accuracy" and row["condition"]]
    everywhere = {(row["model"], row["condition"]) for row in rows if " in " not in row["condition"]}
    assert everywhere == {
        ("text", "text masked"), ("trees", "columns masked"), ("both", "text masked"), ("both", "trees masked")
    }  # fmt: skip
    splits = {"test"} if given is True else {"valid", "test"}
    assert {row["split"] for row in rows} == splits
    assert len(rows) == len(splits) * 4 * (10 if given is True else 2)
    assert {row["value"] for row in rows if row["condition"] == "columns masked"} == {0}  # nothing else is read
    classes = pq.read_table(latest / "masked_classes.parquet")
    assert {*classes["model"].to_pylist()} == {"text", "trees", "both"}
    assert pc.sum(classes["support"]).as_py() > 0
    assert "With a part of the input masked" in (latest / "report.html").read_text()
    assert not any(plan.todo for plan in plan_all(build(config), root, PlanOptions()))


def test_models_are_compared_and_scored_by_groups(tmp_path: Path) -> None:
    write(tmp_path, 60)
    config = parse_config(values(tmp_path, evaluation={"compare": True, "by": ["source"], "auc": True}))
    nodes, root = build(config), open_root(config.root)
    run(nodes, root)
    publish_results(config, [], "run")
    latest = Path(config.root) / "latest"
    rows, splits = pq.read_table(latest / "comparisons.parquet").to_pylist(), ("test", "valid")
    assert {(row["split"], row["test"]) for row in rows if row["other"]} == {(split, "mcnemar") for split in splits}
    assert len(rows) == 2 * (3 + 6)
    groups = pq.read_table(latest / "groups.parquet").to_pylist()
    metrics = {
        (r["model"], r["split"], r["metric"]): r["value"] for r in pq.read_table(latest / "metrics.parquet").to_pylist()
    }
    areas = {key: value for key, value in metrics.items() if key[2] == "auc"}
    assert {key[:2] for key in areas} == {(model, split) for model in ("text", "trees", "both") for split in splits}
    assert all(0.5 < value <= 1 for value in areas.values())
    assert {row["group"] for row in groups} == {""}  # all lie at the top: the group is the whole
    assert all(row["value"] == pytest.approx(metrics[row["model"], row["split"], row["metric"]]) for row in groups)
    page = (latest / "report.html").read_text()
    assert "Is the best model better?" in page
    assert "By groups of documents" not in page  # there is one group alone
    assert not any(plan.todo for plan in plan_all(build(config), root, PlanOptions()))


def test_vectors_are_mapped(tmp_path: Path) -> None:
    write(tmp_path, 60)
    report = {"gallery": 1, "maps": {"embeddings": ["columns"], "splits": ["train", "valid", "test"], "inside": ["x"]}}
    config = parse_config(values(tmp_path, evaluation={}, report=report))
    nodes, root = build(config), open_root(config.root)
    assert [node.name for node in nodes if node.role == "maps"] == ["maps/embed-columns"]
    run(nodes, root)
    publish_results(config, [], "run")
    latest = Path(config.root) / "latest"
    rows = pq.read_table(latest / "maps.parquet").to_pylist()
    assert {(row["vectors"], row["label"]) for row in rows} == {("embed/columns", "x"), ("embed/columns", "y")}
    assert len({(row["x"], row["y"]) for row in rows}) > 1
    results = pq.read_table(latest / "predictions.parquet", columns=["id", "model", "label"]).to_pylist()
    said = {(row["id"], row["model"]): row["label"] for row in results}
    for row in rows:  # the models that `both` is between
        assert row["models"] == ["text", "trees"]
        assert row["right"] == [name for name in row["models"] if said[row["id"], name] == row["label"]]
    inner = pq.read_table(latest / "class_maps.parquet").to_pylist()
    assert {row["id"] for row in inner} == {row["id"] for row in rows if row["label"] == "x"}
    assert all(row["predicted"] == [said[row["id"], name] for name in row["models"]] for row in inner)
    page = (latest / "report.html").read_text()
    assert "Examples by who is right" in page
    near = pq.read_table(latest / "class_neighbours.parquet").to_pylist()
    assert [(row["label"], row["other"], row["place"]) for row in near] == [("x", "y", 1), ("y", "x", 1)]
    alike = pq.read_table(latest / "class_similarity.parquet").to_pylist()
    assert {(row["label"], row["other"]) for row in alike} == {(a, b) for a in "xy" for b in "xy"}
    assert [row["cosine"] for row in alike if row["label"] != row["other"]] == [pytest.approx(near[0]["cosine"])] * 2
    assert '<section id="maps">' in page
    assert not any(plan.todo for plan in plan_all(build(config), root, PlanOptions()))


@pytest.mark.parametrize(
    ("maps", "message"),
    [
        ({"embeddings": ["image"]}, r"report.maps.embeddings: expected \['columns'\], got 'image'"),
        ({"hidden": ["image"]}, r"report.maps.hidden: expected .*got 'image'"),
        ({"hidden": ["trees"]}, r"report.maps.hidden: expected 'a model with a hidden layer', got 'trees'; name"),
        ({"classes": 1}, r"report.maps.classes"),
        ({"embeddings": ["columns", "columns"]}, r"report.maps.embeddings"),
        ({"inside": ["x", "x"]}, r"report.maps.inside"),
    ],
)
def test_what_has_no_map_is_refused(maps: object, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_config(values(Path("x"), report={"maps": maps}))


@pytest.mark.parametrize(
    ("report", "message"),
    [
        ({"quadrants": ["image"]}, r"report.quadrants: expected \['both', 'text', 'trees'\], got 'image'"),
        ({"quadrants": ["text", "trees", "both"]}, r"report.quadrants"),
        ({"quadrants": [], "maps": {"inside": ["x"]}}, r"report.maps.inside: expected 'models that .*got 'none'; name"),
    ],
)
def test_quadrants_of_unknown_models_are_refused(report: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_config(values(Path("x"), report=report))


def test_quadrants_are_those_of_the_first_decision_unless_others_are_named() -> None:
    assert parse_config(values(Path("x"))).quadrants == ("text", "trees")
    assert parse_config(values(Path("x"), report={"quadrants": ["both"]})).quadrants == ("both",)
    assert parse_config(values(Path("x"), report={"quadrants": []})).quadrants == ()
    assert parse_config(values(Path("x"), models={"text": {"kind": "tfidf_linear"}})).quadrants == ()


def test_other_shares_score_again_and_fit_nothing(tmp_path: Path) -> None:
    plain = {node.name: node.key for node in build(parse_config(values(tmp_path, evaluation={})))}
    asked = {node.name: node.key for node in build(parse_config(values(tmp_path, evaluation={"missing": {}})))}
    other = {node.name: node.key for node in build(parse_config(values(tmp_path, evaluation={"missing": {"seed": 1}})))}
    assert asked.keys() - plain.keys() == {"missing/text", "missing/trees", "missing/both"}
    assert {name: asked[name] for name in plain} == plain
    assert {name for name in other if other[name] != asked[name]} == asked.keys() - plain.keys()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"shares": [1.5]}, r"evaluation.missing.shares"),
        ({"share": [0.5]}, r"evaluation.missing.share"),
        ("yes", r"evaluation.missing"),
        ({"splits": []}, r"evaluation.missing.splits"),
        ({"splits": ["valid"], "shares": "all"}, r"evaluation.missing.shares"),
    ],
)
def test_faults_are_named(given: object, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_config({**values(Path("x")), "evaluation": {"missing": given}})


def test_a_column_that_nothing_can_be_grouped_by_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"evaluation.by.*expected 'source' or a column of the source, cat_\*"):
        parse_config({**values(Path("x")), "evaluation": {"by": ["title"]}})


def test_what_cut_train_sets_apart_can_be_scored_beside_the_cut(tmp_path: Path) -> None:
    """Paper M's second score: on the clean documents of the release, which no fit has read."""
    write(tmp_path, 120)
    lines = [json.loads(line) for line in (tmp_path / "x.jsonl").read_text().splitlines()]
    lines = [{**row, "split": ["train", "train", "validation"][n % 3]} for n, row in enumerate(lines)]
    (tmp_path / "x.jsonl").write_text("\n".join(map(json.dumps, lines)))
    split = {"cut_train": True, "method": "stratified", "valid": 0.2, "test": 0.2}
    config = parse_config(values(tmp_path, split=split, evaluation={"splits": ["valid", "test", "given_valid"]}))
    nodes, root = build(config), open_root(config.root)
    run(nodes, root)
    publish_results(config, [], "run")
    rows = pq.read_table(Path(config.root) / "latest" / "metrics.parquet").to_pylist()
    sizes = {row["split"]: row["n"] for row in rows if row["metric"] == "accuracy" and row["model"] == "text"}
    assert sizes == {"valid": 16, "test": 16, "given_valid": 40}
    assert "Given_valid, 40 documents" in (Path(config.root) / "latest" / "report.html").read_text()
    fits = [node for node in nodes if isinstance(node, Fit)]
    saw = [node.fitted(root).record().saw for node in fits]
    assert {name for one in saw for name in one} <= {"train", "valid"}
