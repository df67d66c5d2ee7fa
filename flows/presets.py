"""Presets of models: `models: {preset: fast}` stands for a list of usual ones, as far as the configuration allows."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from fuseline.flows.config_files import merge
from fuseline.models.columns import Codes, Dense
from fuseline.models.features import codes_name, embedding_name
from fuseline.stores.errors import ConfigError, mismatch
from fuseline.tasks.stages.registry import made_by
from fuseline.tasks.stages.train import ModelConfig

FAST = ("text", "image", "additive", "pq")
PRESETS = {"fast": FAST, "good": (*FAST, "max", "bilinear", "gmu", "tfidf_linear", "lightgbm")}
SUMMARIES = {
    "fast": f"linear models that train in seconds to minutes: {', '.join(FAST)}",
    "good": f"those of fast, then slower ones: {', '.join(PRESETS['good'][len(FAST) :])}",
}
PRESET = "preset"  # key of `models`


class Expanded(NamedTuple):
    """The models of a configuration, its preset resolved."""

    models: dict[str, Any]
    left_out: dict[str, str]  # model of the preset -> what it reads and the configuration lacks


def with_preset(values: dict[str, Any]) -> dict[str, Any]:
    """Return plain settings whose `models` name every model; what is said of a preset's model is laid over it."""
    return {**values, "models": expand(values).models} if _preset(values) is not None else values


def with_seed(values: dict[str, Any]) -> dict[str, Any]:
    """Return plain settings whose models have the common `seed` where they name none of their own."""
    if "seed" not in values or not isinstance(values.get("models"), dict):
        return values
    seed = values["seed"]
    models = {name: {"seed": seed, **one} if isinstance(one, dict) else one for name, one in values["models"].items()}
    return {**values, "models": models}


def expand(values: Mapping[str, Any]) -> Expanded:
    """Return the models of plain settings; ConfigError for an unknown preset.

    A model that reads an embedding or a codebook that the settings lack is left out. `lightgbm` reads every embedding.
    """
    name, given = _preset(values), {**(_mapping(values, "models"))}
    if name is None:
        return Expanded(given, {})
    del given[PRESET]
    if not isinstance(name, str) or name not in PRESETS:
        raise ConfigError(
            mismatch("models.preset", sorted(PRESETS), name, "choose one of them, or name models one by one")
        )
    models: dict[str, Any] = {}
    left_out = {}
    for kind in PRESETS[name]:
        model = _usual(kind, values)
        if lacking := _lacking(model, values):
            left_out[kind] = lacking
        else:
            models[kind] = model
    return Expanded(merge(models, given), left_out)


def _preset(values: Mapping[str, Any]) -> object:
    """Return what `models.preset` says, None without it; a mapping there is a model of that name."""
    name = _mapping(values, "models").get(PRESET)
    return None if isinstance(name, dict) else name


def _usual(kind: str, values: Mapping[str, Any]) -> dict[str, Any]:
    vectors = _vectors(values)
    return {"kind": kind, "options": {"embeddings": vectors}} if kind == "lightgbm" and vectors else {"kind": kind}


def _lacking(model: dict[str, Any], values: Mapping[str, Any]) -> str:
    for column in ModelConfig(**model).inputs():
        if column.kind is Dense and (name := column.name.removeprefix(embedding_name(""))) not in _vectors(values):
            return f"no embedding {name!r} (embed.{name})"
        if column.kind is Codes:
            name = column.name.removeprefix(codes_name(""))
            if name not in _mapping(values, "quantize"):
                return f"no codebook {name!r} (quantize.{name})"
    return ""


def _vectors(values: Mapping[str, Any]) -> list[str]:
    """Return the names of embeddings that are vectors."""
    embed, stages = _mapping(values, "embed"), _mapping(values, "stages")
    named = [name for name in embed if _mapping(embed, name).get("output", "vectors") == "vectors"]
    named += [name for name in stages if made_by(_mapping(stages, name).get("stage")) is Dense]
    return sorted(name for name in set(named) if isinstance(name, str))


def _mapping(values: Mapping[str, Any], key: str) -> dict[str, Any]:
    """Return the mapping under a key; an empty one where something else stands, which validation refuses."""
    value = values.get(key)
    return value if isinstance(value, dict) else {}


def registry_rows() -> list[dict[str, str]]:
    """Return name, summary and weights ("": its models are trained here) of every preset."""
    return [{"name": name, "summary": SUMMARIES[name], "weights": ""} for name in PRESETS]
