"""A model that has learnt little is named with the cure; one that has learnt is not."""

from pathlib import Path

import pytest

from fuseline.flows.results.undertrained import undertrained
from tests.flows.conftest import Cli, document, settings, write_config, write_documents


def test_a_run_and_its_report_name_the_model_that_learnt_little(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    write_documents(tmp_path, [document(tmp_path, number) for number in range(60)])
    given = {"preset": "fasttext", "dim": 8}
    models = {
        "weak": {"kind": "text", "options": {**given, "lr": 0.001, "epochs": 1}},
        "good": {"kind": "text", "options": {**given, "lr": 0.5, "epochs": 20}},
    }
    values = {**settings(tmp_path), "embed": {}, "quantize": {}, "models": models}
    result = cli("run", write_config(tmp_path, values))
    assert result.exit_code == 0, result.output
    named = [line for line in result.output.splitlines() if "has learnt little" in line]
    assert len(named) == 1
    assert named[0].startswith("train/weak has learnt little: its loss in training is 1.1, ")
    assert named[0].endswith("leave lr and epochs out of its options, to be chosen on valid, or raise them")
    report = (tmp_path / "out" / "latest" / "report.html").read_text()
    assert report.count("has learnt little") == 1


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
