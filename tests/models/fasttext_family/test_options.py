"""Every option of the fastText program's supervised training has its place here, with the program's default."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from fuseline.models.fasttext.config import ABSENT, CALLED, FastTextConfig
from fuseline.models.registry import MODELS
from fuseline.stores.errors import ConfigError
from fuseline.tasks.options import parse_options

DEFAULTS = """
import json, sys, fasttext
from fasttext import FastText
open(sys.argv[1], "w").write("__label__a x y\\n__label__b z\\n")
used = fasttext.train_supervised(sys.argv[1], verbose=0, thread=1).f.getArgs()
told = {name: getattr(used, name) for name in FastText.unsupervised_default if hasattr(used, name)}
told = {name: value if isinstance(value, (int, float, str)) else str(value) for name, value in told.items()}
# Of a text without n-grams no bucket is made: the default is told by the package's table alone.
table = {name: FastText.unsupervised_default[name] for name in ("bucket",)}
print(json.dumps([list(FastText.unsupervised_default), {**told, "buckets made": told["bucket"], **table}]))
"""
# Of the program's fasttext 0.9.3, so that the test says something where the package is not installed.
KNOWN = {
    "lr": 0.1, "dim": 100, "epoch": 5, "minCount": 1, "minn": 0, "maxn": 0, "neg": 5, "wordNgrams": 1,
    "loss": "softmax", "bucket": 2_000_000, "pretrainedVectors": "",
}  # fmt: skip


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[str], dict[str, Any]]:
    """Names and defaults of the installed package."""
    pytest.importorskip("fasttext")
    command = [sys.executable, "-c", DEFAULTS, str(tmp_path_factory.mktemp("fasttext") / "train")]
    # The package leaves part of its matrix unset; 255 makes the allocator hand out zeros.
    environment = {**os.environ, "MALLOC_PERTURB_": "255"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    names, values = json.loads(done.stdout)
    return names, values


def ours(name: str) -> Any:
    value = getattr(FastTextConfig(), CALLED[name])
    return "" if value is None and name == "pretrainedVectors" else value


def test_defaults_are_those_of_the_program() -> None:
    assert {name: ours(name) for name in KNOWN} == KNOWN
    assert set(KNOWN) | {"thread"} == set(CALLED)
    assert FastTextConfig().threads is None  # its thread: machines differ, results do not depend on it by intent


def test_no_option_of_the_installed_package_is_without_a_place(program: tuple[list[str], dict[str, Any]]) -> None:
    names, values = program
    assert set(names) - {"model"} == set(CALLED) | set(ABSENT)
    for name in set(CALLED) - {"thread"}:
        theirs = values[name].removeprefix("loss_name.") if name == "loss" else values[name]
        assert ours(name) == pytest.approx(theirs) if isinstance(theirs, float) else ours(name) == theirs, name
    assert values["buckets made"] == FastTextConfig().hashed_rows == 0
    assert FastTextConfig(word_ngrams=2).hashed_rows == values["bucket"]


def test_names_are_fields_and_reasons_are_no_fields() -> None:
    assert set(CALLED.values()) <= set(FastTextConfig.model_fields)
    assert not set(ABSENT) & set(FastTextConfig.model_fields)
    assert not set(CALLED) & set(ABSENT)


@pytest.mark.parametrize("name", sorted(name for name, called in CALLED.items() if name != called))
def test_a_name_of_the_program_is_refused_with_ours(name: str) -> None:
    for kind in ("text", "bilinear_gated", "pq", "avg_probs"):
        with pytest.raises(ConfigError, match=rf"options.{name}: expected '{CALLED[name]}', .*write {CALLED[name]}: 7"):
            parse_options(MODELS[kind].Config, {"dim": 3, name: 7})


@pytest.mark.parametrize("name", sorted(ABSENT))
def test_what_is_not_there_is_refused_with_the_reason(name: str) -> None:
    with pytest.raises(ValidationError, match=rf"{name}: expected no such option of fastText, got 7; "):
        FastTextConfig.model_validate({name: 7})


def test_other_unknown_names_are_refused_as_ever(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="did you mean 'epochs'"):
        parse_options(FastTextConfig, {"epocs": 7})
