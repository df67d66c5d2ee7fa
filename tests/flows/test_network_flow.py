"""Networks in a whole run: sequences, hidden vectors, and starts from other networks, in folds too."""

from typing import Any

import numpy as np
import pytest

from fuseline.flows.config import Config, parse_config
from fuseline.flows.experiments.trials import Grid, feature_nodes
from fuseline.flows.graph import build
from fuseline.models.classifiers.concat_e2e import ConcatE2E
from fuseline.models.classifiers.text_cnn import TextCNN
from fuseline.models.columns import Dense
from fuseline.stores.errors import ConfigError
from fuseline.stores.places import open_root
from fuseline.tasks.engine.nodes import Fit, Node, ShardStage, ordered
from fuseline.tasks.experiments.grid import SweepConfig
from tests.drive import run
from tests.flows.conftest import write_documents

SMALL: dict[str, Any] = {"dim": 5, "maps": 3, "epochs": 1, "lr": 1e-9}
BRANCH = "branches.words.words.weight"


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    """Write documents whose label is their colour, one in six without a title."""
    folder = tmp_path_factory.mktemp("networks")
    colours = ("red", "green", "blue")
    write_documents(folder, [
        {"id": f"d{n}", "label": colours[n % 3], "title": None if n % 6 == 5 else f"{colours[n % 3]} thing {n % 5}",
         "size": float(n % 3), "split": "train" if n % 4 else ("valid", "test")[n // 4 % 2]}
        for n in range(72)
    ])  # fmt: skip
    joint = {**SMALL, "sequences": ["words"], "vectors": ["columns"], "units": 4}
    models = {
        "cnn": {"kind": "text_cnn", "options": {**SMALL, "lr": 0.01}, "seed": 3},
        "drawn": {"kind": "concat_e2e", "options": joint},
        "started": {"kind": "concat_e2e", "options": {**joint, "start": ["cnn"]}},
        "frozen": {"kind": "concat_frozen", "options": {"vectors": ["columns", "hidden/cnn"], "epochs": 2, "lr": 0.01}},
    }
    tabular = {"tabular": {"size": "number"}}
    return parse_config({
        "root": str(folder / "root"), "models": models, "evaluation": {"folds": 2},
        "source": {"reader": "jsonl", "path": str(folder / "documents.jsonl"), "options": tabular},
        "embed": {"columns": {"encoder": "tabular"}},
        "stages": {"words": {"stage": "sequence", "options": {"field": "title"}}},
    })  # fmt: skip


@pytest.fixture(scope="module")
def nodes(config: Config) -> dict[str, Node]:
    """Make the models and all that they rest on."""
    wanted = {f"models/{name}{fold}" for name in ("drawn", "started", "frozen") for fold in ("", "@fold1of2")}
    nodes = ordered(node for node in build(config) if node.name in wanted)
    run(nodes, open_root(config.root))
    return {node.name: node for node in nodes}


def loaded(kind: Any, nodes: dict[str, Node], config: Config, name: str) -> Any:
    node = nodes[f"models/{name}"]
    assert isinstance(node, Fit)
    fitted = node.fitted(open_root(config.root))
    record = fitted.record()
    assert record is not None
    with fitted.saved(record).opened() as folder:
        return kind.load(folder)


@pytest.mark.parametrize("fold", ["", "@fold1of2"])
def test_a_training_starts_from_the_network_of_its_own_fold(nodes: dict[str, Node], config: Config, fold: str) -> None:
    cnn = loaded(TextCNN, nodes, config, f"cnn{fold}")._arrays()[BRANCH]
    started = loaded(ConcatE2E, nodes, config, f"started{fold}")._arrays()[BRANCH]
    drawn = loaded(ConcatE2E, nodes, config, f"drawn{fold}")._arrays()[BRANCH]
    np.testing.assert_allclose(started, cnn, atol=1e-6)
    assert np.abs(drawn - cnn).max() > 0.01


def test_a_trial_of_a_sweep_starts_from_the_trained_network(nodes: dict[str, Node], config: Config) -> None:
    """Without the network a training that is to start from it is refused."""
    grid = {"models": ["started"], "lr": [1e-9], "epochs": [1], "dim": [5]}
    own = config.model_copy(update={"sweep": SweepConfig.model_validate(grid)})
    run(feature_nodes(own), open_root(own.root))
    (trial,) = Grid(own).trials("started")
    run([trial.node], open_root(own.root))
    (found,) = Grid(own).outcomes([trial])
    assert found is not None
    assert (found.record.status, found.valid("accuracy") is not None) == ("ok", True)


def test_another_start_is_no_axis_of_a_sweep(config: Config) -> None:
    grid = SweepConfig.model_validate({"models": ["started"], "grids": {"started": {"start": [["cnn"], []]}}})
    with pytest.raises(ConfigError, match="trials may differ in', got 'start'; add a model with another"):
        Grid(config.model_copy(update={"sweep": grid})).trials("started")


def test_hidden_vectors_are_those_of_the_network_and_absent_without_words(
    nodes: dict[str, Node], config: Config
) -> None:
    stage = nodes["hidden/cnn"]
    assert isinstance(stage, ShardStage)
    dataset = stage.dataset(open_root(config.root))
    tables = [dataset.read(record) for record in dataset.records().values()]
    vectors = [Dense.of(table, "embedding") for table in tables]
    assert {vector.values.shape[1] for vector in vectors} == {9}
    absent = sum(int((~vector.present).sum()) for vector in vectors)
    assert absent == 12
    assert not any(vector.values[~vector.present].any() for vector in vectors)
    assert {status for table in tables for status in table["status"].to_pylist()} == {"ok", "no_input"}
