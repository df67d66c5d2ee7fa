"""What the registry says of models that read several embeddings, or name them otherwise."""

import pytest

from fuseline.models.config import key_values
from fuseline.models.registry import MODELS


@pytest.mark.parametrize(
    ("name", "options", "inputs"),
    [
        ("text", {}, (True, (), ())),
        ("additive", {"image": "x"}, (True, ("x",), ())),
        ("pq", {"codes": "c"}, (True, (), ("c",))),
        ("tfidf_linear", {}, (True, (), ())),
        ("avg_probs", {"image": "x"}, (True, ("x",), ())),
        ("gmu", {}, (False, ("image", "text"), ())),
        ("gmu", {"image": "x", "text_embedding": "y"}, (False, ("x", "y"), ())),
        ("gmu", {"image": "x", "text_embedding": "x"}, (False, ("x",), ())),
        ("lightgbm", {}, (False, ("image",), ())),
        ("lightgbm", {"embeddings": ["b", "a"], "codes": ["c"]}, (False, ("b", "a"), ("c",))),
        ("lightgbm", {"embeddings": [], "codes": ["c"]}, (False, (), ("c",))),
    ],
)
def test_inputs_are_named_by_the_options(name: str, options: dict[str, object], inputs: object) -> None:
    entry = MODELS[name]
    assert entry.inputs(entry.config.model_validate(options)) == inputs


@pytest.mark.parametrize("name", ["lightgbm", "tfidf_linear", "gmu", "avg_probs"])
def test_options_survive_a_round_trip_and_threads_change_no_key(name: str) -> None:
    config = MODELS[name].config
    values = key_values(config())
    assert config.model_validate(values) == config()
    assert "threads" not in values
    assert MODELS[name].classifier.kind == name
