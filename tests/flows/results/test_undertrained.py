"""A model that has learnt little is named with the cure; one that has learnt is not."""

from pathlib import Path
from typing import cast

import pytest

from fuseline.flows.config import load_config
from fuseline.flows.graph import build
from fuseline.flows.results.outcome import notes
from fuseline.flows.results.undertrained import undertrained
from fuseline.stores.places import open_root
from fuseline.tasks.engine.nodes import Context, Fit
from fuseline.tasks.stages.train import TrainConfig, fit_classifier
from tests.flows.conftest import settings, write_config
from tests.models.synthetic import Blocks, documents


@pytest.mark.parametrize("kind", ["text", "image", "gmu"])
def test_the_model_that_learnt_little_is_named_and_the_good_one_is_not(kind: str, tmp_path: Path) -> None:
    given = {"text_embedding": "image"} if kind == "gmu" else {"preset": "fasttext", "dim": 8}
    weak, good = {"lr": 0.001, "epochs": 1}, {"lr": 0.02 if kind == "gmu" else 0.5, "epochs": 20}
    models = {name: {"kind": kind, "options": {**given, **own}} for name, own in (("weak", weak), ("good", good))}
    config = load_config(write_config(tmp_path, {**settings(tmp_path), "models": models}))
    root, nodes = open_root(config.root), build(config)
    train, valid = Blocks(documents(300)), Blocks(documents(60, seed=1))
    for node in nodes:
        if isinstance(node, Fit) and node.role == "models":
            save, n_rows, facts = fit_classifier(train, valid, cast(TrainConfig, node.config), Context("", {}, {}))
            node.fitted(root).commit(save, n_rows=n_rows, shards={}, fitted={}, facts=facts)
    named = [line for line in notes(nodes, root) if "has learnt little" in line]
    assert [line.partition(" ")[0] for line in named] == ["train/weak"]
    assert named[0].endswith("leave lr and epochs out of its options, to be chosen on valid, or raise them")


@pytest.mark.parametrize(
    ("losses", "named"), [([2.9], True), ([3.0, 2.3], True), ([3.0, 2.2], False), ([1.0, 9.0, 400.0], False)]
)  # fmt: skip
def test_the_best_epoch_tells(losses: list[float], named: bool) -> None:
    """A rate that is high for sure labels lifts later losses: such a model scored 96 % on valid."""
    found = [*undertrained("train/text", {"loss_per_epoch": losses, "frequency_losses": {"": 3.0}})]
    assert bool(found) is named


def test_parts_and_searched_models_are_named_as_such() -> None:
    image = {"loss_per_epoch": [3.0], "search": {}}
    facts = {"image": image, "text": {"loss_per_epoch": [0.1]}, "frequency_losses": {"image": 3.1, "text": 3.1}}
    (line,) = undertrained("train/both", facts)
    assert line.startswith("train/both, image, has learnt little")
    assert line.endswith("so its input may say little of the labels")
    assert not [*undertrained("train/trees", {"trees": 3})]
