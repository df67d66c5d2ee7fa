"""Codes that are learnt in a whole run: in folds, for another model, with how well they are decoded; and refusals."""

from typing import Any

import numpy as np
import pytest

from fuseline.flows.config import Config, parse_config
from fuseline.flows.graph import build
from fuseline.models.columns import Dense
from fuseline.models.encoders.autoencoder import Autoencoder
from fuseline.stores.errors import ConfigError
from fuseline.stores.places import open_root
from fuseline.tasks.engine.nodes import Fit, Node, ShardStage, Summary
from tests.drive import run
from tests.flows.conftest import write_documents

SMALL: dict[str, Any] = {"hidden": 6, "inner": 4, "code": 2, "epochs": 2}
MODELS = {
    "weighed": {"kind": "attention", "options": {
        "vectors": ["columns"], "codes": ["codes"], "pixels": None, "dim": 4, "maps": 3, "size": 4, "units": 4,
        "epochs": 2, "lr": 0.01,
    }},
}  # fmt: skip


def configured(folder: Any, **more: Any) -> dict[str, Any]:
    return {
        "root": str(folder / "root"), "models": MODELS, "evaluation": {"folds": 2}, "shard_size": 24,
        "source": {"reader": "jsonl", "path": str(folder / "documents.jsonl"),
                   "options": {"tabular": {"size": "number", "weight": "number"}}},
        "embed": {"columns": {"encoder": "tabular"}},
        "stages": {"words": {"stage": "sequence", "options": {"field": "title"}},
                   "first": {"stage": "learned", "options": {**SMALL, "inputs": ["columns"]}},
                   "codes": {"stage": "learned", "options": {**SMALL, "inputs": ["columns", "first"]}}},
        **more,
    }  # fmt: skip


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    folder = tmp_path_factory.mktemp("learned")
    write_documents(folder, [
        {
            "id": f"d{n}", "label": "ab"[n % 2], "title": f"{'ab'[n % 2]} thing",
            "size": None if n % 9 == 8 else n % 2 + n / 99, "weight": None if n % 9 == 8 else n % 2 * 3,
            "split": "train" if n % 4 else ("valid", "test")[n // 4 % 2],
        }
        for n in range(72)
    ])  # fmt: skip
    return parse_config(configured(folder))


@pytest.fixture(scope="module")
def nodes(config: Config) -> dict[str, Node]:
    nodes = build(config)
    run(nodes, open_root(config.root))
    return {node.name: node for node in nodes}


def test_codes_are_vectors_of_their_own_fold(nodes: dict[str, Node], config: Config) -> None:
    root, found = open_root(config.root), {}
    for name in ("embed/codes", "embed/codes@fold0of2", "embed/codes@fold1of2"):
        node = nodes[name]
        assert isinstance(node, ShardStage)
        dataset = node.dataset(root)
        tables = [dataset.read(record) for _, record in sorted(dataset.records().items())]
        assert [len(table) for table in tables] == [24, 24, 24]
        columns = [Dense.of(table, "embedding") for table in tables]
        present = np.concatenate([column.present for column in columns])
        assert (~present).sum() == 8  # documents without columns
        found[name] = np.concatenate([column.values for column in columns])
        assert found[name].shape == (72, 4)
        assert not found[name][~present].any()
    one, other = found["embed/codes@fold0of2"], found["embed/codes@fold1of2"]
    assert (one != other).any()


def test_how_well_inputs_are_decoded_is_told(nodes: dict[str, Node], config: Config) -> None:
    root, node, fit = open_root(config.root), nodes["reconstructions/codes"], nodes["encoders/codes"]
    assert isinstance(node, Summary)
    assert isinstance(fit, Fit)
    table = node.table(root, "reconstructions")
    assert table is not None
    rows = {(row["split"], row["input"]): row for row in table.to_pylist()}
    assert rows.keys() == {(split, name) for split in ("valid", "test") for name in ("embed/columns", "embed/first")}
    row = rows["test", "embed/columns"]
    assert row["inputs"] == ["embed/columns", "embed/first"]
    record = fit.fitted(root).record()
    assert record is not None
    valid = record.facts["valid_error"]
    assert rows["valid", "embed/columns"]["mse"] == pytest.approx(valid["embed/columns"]["mse"])
    with fit.fitted(root).saved(record).opened() as folder:
        encoder = Autoencoder.load(folder)
    center = encoder.network.get_buffer("center_columns").numpy()
    assert center.shape == (4,)  # two numbers and their flags
    assert row["mse"] > 0
    assert row["documents"] == 8  # of nine, the one without columns is left out


def test_a_second_run_does_nothing(nodes: dict[str, Node], config: Config) -> None:
    assert all(report.rows == 0 for report in run(list(nodes.values()), open_root(config.root)) or [])


@pytest.mark.parametrize(
    ("stages", "message"),
    [
        ({"a": {"stage": "learned", "options": {"inputs": ["nothing"]}}}, "stages.a.options.inputs: expected"),
        (
            {name: {"stage": "learned", "options": {"inputs": [other]}} for name, other in (("a", "b"), ("b", "a"))},
            "stages: expected 'none that reads itself",
        ),
        (
            {"w": {"stage": "sequence"}, "a": {"stage": "learned", "options": {"inputs": ["w"]}}},
            "stages.a.options.inputs: expected",
        ),
    ],
)
def test_inputs_that_are_not_there_are_refused(tmp_path, stages, message) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_config({**configured(tmp_path), "stages": stages, "models": {}})
