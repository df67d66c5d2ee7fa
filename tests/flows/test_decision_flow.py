"""Decisions that learn from the scores of other models: on which documents, and what is refused."""

import json
import random
import shutil
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from drive import run

from fuseline.flows.config import Config, parse_config
from fuseline.flows.experiments.trials import Grid
from fuseline.flows.graph import build
from fuseline.flows.results.publish import publish_results
from fuseline.stores.errors import ConfigError, DataError
from fuseline.stores.places import open_root
from fuseline.tasks.engine.leaks import check_leaks
from fuseline.tasks.engine.nodes import Fit, Node
from fuseline.tasks.engine.rows import ORDINARY, Rows, in_split, split_of
from fuseline.tasks.engine.shard_features import ShardFeatures

WORDS = {"x": ["sun", "warm", "day"], "y": ["moon", "cold", "night"], "z": ["fog", "mist", "grey"]}
BASES = ["text", "trees"]


def write(folder: Path, n: int) -> None:
    """Write documents of three labels: one in three has no telling word, another one no telling size."""
    lines = []
    for i in range(n):
        rng, label = random.Random(i), "xyz"[i % 3]
        words = rng.choices(WORDS[label], k=2) if i % 5 else ["dull"]
        size = "xyz".index(label) + 0.3 * rng.random() if i % 4 else 3 * rng.random()
        lines.append(json.dumps({"id": f"d{i}", "text": " ".join(words), "label": label, "size": size}))
    (folder / "x.jsonl").write_text("\n".join(lines))


def values(folder: Path, **more: Any) -> dict[str, Any]:
    options = {"models": BASES}
    return {
        "name": "x",
        "root": str(folder / "out"),
        "source": {
            "reader": "jsonl", "path": str(folder / "x.jsonl"), "options": {"tabular": {"size": "number"}},
        },
        "shard_size": 64,
        "split": {"valid": 0.3, "test": 0.3},
        "embed": {"columns": {"encoder": "tabular"}},
        "models": {
            "text": {"kind": "tfidf_linear"},
            "trees": {"kind": "lightgbm", "options": {"embeddings": ["columns"], "rounds": 5, "min_rows": 2}},
            "policy": {"kind": "policy", "options": {**options, "epochs": 5, "batch": 16, "steps": 100}},
            "weighted": {"kind": "avg_weighted", "options": options},
            "chosen": {"kind": "ensemble", "options": {**options, "rounds": 5}},
            "fixed": {"kind": "fixed_max", "options": options},
        },
        "report": {"gallery": 1},
        **more,
    }  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Config:
    folder = tmp_path_factory.mktemp("decisions")
    write(folder, 300)
    config = parse_config(values(folder))
    run(build(config), open_root(config.root))
    publish_results(config, [], "run")
    return config


def named(nodes: list[Node], name: str) -> Any:
    (node,) = (node for node in nodes if node.name == name)
    return node


def ids(node: Fit, root: Any, split: str) -> set[str]:
    documents = replace(node, reads=node.reads[:1])
    return {one for block in ShardFeatures(documents, root, split).blocks() for one in block.ids.to_pylist()}


def test_what_learns_from_scores_sees_one_half_of_valid_and_is_tuned_on_the_other(made: Config) -> None:
    nodes, root = build(made), open_root(made.root)
    base, valid = named(nodes, "models/text"), ids(named(nodes, "models/text"), root, "valid")
    for name in ("policy", "weighted", "chosen"):
        fit = named(nodes, f"models/{name}")
        halves = [ids(fit, root, split) for split in (fit.rows.fit, fit.rows.tune)]
        assert halves[0] | halves[1] == valid
        assert not halves[0] & halves[1]
        assert min(map(len, halves)) > len(valid) / 4
        record = fit.fitted(root).record()
        assert record.saw.keys() == {"valid_fit", "valid_tune"}
        assert record.saw["valid_fit"] == len(halves[0])
        assert record.n_rows == len(halves[0])
    assert base.fitted(root).record().saw["train"] == len(ids(base, root, "train"))
    assert named(nodes, "models/fixed").rows == base.rows == ORDINARY
    assert [split_of(name) for name in ("train", "valid_tune")] == ["train", "valid"]


def test_their_scores_on_valid_are_those_of_the_half_that_taught_them_nothing(made: Config) -> None:
    metrics = pq.read_table(Path(made.root) / "latest" / "metrics.parquet").to_pylist()
    n = {(row["model"], row["split"]): row["n"] for row in metrics if row["metric"] == "accuracy"}
    tuning = len(ids(named(build(made), "models/policy"), open_root(made.root), "valid_tune"))
    assert n["policy", "valid"] == n["weighted", "valid"] == n["chosen", "valid"] == tuning < n["text", "valid"]
    assert n["fixed", "valid"] == n["text", "valid"]
    assert len({count for (_, split), count in n.items() if split == "test"}) == 1
    score = {row["model"]: row["value"] for row in metrics if (row["split"], row["metric"]) == ("test", "accuracy")}
    assert score["policy"] > max(score["text"], score["trees"]) <= min(score["chosen"], score["weighted"])


def test_the_wiring_refuses_scores_of_a_model_that_was_fitted_on_the_same_documents(tmp_path: Path) -> None:
    nodes = build(parse_config(values(tmp_path)))
    check_leaks(nodes)
    policy, base = named(nodes, "models/policy"), named(nodes, "models/text")
    for rows, saw in ((Rows("valid", ""), "valid"), (Rows("valid_fit", "valid_tune"), "valid_fit")):
        overlapping = replace(policy, reads=(), fits=(replace(base, rows=rows),))
        with pytest.raises(ConfigError, match=(
            rf"train/policy: documents of valid_fit, valid_tune: expected 'seen by no fit above', "
            rf"got 'train/text, which saw {saw} of all documents'; let it read models that are fitted on train alone"
        )):  # fmt: skip
            check_leaks([overlapping])
    stacked = values(tmp_path)
    stacked["models"]["twice"] = {"kind": "ensemble", "options": {"models": ["policy", "text"]}}
    with pytest.raises(
        ConfigError, match=r"train/twice: documents of valid_fit, valid_tune: .* got 'train/policy, which"
    ):
        build(parse_config(stacked))
    stacked["models"]["twice"]["kind"] = "fixed_mean"  # it learns nothing
    assert build(parse_config(stacked))


def test_in_a_fold_bases_and_policy_are_fitted_on_other_documents_of_the_same_parts(made: Config) -> None:
    config = parse_config({**values(Path(made.root).parent), "evaluation": {"folds": 3}})
    nodes, root = build(config), open_root(config.root)
    run([node for node in nodes if node.role == "documents"], root)
    policy, text = (named(nodes, f"models/{name}@fold1of3") for name in ("policy", "text"))
    seen = [ids(policy, root, "valid_fit"), ids(policy, root, "valid_tune"), ids(text, root, "train")]
    held = ids(text, root, "test")
    assert not set.intersection(*seen, held)
    assert len(set().union(*seen, held)) == sum(map(len, (*seen, held)))
    assert seen[0] | seen[1] == ids(text, root, "valid")
    assert all(seen)


def test_a_sweep_fits_the_trials_of_a_policy_on_its_rows(made: Config) -> None:
    config = parse_config({
        **values(Path(made.root).parent),
        "sweep": {"models": ["policy"], "grids": {"policy": {"positive_weight": [1.0, 5.0], "layers": [1, 2]}}},
    })  # fmt: skip
    trials = Grid(config).trials("policy")
    assert {(trial.point["positive_weight"], trial.point["layers"]) for trial in trials} == set(product((1, 5), (1, 2)))
    assert {trial.node.rows for trial in trials} == {Rows("valid_fit", "valid_tune")}
    assert {trial.node.unseen for trial in trials} == {("valid_fit", "valid_tune")}


@pytest.mark.parametrize(("valid", "message"), [(0.0, "in the valid_fit split"), (0.002, "halves|valid_fit")])
def test_a_valid_split_that_is_too_small_to_cut_is_refused(tmp_path: Path, valid: float, message: str) -> None:
    write(tmp_path, 60)
    config = parse_config(values(tmp_path, split={"valid": valid, "test": 0.3}))
    with pytest.raises(DataError, match=rf"train/chosen: .*({message})"):
        run(build(config), open_root(config.root))


def test_a_document_that_the_source_has_in_train_and_in_valid_is_in_one_of_them(tmp_path: Path) -> None:
    rows = [
        {"id": f"d{i % 40}", "text": "sun", "label": "xy"[i % 2], "split": ["train", "valid"][i // 40]}
        for i in range(80)
    ]
    (tmp_path / "x.jsonl").write_text("\n".join(map(json.dumps, rows)))
    source = {"reader": "jsonl", "path": str(tmp_path / "x.jsonl")}
    models = {name: {"kind": "tfidf_linear"} for name in BASES}
    models["policy"] = {"kind": "policy", "options": {"models": BASES}}
    config = parse_config(values(tmp_path, source=source, embed={}, models=models))
    nodes, root = build(config), open_root(config.root)
    run([node for node in nodes if node.role == "documents"], root)
    fit, base = named(nodes, "models/policy"), named(nodes, "models/text")
    learned = ids(fit, root, "valid_fit") | ids(fit, root, "valid_tune")
    assert not learned & ids(base, root, "train")
    assert len(learned | ids(base, root, "train")) == 40


def test_halves_are_drawn_by_ids_whatever_the_order(made: Config) -> None:
    root = open_root(made.root)
    dataset = named(build(made), "documents/x").dataset(root)
    table = dataset.read(dataset.records()[0])
    for name in ("valid_fit", "valid_tune"):
        kept = set(table.filter(in_split(table, name))["id"].to_pylist())
        backwards = table.take(list(range(table.num_rows))[::-1])
        assert kept == set(backwards.filter(in_split(backwards, name))["id"].to_pylist())


def test_further_evaluations_score_valid_on_the_half_that_taught_nothing_too(made: Config, tmp_path: Path) -> None:
    """Masked inputs, groups and comparisons leave out what the policy was fitted on, as its plain scores do."""
    shutil.copytree(Path(made.root).parent, tmp_path / "copy")
    asked = {"compare": True, "by": ["source"], "missing": {"splits": ["valid", "test"], "shares": []}}
    config = parse_config(values(tmp_path / "copy", evaluation=asked))
    run(build(config), open_root(config.root))
    publish_results(config, [], "again")
    latest = Path(config.root) / "latest"
    metrics = pq.read_table(latest / "metrics.parquet").to_pylist()
    plain = {
        (row["model"], row["split"]): row["n"]
        for row in metrics
        if row["metric"] == "accuracy" and row["condition"] is None
    }
    masked = {(r["model"], r["split"]): r["n"] for r in metrics if r["metric"] == "accuracy" and r["condition"]}
    assert masked == plain
    rows = pq.read_table(latest / "groups.parquet").to_pylist()
    assert {(row["model"], row["split"]): row["n"] for row in rows if row["metric"] == "accuracy"} == plain
    compared = pq.read_table(latest / "comparisons.parquet").to_pylist()
    assert {row["n"] for row in compared if row["split"] == "valid"} == {plain["policy", "valid"]}
    assert {row["n"] for row in compared if row["split"] == "test"} == {plain["policy", "test"]}
    assert plain["policy", "valid"] < plain["text", "valid"]


def test_what_is_told_of_decisions_is_published_and_agrees_with_the_metrics(made: Config) -> None:
    latest = Path(made.root) / "latest"
    told = pq.read_table(latest / "decisions.parquet").to_pylist()
    metrics = {
        (row["model"], row["split"]): row
        for row in pq.read_table(latest / "metrics.parquet").to_pylist()
        if row["metric"] == "accuracy"
    }
    assert {row["model"] for row in told} == {"policy", "weighted", "chosen", "fixed"}
    for row in told:
        own, first = metrics[row["model"], row["split"]], metrics["text", row["split"]]
        assert (row["accuracy"], row["n"]) == (own["value"], own["n"])
        assert row["models"] == BASES
        if row["n"] == first["n"]:
            assert (row["first_accuracy"], *row["others_accuracy"]) == (
                first["value"], metrics["trees", row["split"]]["value"]
            )  # fmt: skip
        assert max(row["first_accuracy"], row["accuracy"]) <= row["oracle_accuracy"]
        assert (row["choice_accuracy"] is None) == (row["model"] in ("weighted", "chosen"))
    quadrants = pq.read_table(latest / "quadrants.parquet").to_pylist()
    n = sum(row["n"] for row in quadrants if row["label"] is None and row["split"] == "test")
    assert n == metrics["text", "test"]["n"]
    curve = pq.read_table(latest / "call_rates.parquet").to_pylist()
    ends = {row["rate"]: row for row in curve if row["by"] == "confidence" and row["split"] == "test"}
    assert ends[0.0]["accuracy"] == metrics["text", "test"]["value"]
    assert ends[1.0]["accuracy"] == metrics["trees", "test"]["value"]
    assert ends[0.0]["spared"] == ["embed/columns", "predict/logits-trees"]
    calibrated = pq.read_table(latest / "calibration.parquet").to_pylist()
    assert {(row["model"], row["split"]) for row in calibrated} == {(m, s) for m in BASES for s in ("valid", "test")}
    assert "Decisions between models" in (latest / "report.html").read_text()
