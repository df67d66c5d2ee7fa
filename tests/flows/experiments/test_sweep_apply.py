"""`fuseline sweep --apply`: the best options of each model go into the configuration file."""

import stat
from pathlib import Path

import orjson
import pytest
import yaml

from fuseline.flows.config import load_config
from fuseline.flows.config_edits import edited, write_options
from fuseline.flows.experiments.trials import Grid
from fuseline.models.config import key_values
from fuseline.stores.errors import ConfigError
from tests.flows.conftest import Cli, settings, write_config
from tests.flows.experiments.sweeps import N_ALL, call

COMMENT = "# every setting has its reason"


def commented(config: Path) -> None:
    """Put comments into a configuration, the model's options shared by an anchor as they are."""
    text = config.read_text()
    config.write_text(f"{COMMENT}\n{text.replace('kind: gated', 'kind: gated  # the paper')}")


def test_the_best_options_become_those_of_the_fit(cli: Cli, own: Path) -> None:
    commented(own)
    before, grid = own.read_text(), Grid(load_config(own))
    own.chmod(0o640)
    found = call(cli, own, "--apply")
    assert (found["ran"], found["there"], found["complete"]) == (0, N_ALL, True)
    applied = {(one["model"], one["option"]): (one["before"], one["after"]) for one in found["applied"]}
    point = grid.chosen("gated")
    assert point is not None
    assert applied["gated", "lr"] == ("auto", point["lr"])
    assert applied["text", "epochs"] == (5, 3)
    after = load_config(own)
    for name in grid.names:
        options, (trial, *_) = key_values(after.models[name].parsed()), grid.finals(name)
        assert "auto" not in [value for option, value in options.items() if option not in ("preset", "task")]
        assert {**options, "deterministic": True} == trial.node.config.model_dump()["options"]
    # Nothing else has changed: not the models that were not swept, though one shares the options of another.
    assert COMMENT in own.read_text()
    assert "kind: gated  # the paper" in own.read_text()
    assert yaml.safe_load(own.read_text())["models"]["additive"] == yaml.safe_load(before)["models"]["additive"]
    assert stat.S_IMODE(own.stat().st_mode) == 0o640
    assert cli("config", "check", own).exit_code == 0


def test_a_second_call_changes_and_trains_nothing(cli: Cli, own: Path) -> None:
    link = own.parent / "link.yaml"
    link.symlink_to(own.name)
    first = cli("sweep", link, "--apply")
    assert first.exit_code == 0, first.output
    assert f"{link}: model text: dim 8 -> 4, epochs 5 -> 3" in first.stderr
    assert link.is_symlink()
    assert load_config(own).models["text"].options["epochs"] == 3
    before = own.read_bytes(), own.stat().st_mtime_ns
    second = cli("sweep", own, "--apply", "--json")
    found = orjson.loads(second.stdout)
    assert (found["ran"], found["there"], found["applied"]) == (0, N_ALL, [])
    assert (own.read_bytes(), own.stat().st_mtime_ns) == before
    assert f"{own}: has the best options" in second.stderr


@pytest.mark.parametrize("override", ["models.text.options.lr=0.2", "models={text: {kind: text}}"])
def test_options_for_one_call_are_refused(cli: Cli, own: Path, override: str) -> None:
    before = own.read_bytes()
    result = cli("sweep", own, "--apply", "--set", override)
    assert result.exit_code == 2
    assert len(result.stderr.splitlines()) == 1
    assert f"write it into {own} first" in result.stderr
    assert own.read_bytes() == before


def test_a_file_that_cannot_be_written_is_refused_before_any_work(cli: Cli, own: Path) -> None:
    own.chmod(0o444)
    result = cli("sweep", own, "--apply", "--set", "sweep.lr=[0.3]")
    assert result.exit_code == 2
    assert "expected 'a file that can be written'" in result.stderr
    trials = Grid(load_config(own, ["sweep.lr=[0.3]"]))
    assert trials.todo(trials.trials("text"))


def test_a_file_that_would_load_otherwise_stays(tmp_path: Path) -> None:
    config = write_config(tmp_path, settings(tmp_path))
    before, wanted = config.read_bytes(), load_config(config, ["name=other"])
    with pytest.raises(ConfigError, match=r"write them by hand: \{text: \{lr: 0.7\}\}"):
        write_options(config, before, {"text": {"lr": 0.7}}, wanted=wanted, overrides=[])
    with pytest.raises(ConfigError, match="changed meanwhile"):
        write_options(config, b"name: x", {"text": {"lr": 0.7}}, wanted=wanted, overrides=[])
    assert config.read_bytes() == before
    assert [*tmp_path.iterdir()] == [config]


FILE = """\
---
# a file
models:
  text: {kind: text}   # beside
  m:
    kind: max    # beside too
    options:   # of max
      # inner
      dim: 3

  # the second
  pq:
    kind: pq   # a kind

  # the third
  image:
    options: {lr: 1e-3, image: [image]}
    kind: image

# run now
run: {workers: 2}
"""


def test_comments_stay_where_they_are() -> None:
    options = {"text": {"lr": 1e-5}, "m": {"lr": 0.5}, "pq": {"lr": 3.0}, "image": {"lr": 2}, "new": {"dim": 3}}
    assert edited(FILE.encode(), options).decode() == (
        FILE.replace("{kind: text}", "{kind: text, options: {lr: 1.0e-05}}")
        .replace("dim: 3\n", "dim: 3\n      lr: 0.5\n")
        .replace("# a kind\n", "# a kind\n    options: {lr: 3.0}\n")
        .replace("1e-3", "2")
        .replace("   # beside\n", " # beside\n")
        .replace("kind: image\n", "kind: image\n  new: {options: {dim: 3}}\n")
    )


def test_presets_and_extended_files_are_laid_over() -> None:
    options = {"text": {"lr": 0.5, "gate": "yes", "image": ("a", "b")}}
    laid = {"options": {"lr": 0.5, "gate": "yes", "image": ["a", "b"]}}
    preset = edited(b"models: {preset: fast}  # those\nname: x\n", options)
    assert yaml.safe_load(preset) == {"models": {"preset": "fast", "text": laid}, "name": "x"}
    assert b"# those" in preset
    extends = edited(b"extends: base.yaml\r\n# the base\r\n", options)
    assert yaml.safe_load(extends) == {"extends": "base.yaml", "models": {"text": laid}}
    assert extends.count(b"\n") == extends.count(b"\r\n") == 4
    with pytest.raises(ConfigError, match="another in line 2"):
        edited(b"models: {}\nmodels: {}\n", options)


def test_what_others_share_stays_theirs() -> None:
    text = "base: &b {kind: text, options: &o {lr: 1}}\nmodels:\n  a: *b\n  c: {<<: *b, options: {<<: *o, dim: 3}}\n"
    written = edited(f"{text}  d: {{kind: max, options: *o}}\n".encode(), {"a": {"dim": 4}, "c": {"lr": 2}}).decode()
    assert written == (
        text.replace("a: *b", "a: {kind: text, options: {lr: 1, dim: 4}}").replace("dim: 3}", "dim: 3, lr: 2}")
        + "  d: {kind: max, options: *o}\n"
    )
