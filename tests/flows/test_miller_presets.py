"""Paper M's eleven models: optimiser and batch of table 2, Keras's defaults, and stand-ins that a run names."""

from pathlib import Path
from typing import Any, cast

import pytest
import yaml

from fuseline.flows.config import Config, load_config
from fuseline.flows.graph import build
from fuseline.flows.results.outcome import notes
from fuseline.models.classifiers.towers import TowersConfig
from fuseline.models.training.optimizers import OPTIMIZERS
from fuseline.stores.places import open_root
from fuseline.tasks.engine.nodes import Context, Fit
from fuseline.tasks.stages.train import TrainConfig, fit_classifier
from tests.flows.conftest import write_documents
from tests.models.classifiers.test_towers import documents
from tests.models.synthetic import Blocks

PRESETS = Path(__file__).parents[2] / "conf" / "papers" / "miller.yaml"
TABLE_2 = {
    "inceptionv3": ("adagrad", 256), "resnet50v2": ("nadam", 256), "mobilenetv2": ("nadam", 256),
    "use-dnn": ("adamax", 256), "bert-dnn": ("nadam", 256), "inceptionv3-use": ("adagrad", 128),
    "inceptionv3-bert": ("adagrad", 96), "resnet50v2-use": ("adamax", 128), "resnet50v2-bert": ("nadam", 96),
    "mobilenetv2-use": ("adamax", 128), "mobilenetv2-bert": ("nadam", 96),
}  # fmt: skip


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """Return a configuration that extends the presets."""
    path = write_documents(tmp_path, [{"id": f"d{n}", "label": "ab"[n % 2], "title": f"t{n}"} for n in range(9)])
    own = {"extends": str(PRESETS), "root": str(tmp_path / "root"), "source": {"reader": "jsonl", "path": str(path)}}
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(own))
    return load_config(tmp_path / "own.yaml", [f"extends={PRESETS}"])


def options(config: Config, name: str) -> TowersConfig:
    return cast(TowersConfig, config.models[name].parsed())


def test_every_row_has_the_published_optimiser_and_batch(config: Config) -> None:
    given = {name: (options(config, name).optimizer, options(config, name).batch) for name in config.models}
    assert given == TABLE_2


def test_splits_choice_and_evaluation_are_the_paper_s(config: Config) -> None:
    split = config.split
    assert (split.cut_train, split.method, split.valid, split.test) == (True, "stratified", 0.02, 0.02)
    assert {options(config, name).select for name in config.models} == {config.report.metric} == {"top_5"}
    assert config.evaluation.missing is not None
    roles = {node.role for node in build(config.model_copy(update={"models": {"use-dnn": config.models["use-dnn"]}}))}
    assert {"missing", "maps"} <= roles


def test_the_defaults_of_keras_are_written_out(config: Config) -> None:
    """A tf.keras 2 model with default options: rate 0.001, epsilon 1e-7, and Adagrad's sums start at 0.1."""
    for name, (optimizer, _) in TABLE_2.items():
        given: dict[str, Any] = options(config, name).optimizer_options
        assert given.keys() == OPTIMIZERS[optimizer].options.keys()
        assert (options(config, name).lr, given["eps"]) == (0.001, 1e-7)
        assert given.get("initial_accumulator_value", 0.1) == 0.1


def test_what_each_row_reads_and_what_stands_in(config: Config) -> None:
    for name in TABLE_2:
        one, (first, _, second) = options(config, name), name.partition("-")
        pictures, texts = first not in ("use", "bert"), second != "" or first in ("use", "bert")
        assert {column.name for column in config.models[name].inputs()} == {
            *(["embed/pixels"] if pictures else []), *(["embed/title", "embed/description"] if texts else []),
        }  # fmt: skip
        assert len(one.stands_in_for) == pictures + texts
        assert one.freeze_fraction == (0.5 if first in ("inceptionv3", "resnet50v2") else 0)
        assert one.pretrained == pictures


def test_a_run_says_which_networks_stand_in(config: Config) -> None:
    fits = {node.short: node for node in build(config) if isinstance(node, Fit) and node.role == "models"}
    assert fits.keys() == TABLE_2.keys()
    node = fits["use-dnn"]
    block = documents(40)
    train = Blocks(block.at(slice(0, 30)))
    save, n, facts = fit_classifier(
        train, Blocks(block.at(slice(30, 40))), cast(TrainConfig, node.config), Context("", {}, {})
    )
    root = open_root(config.root)
    node.fitted(root).commit(save, n_rows=n, shards={}, fitted={}, facts=facts)
    assert "train/use-dnn: other networks stand in for USE v4 of the paper" in notes([node], root)
