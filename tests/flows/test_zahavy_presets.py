"""The rows of paper Z: every model is wired, and is of the size that the paper describes."""

from pathlib import Path

import pytest
import yaml

from fuseline.flows.config import Config, load_config
from fuseline.flows.graph import build
from fuseline.models.classifiers.concat_e2e import ConcatE2EConfig
from fuseline.models.classifiers.text_cnn import TextCNNConfig
from fuseline.tasks.stages.sequences import SequenceConfig

CONF = Path(__file__).parents[2] / "conf" / "papers" / "zahavy.yaml"


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    """Return a configuration that extends the presets by a source, as a user's does."""
    folder = tmp_path_factory.mktemp("zahavy")
    (folder / "papers").symlink_to(CONF.parent)
    own = {"extends": str(CONF), "source": {"reader": "jsonl", "path": "documents.jsonl"}}
    (folder / "own.yaml").write_text(yaml.safe_dump(own))
    return load_config(folder / "own.yaml", [f"extends={CONF}"])


def test_networks_over_words_are_those_of_the_paper(config: Config) -> None:
    words = config.stages["title_words"].parsed()
    assert isinstance(words, SequenceConfig)
    assert (words.field, words.length, words.min_count) == ("title", 40, 1)
    sizes = {}
    for name in ("textcnn", "textcnn_softmax", "textcnn_100"):
        options = config.models[name].parsed()
        assert isinstance(options, TextCNNConfig)
        assert (options.dim, options.widths, options.dropout, options.sequence) == (100, (3, 4, 5), 0.5, "title_words")
        sizes[name] = options.maps, options.loss, options.positive_weight
    assert sizes == {
        "textcnn": (128, "sigmoid", 30), "textcnn_softmax": (128, "auto", 1), "textcnn_100": (100, "auto", 1)
    }  # fmt: skip


def test_fusions_read_the_title_and_the_picture_and_start_where_the_paper_says(config: Config) -> None:
    started = config.models["concat_e2e_trained"].parsed()
    assert isinstance(started, ConcatE2EConfig)
    assert started.start == ("textcnn", "vgg")
    assert [(group.match, group.lr) for group in started.groups] == [("branches.title_words.*", 0.1)]
    whole = config.models["concat_e2e"].parsed()
    assert isinstance(whole, ConcatE2EConfig)
    assert (whole.pixels, whole.architecture, whole.pretrained, whole.vectors) == ("pixels", "vgg16", False, ())
    depths = [config.models[name].options["layers"] for name in ("concat_frozen", "concat_frozen_2", "concat_frozen_3")]
    assert depths == [1, 2, 3]


def test_every_row_is_wired(config: Config) -> None:
    nodes = {node.name: node for node in build(config)}
    assert {f"models/{name}" for name in config.models} <= nodes.keys()
    assert [read.node.name for read in nodes["models/concat_frozen"].reads[1:]] == ["embed/image", "hidden/textcnn"]
