"""`fuseline config`: what is shown, what is found missing, and what a first configuration holds."""

from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml
from PIL import Image

from fuseline.flows.config import load_config
from fuseline.flows.graph import build
from fuseline.stores.places import open_root
from fuseline.tasks.engine.nodes import Fit
from tests.fixtures.layouts import LAYOUTS
from tests.flows.conftest import Cli, settings, write_config, write_documents

VECTORS = "models.text.options.pretrained_vectors"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    write_documents(tmp_path, [{"id": "a", "text": "alpha", "label": "x"}])
    return write_config(tmp_path, settings(tmp_path))


def needs(cli: Cli, *arguments: object) -> dict[str, dict[str, Any]]:
    return {row["name"]: row for row in orjson.loads(cli("config", "check", *arguments, "--json").stdout)}


def test_the_old_spelling_answers_with_the_new_one(cli: Cli, config: Path) -> None:
    old = cli("show", config, "--set", "name=x")
    assert (old.exit_code, old.stdout) == (2, "")
    assert len(old.stderr.splitlines()) == 1
    assert f"expected 'fuseline config show {config} --set name=x'" in old.stderr
    assert "  show " not in cli("--help").output


def test_show_prints_what_loads_to_the_same(cli: Cli, config: Path, tmp_path: Path) -> None:
    shown = cli("config", "show", config).stdout
    again = tmp_path / "again.yaml"
    again.write_text(shown)
    assert shown.startswith(f"# digest {load_config(again).digest}\n")


def test_show_says_what_fits_chose(cli: Cli, config: Path, tmp_path: Path) -> None:
    models = {name: {"kind": "text", "options": {"dim": 8, "minn": 0}} for name in ("fitted", "none", "undecided")}
    models["given"] = {"kind": "text", "options": {"preset": "fasttext"}}
    write_config(tmp_path, {**settings(tmp_path), "models": models})
    taken = {"lr": 0.5, "epochs": 25, "word_ngrams": 1}
    trials = [{"options": taken, "documents": n, "score": 0.6125, "sureness": 0.5} for n in (30, 90)]
    search = {"chosen": taken, "valid_p1": 0.6125, "documents": 90, "trials": trials}
    for name, facts in {"fitted": {"search": search, "restarts": 1, "lr": 0.25}, "undecided": {}, "given": {}}.items():
        (node,) = (one for one in build(load_config(config)) if one.name == f"models/{name}")
        assert isinstance(node, Fit)
        place = node.fitted(open_root(tmp_path / "out"))
        place.commit(lambda folder: (folder / "x").touch(), n_rows=1, shards={}, fitted={}, facts=facts)
    shown = cli("config", "show", config).stdout
    assert yaml.safe_load(shown)["models"]["fitted"]["options"] == {"dim": 8, "minn": 0}
    fitted, none, undecided = (line for line in shown.splitlines() if line.startswith("# model"))
    chosen = "lr 0.5, epochs 25, word_ngrams 1; precision at 1 on valid 61.3 %, 2 trials on up to 90 documents"
    halved = "at that lr the loss was not finite: fitted with lr 0.25"
    assert fitted == f"# model fitted: chosen at the fit: {chosen}; {halved}"
    assert none == "# model none: lr, epochs, weighting, word_ngrams, buckets are chosen at the fit"
    assert undecided.endswith("buckets were left as they start: there was nothing to choose by")


def test_show_needs_no_weights(cli: Cli, config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.delenv("FUSELINE_WEIGHTS", raising=False)
    lacking = ("config", "show", config, "--set", "embed.image.encoder=resnet152")
    result = cli(*lacking, "--set", "models.text.options.lr=auto")
    assert result.exit_code == 0
    assert "# options that models chose are not known: resnet152: expected" in result.stdout
    # Where none is chosen nothing is missed.
    assert "not known" not in cli(*lacking).stdout


def test_check_lists_what_is_here(cli: Cli, config: Path) -> None:
    result = cli("config", "check", config)
    assert result.exit_code == 0, result.output
    rows = needs(cli, config)
    assert {name: row["state"] for name, row in rows.items()} == dict.fromkeys(
        ["settings", "source", "embed.image (efficientnet_lite2)", "stages"], "ok"
    )
    assert rows["source"]["detail"].startswith(f"{config.parent}/documents.jsonl: documents.jsonl")


@pytest.mark.parametrize(
    ("override", "name", "state", "said"),
    [
        ("embed.image.encoder=resnet152", "embed.image (resnet152)", "missing", "on a machine with access download"),
        ("embed.image.options.device=cuda:9", "stages", "wrong", "device: expected one of"),
        ("source.path=absent.jsonl", "source", "wrong", "expected 'a file or folder that exists'"),
        (f"{VECTORS}=no.vec", VECTORS, "missing", "no.vec"),
    ],
)  # fmt: skip
def test_check_lists_what_is_missing(
    cli: Cli, config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, override: str, name: str, state: str,
    said: str,
) -> None:  # fmt: skip
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.delenv("FUSELINE_WEIGHTS", raising=False)
    result = cli("config", "check", config, "--set", override)
    assert result.exit_code == 2
    assert f"{state}: {name}: " in result.stderr
    assert said in result.stderr
    assert needs(cli, config, "--set", override)[name]["state"] == state


def test_check_finds_an_empty_source(cli: Cli, config: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    result = cli("config", "check", config, "--set", f"source.path={tmp_path / 'empty'}")
    assert result.exit_code == 2
    assert "source: source" in result.stderr


def test_check_refuses_wrong_settings(cli: Cli, config: Path) -> None:
    result = cli("config", "check", config, "--set", "models.text.options.dmi=3")
    assert result.exit_code == 2
    assert "did you mean 'dim'" in result.stderr


def test_a_first_configuration_names_columns_and_models(cli: Cli, tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    rows = "".join(f'"a: {n}",a.png,shirts,{n}\n' for n in range(9))
    (tmp_path / "my products.csv").write_text(f"caption,photo,category,price\n{rows}")
    file = tmp_path / "conf" / "mine.yaml"
    written = cli("init", tmp_path / "my products.csv", "-o", file)
    assert written.exit_code == 0, written.output
    text = file.read_text()
    assert f"# fuseline run {file}\n" in text
    assert "# found: caption, photo, category, price\n" in text
    assert "      labels: category  # by its name; 1 different, in 9 of the first 9 rows\n" in text
    assert "# tabular: {price: number}" in text
    values = yaml.safe_load(text)
    columns = {"id": "#line", "text": "caption", "image": "photo", "labels": "category"}
    assert values["source"]["options"] == {"columns": columns}
    assert (values["name"], values["models"]) == ("my-products", {"preset": "fast"})
    assert set(load_config(file).models) == {"text", "image", "additive", "pq"}
    assert cli("config", "check", file).exit_code == 0
    refused = cli("init", tmp_path / "my products.csv", "-o", file)
    assert refused.exit_code == 2
    assert "--output: expected 'a file that is not there yet'" in refused.stderr
    assert file.read_text() == text


@pytest.mark.parametrize("name", ["webdataset", "products", "fasttext", "yfcc", "hateful_memes", "mmimdb", "petfinder"])
def test_a_first_configuration_of_any_layout_is_whole(cli: Cli, tmp_path: Path, name: str) -> None:
    LAYOUTS.get(name, LAYOUTS["fashion"]).make(tmp_path / "set", 60)
    file = tmp_path / "mine.yaml"
    written = cli("init", tmp_path / "set", "-o", file)
    assert written.exit_code == 0, written.output
    assert build(load_config(file))


def test_a_first_configuration_needs_a_source_that_can_be_read(cli: Cli, tmp_path: Path) -> None:
    for source in (tmp_path / "absent", tmp_path):
        result = cli("init", source, "-o", tmp_path / "mine.yaml")
        assert result.exit_code == 2, result.output
        assert len(result.stderr.splitlines()) == 1
    assert not (tmp_path / "mine.yaml").exists()


@pytest.mark.parametrize("command", ["show", "check"])
def test_every_command_has_help_with_an_example(cli: Cli, command: str) -> None:
    assert f"Example: fuseline config {command} " in cli("config", command, "--help").output
