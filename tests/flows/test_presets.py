"""`models: {preset: fast}`: usual models by one word, as far as the rest of the configuration allows."""

from pathlib import Path

import pytest
import yaml

from fuseline.flows.config import left_out, load_config, parse_config
from fuseline.flows.presets import PRESETS
from fuseline.models.registry import MODELS
from fuseline.stores.errors import ConfigError
from tests.flows.conftest import Cli

IMAGE = {"embed": {"image": {"encoder": "efficientnet_lite2"}}}
PQ = {**IMAGE, "quantize": {"pq": {"quantizer": "pq", "embedding": "image"}}}
TEXT = {**PQ, "embed": {**IMAGE["embed"], "text": {"encoder": "minilm"}}}


@pytest.mark.parametrize(
    ("preset", "rest", "names"),
    [
        ("fast", {}, ["text"]),
        ("fast", IMAGE, ["text", "image", "additive"]),
        ("fast", PQ, ["text", "image", "additive", "pq"]),
        ("good", {}, ["text", "tfidf_linear"]),
        ("good", PQ, [*PRESETS["fast"], "max", "bilinear", "tfidf_linear", "lightgbm"]),
        ("good", TEXT, [*PRESETS["good"]]),
    ],
)
def test_a_preset_names_the_models_whose_inputs_are_there(preset, rest, names) -> None:
    config = parse_config({**rest, "models": {"preset": preset}})
    assert {name: model.kind for name, model in config.models.items()} == {name: name for name in names}


def test_every_preset_names_models_that_exist() -> None:
    assert all(set(names) <= set(MODELS) for names in PRESETS.values())


def test_a_preset_is_the_models_that_it_stands_for() -> None:
    named = {**PQ, "models": {name: {"kind": name} for name in PRESETS["fast"]}}
    assert parse_config({**PQ, "models": {"preset": "fast"}}).digest == parse_config(named).digest


def test_boosting_reads_every_embedding() -> None:
    config = parse_config({**TEXT, "models": {"preset": "good"}})
    assert config.models["lightgbm"].options["embeddings"] == ["image", "text"]


def test_sequences_are_no_vectors() -> None:
    words = {"words": {"stage": "sequence"}}
    models = parse_config({**TEXT, "stages": words, "models": {"preset": "good"}}).models
    assert models["lightgbm"].options["embeddings"] == ["image", "text"]


def test_models_stand_beside_a_preset_and_options_over_its_own() -> None:
    beside = {"text": {"options": {"lr": 0.5}, "seed": 3}, "words": {"kind": "text", "options": {"word_ngrams": 2}}}
    models = parse_config({"models": {"preset": "fast", **beside}}).models
    assert (models["text"].kind, models["text"].options, models["text"].seed) == ("text", {"lr": 0.5}, 3)
    assert models["words"].options == {"word_ngrams": 2}


@pytest.mark.parametrize("preset", ["quick", 3, ["fast"]])
def test_an_unknown_preset_is_refused_with_those_there_are(preset) -> None:
    with pytest.raises(ConfigError, match=r"models\.preset: expected \['fast', 'good'\], got .*; choose one of them"):
        parse_config({"models": {"preset": preset}})


@pytest.mark.parametrize("embed", [[1], "x", {1: {}, "a": {}}, {"a": 3, None: {}}])
def test_settings_that_are_wrong_are_refused_as_without_a_preset(embed: object) -> None:
    with pytest.raises(ConfigError, match=r"embed|encoder"):
        parse_config({"embed": embed, "models": {"preset": "good"}})


def test_a_common_seed_is_that_of_models_that_name_none() -> None:
    values = {"seed": 7, "models": {"preset": "fast", "text": {"seed": 3}, "gmu": {"kind": "gmu"}}, **TEXT}
    config = parse_config(values)
    assert {name: model.seed for name, model in config.models.items()} == {
        "text": 3, "image": 7, "additive": 7, "pq": 7, "gmu": 7
    }  # fmt: skip
    assert parse_config(yaml.safe_load(config.to_yaml())) == config
    assert config.digest != parse_config({**values, "seed": 8}).digest
    plain = {**values, "seed": 0}
    assert parse_config(plain).digest == parse_config({k: v for k, v in plain.items() if k != "seed"}).digest


def test_a_model_may_be_called_preset() -> None:
    assert parse_config({"models": {"preset": {"kind": "text"}}}).models["preset"].kind == "text"


def test_a_file_that_extends_another_changes_its_preset(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text(yaml.safe_dump({**PQ, "models": {"preset": "good"}}))
    child = tmp_path / "child.yaml"
    child.write_text("extends: base.yaml\nmodels: {preset: fast}\n")
    assert list(load_config(child).models) == [*PRESETS["fast"]]
    assert load_config(child, ["models.text.options.lr=0.5"]).models["text"].options == {"lr": 0.5}


def test_what_is_left_out_is_shown(cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text(yaml.safe_dump({**IMAGE, "models": {"preset": "fast"}}))
    assert left_out(file) == {"pq": "no codebook 'pq' (quantize.pq)"}
    shown = cli("config", "show", file).stdout
    assert "# model pq is left out of the preset: no codebook 'pq' (quantize.pq)\n" in shown
    assert list(yaml.safe_load(shown)["models"]) == ["text", "image", "additive"]
    assert "models: {preset: fast}" in cli("describe", "preset", "fast").stdout
    assert "lightgbm" in cli("list", "presets").stdout
