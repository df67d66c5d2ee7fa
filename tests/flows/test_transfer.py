"""A model of a part of the labels, and a linear probe on what it learnt for the others: up to scores and refusals."""

import json
import random
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from drive import run

from fuseline.flows.config import Config, parse_config
from fuseline.flows.experiments.trials import swept
from fuseline.flows.graph import build
from fuseline.flows.results.outcome import notes
from fuseline.flows.results.publish import publish_results
from fuseline.stores.errors import ConfigError
from fuseline.stores.places import open_root

HELD: dict[str, Any] = {"held_out": 0.5, "seed": 3}
NEW = HELD | {"new": True}


def values(folder: Path, **more: Any) -> dict[str, Any]:
    vectors = {"epochs": 30, "lr": 0.02, "dim": 16}
    return {
        "name": "x", "root": str(folder / "out"), "shard_size": 64,
        "source": {
            "reader": "jsonl", "path": str(folder / "x.jsonl"),
            "options": {"tabular": {"kind": "category"}},
        },
        "split": {"valid": 0.2, "test": 0.3},
        "embed": {"columns": {"encoder": "tabular"}},
        "models": {
            "base": {"kind": "concat_frozen", "labels": HELD, "options": {**vectors, "vectors": ["columns"]}},
            "probe": {
                "kind": "concat_frozen", "labels": NEW,
                "options": {"vectors": ["hidden/base"], "layers": 1, "dropout": 0.0, "epochs": 30, "lr": 0.05},
            },
            "text": {"kind": "tfidf_linear"},
        },
        "evaluation": {"compare": True, "by": ["source"], "missing": {"shares": []}},
        "report": {"gallery": 4},
        **more,
    }  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Config:
    folder = tmp_path_factory.mktemp("transfer")
    lines = []
    for i in range(400):
        rng, c = random.Random(i), i % 8
        kind = f"k{c if i % 10 else rng.randrange(8)}"
        lines.append(json.dumps({"id": f"d{i}", "text": f"word{c} sun", "label": f"c{c}", "kind": kind}))
    (folder / "x.jsonl").write_text("\n".join(lines))
    config = parse_config(values(folder))
    run(build(config), open_root(config.root))
    publish_results(config, [], "run")
    return config


def test_both_parts_are_learned_and_scored_on_their_own_documents_alone(made: Config) -> None:
    latest = Path(made.root) / "latest"
    documents = {row["id"]: row for row in pq.read_table(latest / "documents.parquet").to_pylist()}
    said: dict[str, dict[str, str]] = {}
    for row in pq.read_table(latest / "predictions.parquet").to_pylist():
        said.setdefault(row["model"], {})[row["id"]] = row["label"]
    known, new = ({*said[name].values()} for name in ("base", "probe"))
    assert not known & new
    assert known | new == {f"c{i}" for i in range(8)}
    assert 2 <= len(known) <= 6
    metrics = pq.read_table(latest / "metrics.parquet").to_pylist()
    plain = [row for row in metrics if row["condition"] is None]
    for name, labels in (("base", known), ("probe", new), ("text", known | new)):
        own = {one: row["labels"][0] for one, row in documents.items() if row["split"] == "test"}
        own = {one: label for one, label in own.items() if label in labels}
        (row,) = (r for r in plain if (r["model"], r["split"], r["metric"]) == (name, "test", "accuracy"))
        right = sum(said[name][one] == label for one, label in own.items())
        assert (row["n"], row["value"]) == (len(own), pytest.approx(right / len(own)))
        assert row["value"] > 0.8
        masked = [r["n"] for r in metrics if (r["model"], r["split"], r["metric"]) == (name, "test", "accuracy")]
        assert {*masked} == {len(own)}
        grouped = pq.read_table(latest / "groups.parquet").to_pylist()
        assert {
            r["n"] for r in grouped if (r["model"], r["split"], r["metric"]) == (name, "test", "accuracy")
        } == {len(own)}  # fmt: skip
    # Nothing compares models that are scored on different documents, and no example is of a class that one never saw.
    assert not pq.read_table(latest / "comparisons.parquet").num_rows
    gallery = next(node for node in build(made) if node.name == "gallery/probe")
    table = gallery.table(open_root(made.root), "gallery")  # type: ignore[attr-defined]
    assert {label for labels in table["labels"].to_pylist() for label in labels} <= new
    said_of = notes(build(made), open_root(made.root))
    assert "train/base: learns, and is scored on, the labels that are not held out (0.5 of all, seed 3)" in said_of
    assert "train/probe: learns, and is scored on, the labels that are held out (0.5 of all, seed 3)" in said_of
    assert not any("fitted on" in note for note in said_of)
    assert swept(made) == ["text"]


def test_a_model_of_all_labels_keeps_its_key(made: Config) -> None:
    spec = made.models["text"]
    alone = parse_config(values(Path(made.root).parent, models={"text": spec.model_dump()}))
    keys = [{node.name: node.key for node in build(one)} for one in (made, alone)]
    assert keys[0]["models/text"] == keys[1]["models/text"]
    base = next(node for node in build(alone) if node.name == "models/text")
    assert "labels" not in base.manifest.config


@pytest.mark.parametrize(
    ("models", "more", "message"),
    [
        ({}, {"report": {"quadrants": ["base"]}}, r"report.quadrants: expected 'models of all labels', got 'base'"),
        ({}, {"sweep": {"models": ["base"]}}, r"sweep.models: expected 'models of all labels', got 'base'"),
        (
            {"mean": {"kind": "fixed_mean", "options": {"models": ["base", "text"]}}}, {},
            r"models.mean.labels: expected 'the labels that are not .*got 'None'; decide between models of the same",
        ),
        ({"text": {"kind": "tfidf_linear", "labels": {"held_out": 1.5}}}, {}, r"models.text.labels.held_out"),
        ({"text": {"kind": "tfidf_linear", "labels": {"new": True}}}, {}, r"models.text.labels.held_out"),
    ],
)  # fmt: skip
def test_what_cannot_be_compared_is_refused(models: dict[str, Any], more: dict[str, Any], message: str) -> None:
    given = values(Path("x"), **more)
    with pytest.raises(ConfigError, match=message):
        parse_config({**given, "models": {**given["models"], **models}})


def test_a_decision_between_models_of_one_part_is_scored_on_it(made: Config, tmp_path: Path) -> None:
    folder = Path(made.root).parent
    given = values(folder, root=str(tmp_path / "out"), report={"gallery": 0}, evaluation={})
    given["models"]["other"] = given["models"]["base"] | {"seed": 1}
    given["models"]["mean"] = {"kind": "fixed_mean", "labels": HELD, "options": {"models": ["base", "other"]}}
    config = parse_config(given)
    run(build(config), open_root(config.root))
    publish_results(config, [], "run")
    latest = tmp_path / "out" / "latest"
    (row,) = (r for r in pq.read_table(latest / "decisions.parquet").to_pylist() if r["split"] == "test")
    accuracy = {
        r["model"]: (r["n"], r["value"])
        for r in pq.read_table(latest / "metrics.parquet").to_pylist()
        if (r["split"], r["metric"]) == ("test", "accuracy")
    }
    assert (row["n"], row["accuracy"]) == accuracy["mean"]
    assert (row["n"], row["first_accuracy"]) == accuracy["base"]
    assert row["n"] < accuracy["text"][0]
