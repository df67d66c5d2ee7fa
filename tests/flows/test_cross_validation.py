"""Cross-validation and models over models, by a configuration: what is made again, what is shared, what is told."""

import json
import random
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from drive import counts, run

from fuseline.flows.config import Config, parse_config
from fuseline.flows.graph import build, build_prediction
from fuseline.flows.results.outcome import notes
from fuseline.flows.results.publish import publish_results
from fuseline.flows.upkeep.damage import find_all_damage
from fuseline.flows.upkeep.forget import forget
from fuseline.stores.errors import ConfigError
from fuseline.stores.places import open_root
from fuseline.tasks.documents.documents_node import SourceConfig
from fuseline.tasks.engine.leaks import check_leaks
from fuseline.tasks.engine.nodes import Node, whole
from fuseline.tasks.engine.planner import PlanOptions, plan_all
from fuseline.tasks.engine.rows import Fold
from fuseline.tasks.engine.shard_features import ShardFeatures

WORDS = {"x": ["sun", "warm", "day"], "y": ["moon", "cold", "night"]}


def write(folder: Path, n: int) -> None:
    lines = []
    for i in range(n):
        rng, label = random.Random(i), "xy"[i % 2]
        text = " ".join([*rng.choices(WORDS[label], k=2), rng.choice(["a", "sun", "moon"])])
        lines.append(json.dumps({"id": f"d{i}", "text": text, "label": label, "size": rng.random() + i % 2}))
    (folder / "x.jsonl").write_text("\n".join(lines))


def values(folder: Path, **more: Any) -> dict[str, Any]:
    return {
        "name": "x",
        "root": str(folder / "out"),
        "source": {
            "reader": "jsonl", "path": str(folder / "x.jsonl"), "options": {"tabular": {"size": "number"}},
        },
        "shard_size": 16,
        "embed": {"columns": {"encoder": "tabular"}},
        "models": {
            "text": {"kind": "tfidf_linear"},
            "trees": {"kind": "lightgbm", "options": {"embeddings": ["columns"], "rounds": 3, "min_rows": 2}},
            "both": {"kind": "fixed_mean", "options": {"models": ["text", "trees"]}},
        },
        "evaluation": {"folds": 3},
        "report": {"gallery": 1},
        **more,
    }  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Config:
    folder = tmp_path_factory.mktemp("folds")
    write(folder, 30)
    config = parse_config(values(folder))
    run(build(config), open_root(config.root))
    publish_results(config, [], "run")
    return config


@pytest.fixture
def copy(made: Config, tmp_path: Path) -> Config:
    """Return the configuration of a copy whose data a test may change."""
    shutil.copytree(Path(made.root).parent, tmp_path / "copy")
    return parse_config(values(tmp_path / "copy"))


def named(nodes: list[Node], name: str) -> Any:
    (node,) = (node for node in nodes if node.name == name)
    return node


def test_only_what_rests_on_a_fit_is_made_per_fold(made: Config) -> None:
    """Raw features once, all below a fit four times: counted on the disk."""
    root = Path(made.root)
    found = Counter(path.relative_to(root).parts[0] for path in root.glob("*/*/*/manifest.json"))
    once, again = ("documents", "clean"), ("encoders", "embed")
    assert {role: found[role] for role in once} == dict.fromkeys(once, 1)
    assert {role: found[role] for role in again} == dict.fromkeys(again, 4)
    models = ("models", "predictions", "evaluation")
    assert {role: found[role] for role in models} == dict.fromkeys(models, 3 * 4)
    assert found["logits"] == 2 * 4


def test_nodes_of_all_documents_keep_the_keys_that_they_have_without_evaluation(made: Config) -> None:
    assigned = parse_config({**values(Path(made.root).parent), "evaluation": {}, "split": {"folds": 3}})
    one, other = ({node.name: node.key for node in whole(build(config))} for config in (made, assigned))
    assert one == other
    assert parse_config({**values(Path("x")), "evaluation": {"folds": 0}}).assignment.folds is None


def test_the_wiring_holds_no_leak_and_logits_of_a_fold_come_of_its_model(made: Config) -> None:
    nodes = build(made)
    check_leaks(nodes)
    both = named(nodes, "models/both@fold1of3")
    assert [read.node.name for read in both.reads[1:]] == ["logits/text@fold1of3", "logits/trees@fold1of3"]
    trees = named(nodes, "logits/trees@fold1of3")
    assert {fit.fold for node in (both, trees) for fit in node.fits} == {Fold(1, 3)}
    assert [read.node.name for read in trees.reads[1:]] == ["embed/columns@fold1of3"]


def test_a_fold_s_scores_are_those_of_its_held_out_documents(made: Config) -> None:
    """Accuracy of fold 1, counted by hand from documents and predictions."""
    root, nodes = Path(made.root), build(made)
    documents, predictions = (
        {row["id"]: row for record in node.dataset(open_root(root)).records().values() for row in
         node.dataset(open_root(root)).read(record).to_pylist()}
        for node in (named(nodes, "documents/x"), named(nodes, "predictions/both@fold1of3"))
    )  # fmt: skip
    held = [row for row in documents.values() if row["split"] != "test" and row["fold"] == 1]
    right = [predictions[row["id"]]["label"] in row["labels"] for row in held]
    metrics = [
        row for row in pq.read_table(root / "latest" / "metrics.parquet").to_pylist()
        if (row["model"], row["fold"], row["metric"]) == ("both", 1, "accuracy")
    ]  # fmt: skip
    assert [(row["split"], row["value"], row["n"]) for row in metrics] == [("test", np.mean(right), len(held))]
    fit = named(nodes, "models/text@fold1of3")
    learned = {i for block in ShardFeatures(fit, open_root(root), "train").blocks() for i in block.ids.to_pylist()}
    assert not learned & {row["id"] for row in held}


def test_results_hold_every_fold_and_what_takes_no_part_is_told(made: Config) -> None:
    root = Path(made.root)
    metrics = pq.read_table(root / "latest" / "metrics.parquet").to_pylist()
    folds = {(row["model"], row["fold"]) for row in metrics if row["metric"] == "accuracy"}
    assert folds == {(name, fold) for name in ("text", "trees", "both") for fold in (None, 0, 1, 2)}
    predictions = pq.read_table(root / "latest" / "predictions.parquet")
    assert predictions.num_rows == 3 * 30
    test = pq.read_table(root / "latest" / "documents.parquet")["split"].to_pylist().count("test")
    told = f"cross-validation: 3 folds of {30 - test} documents; {test} of split test take no part"
    assert told in notes(build(made), open_root(root))
    assert told in (root / "latest" / "report.html").read_text()


def test_a_second_run_does_nothing_and_a_new_document_refits_nothing(copy: Config) -> None:
    root, nodes = Path(copy.root), build(copy)
    assert not [plan.node.name for plan in plan_all(nodes, open_root(root), PlanOptions()) if plan.todo]
    write(root.parent, 31)
    again = counts(run(nodes, open_root(root)))
    assert not [name for name in again if name.startswith(("models", "encoders"))]
    computed = {name: done[1] for name, done in again.items() if name.startswith(("predictions", "logits", "embed"))}
    assert set(computed.values()) == {1}
    assert len(computed) == 12 + 8 + 4


def test_a_model_over_models_predicts_other_documents(copy: Config) -> None:
    root = Path(copy.root)
    new = root.parent / "new.jsonl"
    new.write_text("\n".join(json.dumps({"id": f"n{i}", "text": "sun warm", "size": i}) for i in range(3)))
    source = SourceConfig(reader="jsonl", path=str(new), options=copy.source.options)
    fit, nodes = build_prediction(copy, "both", source, name="new")
    assert fit.fold is None
    assert [node.name for node in nodes] == [
        "documents/new", "clean/text", "logits/text", "embed/columns", "logits/trees", "predictions/both"
    ]  # fmt: skip
    run(nodes, open_root(root))
    dataset = nodes[-1].dataset(open_root(root))
    (table,) = (dataset.read(record) for record in dataset.records().values())
    assert table["status"].to_pylist() == ["ok"] * 3
    assert table["label"][0].as_py() == "x"


def test_forgotten_documents_leave_logits_and_damage_of_them_is_made_good(copy: Config) -> None:
    root, nodes = Path(copy.root), build(copy)
    run(nodes, open_root(root))
    done = forget(copy, ["d3"])
    assert sum(name.startswith("logits/") for name in done.rows) >= 8
    logits = named(nodes, "logits/text")
    dataset = logits.dataset(open_root(root))
    before = {index: record.digest() for index, record in dataset.records().items()}
    assert "d3" not in [i for record in dataset.records().values() for i in dataset.read(record)["id"].to_pylist()]
    (file,) = (root / logits.name / logits.key).glob("000001-*.zarr/logits/c/0/0")
    file.write_bytes(b"\x01" * file.stat().st_size)
    damage = [one for checked in find_all_damage(copy) if checked.label == logits.label for one in checked.damage]
    assert len(damage) == 1
    damage[0].repair()
    assert "logits/text" in counts(run(nodes, open_root(root)))
    assert {index: record.digest() for index, record in dataset.records().items()} == before


def test_a_refit_of_a_base_model_reaches_what_reads_its_logits(made: Config) -> None:
    nodes = build(made)
    changed = {**values(Path(made.root).parent), "embed": {"columns": {"encoder": "tabular", "options": {"numeric":
               "quantile"}}}}  # fmt: skip
    keys = {node.name: node.key for node in build(parse_config(changed))}
    differ = {node.short for node in nodes if node.role == "models" and keys[node.name] != node.key}
    assert differ == {"trees", "both"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"evaluation": {"folds": 1}}, r"evaluation.folds: expected '0, or at least 2', got 1; set it to 5"),
        ({"split": {"folds": 5}}, r"evaluation.folds: expected '5, as split.folds', got 3; give both the same number"),
        (
            {"models": {"a": {"kind": "fixed_max", "options": {"models": ["b", "c"]}},
                        "b": {"kind": "fixed_mean", "options": {"models": ["a", "c"]}}, "c": {"kind": "text"}}},
            "models: expected 'none that reads itself by way of others', got 'a reads b reads a'; leave one of them",
        ),
        (
            {"models": {"a": {"kind": "fixed_max", "options": {"models": ["texxt", "text"]}},
                        "text": {"kind": "text"}}},
            r"models.a.options.models: expected \['a', 'text'\], got 'texxt'; did you mean 'text'",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_in_one_line(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        parse_config({**values(Path("x")), **change})
    assert "\n" not in str(caught.value)
