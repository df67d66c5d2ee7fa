"""What the registry says of models that read several embeddings, or name them otherwise."""

import pytest

from fuseline.models.config import key_values
from fuseline.models.registry import MODELS


@pytest.mark.parametrize(
    ("name", "options", "inputs"),
    [
        ("text", {}, [("clean/text", "text")]),
        ("additive", {"image": "x"}, [("clean/text", "text"), ("embed/x", "dense")]),
        ("pq", {"codes": "c"}, [("clean/text", "text"), ("quantize/c", "codes")]),
        ("tfidf_linear", {}, [("clean/text", "text")]),
        ("avg_probs", {"image": "x"}, [("clean/text", "text"), ("embed/x", "dense")]),
        ("avg_tfidf", {"image": "x"}, [("clean/text", "text"), ("embed/x", "dense")]),
        ("gmu", {}, [("embed/image", "dense"), ("embed/text", "dense")]),
        ("gmu", {"image": "x", "text_embedding": "y"}, [("embed/x", "dense"), ("embed/y", "dense")]),
        ("gmu", {"image": "x", "text_embedding": "x"}, [("embed/x", "dense")]),
        ("lightgbm", {}, [("embed/image", "dense")]),
        (
            "lightgbm",
            {"embeddings": ["b", "a"], "codes": ["c"]},
            [("embed/b", "dense"), ("embed/a", "dense"), ("quantize/c", "codes")],
        ),
        ("lightgbm", {"embeddings": [], "codes": ["c"]}, [("quantize/c", "codes")]),
    ],
)
def test_inputs_are_named_by_the_options(name: str, options: dict[str, object], inputs: object) -> None:
    found = MODELS[name].inputs(MODELS[name].Config.model_validate(options))
    assert [(one.name, one.kind.kind) for one in found] == inputs


@pytest.mark.parametrize("name", ["lightgbm", "tfidf_linear", "gmu", "avg_probs", "avg_tfidf"])
def test_options_survive_a_round_trip_and_threads_change_no_key(name: str) -> None:
    config = MODELS[name].Config
    values = key_values(config())
    assert config.model_validate(values) == config()
    assert "threads" not in values
    assert MODELS[name].kind == name
