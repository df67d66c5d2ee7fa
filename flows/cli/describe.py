"""An entry of a registry with its options: type, default and meaning of each."""

import difflib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined, to_jsonable_python

from fuseline.flows.cli.choices import REGISTRIES
from fuseline.flows.config import Config
from fuseline.flows.presets import PRESETS
from fuseline.models.automatic import AUTO
from fuseline.models.detectors import DETECTORS
from fuseline.models.encoders import ENCODERS
from fuseline.models.features import inputs_of
from fuseline.models.metrics.registry import METRICS
from fuseline.models.quantizers import QUANTIZERS
from fuseline.models.registry import MODELS
from fuseline.reports.sections import SECTIONS
from fuseline.stores.errors import ConfigError, mismatch
from fuseline.stores.places import PLACES
from fuseline.tasks.readers import READERS
from fuseline.tasks.stages.registry import STAGES

Options = type[BaseModel]

# The settings that decide what a stage does, as they are called in a configuration.
SETTINGS = {
    "ingest": ("name", "source", "shard_size", "split", "duplicates"),
    "clean": ("clean",),
    "detect": ("detect", "crops"),
    "embed": ("embed", "stages"),
    "quantize": ("quantize", "refit"),
    "train": ("models", "regressions", "seed", "refit"),
    "predict": ("predictions",),
    "evaluate": ("evaluation",),
    "report": ("report",),
}


def describe(kind: str, name: str) -> dict[str, Any]:
    """Return name, summary, what it reads or looks for, and one row per option.

    A row holds option, type, default, whether it is required, whether it is part of dataset keys (what it changes is
    then made again), and meaning.

    Raises:
        ConfigError: there is none of that name.
    """
    known = {row["name"]: row["summary"] for row in REGISTRIES[f"{kind}s"]()}
    if name not in known:
        close = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
        cure = f"did you mean {' or '.join(map(repr, close))}?" if close else f"`fuseline list {kind}s` shows them"
        raise ConfigError(mismatch(kind, sorted(known), name, cure))
    facts, rows = KINDS[kind](name)
    return {"kind": kind, "name": name, "summary": known[name], **facts, "options": list(rows)}


def option_rows(options: Options, *names: str, prefix: str = "") -> Iterator[dict[str, object]]:
    """Yield a row per option (of those named, or of all), and per option below it, as "limits.max_bytes"."""
    properties = options.model_json_schema()["properties"]
    for name, field in options.model_fields.items():
        if names and name not in names:
            continue
        default = field.get_default(call_default_factory=True)
        chosen = isinstance(field.json_schema_extra, dict) and "automatic" in field.json_schema_extra
        default, auto = (AUTO, ", or auto: chosen on valid") if chosen else (default, "")
        row = {
            "option": f"{prefix}{name}",
            "type": f"{_type(properties[name])}{auto}",
            "default": None
            if default is PydanticUndefined or isinstance(default, BaseModel)
            else to_jsonable_python(default),
            "required": field.is_required(),
            "key": not _is_knob(field),
            "meaning": field.description or "",
        }
        yield row
        inner = [model for model in _inner(field.annotation) if model.model_fields]
        place = f"{prefix}{name}.NAME" if get_origin(field.annotation) is dict else f"{prefix}{name}"
        for model in inner:
            if len(inner) > 1:
                yield {**row, "option": place, "type": "settings", "default": None, "meaning": _summary(model)}
            yield from option_rows(model, prefix=f"{place}.")


def _summary(options: Options) -> str:
    return (options.__doc__ or "").partition("\n")[0].rstrip(".")


def _inner(annotation: object) -> Iterator[Options]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in getattr(annotation, "__args__", ()):
        yield from _inner(argument)


def _is_knob(field: FieldInfo) -> bool:
    return isinstance(field.json_schema_extra, dict) and bool(field.json_schema_extra.get("runtime_option"))


def _type(schema: Mapping[str, Any]) -> str:
    """Word a JSON schema: "integer, at least 1, or none"."""
    choices = schema.get("anyOf", schema.get("oneOf"))
    if choices:
        kinds = dict.fromkeys(_type(choice) for choice in choices)
        return ", or ".join(sorted(kinds, key=lambda kind: kind == "none"))
    if "$ref" in schema:
        return "settings"
    if "const" in schema:
        return str(schema["const"])
    if "enum" in schema:
        return "one of " + ", ".join(map(str, schema["enum"]))
    kind = schema.get("type", "any")
    if kind == "array":
        return _array(schema)
    if kind == "object":
        inner = schema.get("additionalProperties")
        return f"mapping of names to {_type(inner)}" if isinstance(inner, dict) else "mapping"
    bounds = [f"{word} {schema[key]}" for key, word in BOUNDS.items() if key in schema]
    return ", ".join([WORDS.get(kind, kind), *bounds])


def _array(schema: Mapping[str, Any]) -> str:
    fixed = schema.get("prefixItems")
    if fixed:
        return f"list of {len(fixed)}: {_type(fixed[0])}"
    return f"list of: {_type(schema.get('items', {}))}"


def _reader(name: str) -> tuple[dict[str, str], Iterator[dict[str, Any]]]:
    entry = READERS[name]
    return {"looks for": entry.looks_for} if entry.looks_for else {}, option_rows(entry.options)


def _model(name: str) -> tuple[dict[str, str], Iterator[dict[str, Any]]]:
    kinds = (column.kind.kind for column in inputs_of(MODELS[name], MODELS[name].Config()))
    return {"reads": ", ".join(dict.fromkeys(kinds))}, option_rows(MODELS[name].Config)


def _preset(name: str) -> tuple[dict[str, str], Iterator[dict[str, Any]]]:
    return {"models": ", ".join(PRESETS[name]), "written": f"models: {{preset: {name}}}"}, iter(())


def _encoder(name: str) -> tuple[dict[str, str], Iterator[dict[str, Any]]]:
    entry = ENCODERS[name]
    return {"reads": entry.modality, "weights": entry.origin}, option_rows(entry.Config)


def _detector(name: str) -> tuple[dict[str, str], Iterator[dict[str, Any]]]:
    entry = DETECTORS[name]
    return {"finds": entry.finds, "weights": entry.origin}, option_rows(entry.Config)


def _quantizer(name: str) -> tuple[dict[str, str], Iterator[dict[str, Any]]]:
    return {}, option_rows(QUANTIZERS[name].Config)


def _metric(name: str) -> tuple[dict[str, str], Iterator[dict[str, Any]]]:
    metric = METRICS[name]
    return {"unit": metric.unit, "better": "lower" if metric.lower_is_better else "higher"}, iter(())


def _section(name: str) -> tuple[dict[str, str], Iterator[dict[str, Any]]]:
    return {"reads": ", ".join(SECTIONS[name].reads)}, iter(())


def _stage(name: str) -> tuple[dict[str, str], Iterator[dict[str, Any]]]:
    return {}, option_rows(Config, *SETTINGS[name]) if name in SETTINGS else option_rows(STAGES[name].Config)


def _place(name: str) -> tuple[dict[str, str], Iterator[dict[str, Any]]]:
    seen = "every process that runs a part of the pipeline" if PLACES[name].shared else "the process that runs alone"
    return {"seen by": seen}, iter(())


KINDS: dict[str, Callable[[str], tuple[dict[str, str], Iterator[dict[str, object]]]]] = {
    "reader": _reader,
    "model": _model,
    "preset": _preset,
    "encoder": _encoder,
    "detector": _detector,
    "quantizer": _quantizer,
    "metric": _metric,
    "section": _section,
    "place": _place,
    "stage": _stage,
}
BOUNDS = {"minimum": "at least", "exclusiveMinimum": "above", "maximum": "at most", "exclusiveMaximum": "below"}
WORDS = {"boolean": "true or false", "string": "text", "null": "none", "any": "anything"}
