"""The base of every configuration: frozen, strict, and honest about which values change bytes."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class FrozenConfig(BaseModel):
    """A frozen configuration that refuses unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def runtime_option(default: Any, **constraints: Any) -> Any:
    """Declare a field that changes speed or memory, never bytes: it stays out of dataset keys."""
    return Field(default, json_schema_extra={"runtime_option": True}, **constraints)


def added(default: Any, **constraints: Any) -> Any:
    """Declare a field added after datasets exist: at its default it stays out of dataset keys.

    Existing datasets then stay fresh. Its default must never change, because no key would reflect the change.
    """
    return Field(default, json_schema_extra={"added": True}, **constraints)


def key_values(config: FrozenConfig) -> dict[str, Any]:
    """Return the values of a configuration that change bytes, as plain JSON types.

    Runtime options are left out, and so is an `added` field at its default.
    """
    values: dict[str, Any] = {}
    for name, field in type(config).model_fields.items():
        extra = field.json_schema_extra
        if isinstance(extra, dict) and extra.get("runtime_option"):
            continue
        value = getattr(config, name)
        if isinstance(extra, dict) and extra.get("added") and value == field.default:
            continue
        if isinstance(value, FrozenConfig):
            values[name] = key_values(value)
        elif isinstance(value, dict) and any(isinstance(inner, FrozenConfig) for inner in value.values()):
            values[name] = {key: key_values(inner) for key, inner in value.items()}
        else:
            values[name] = config.model_dump(mode="json", include={name})[name]
    return values
