"""The base of every configuration: frozen, strict, and honest about which values change bytes."""

from typing import Annotated, TypedDict, TypeVar, Unpack

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from fuseline.plain import JsonObject

T = TypeVar("T")
ConfigT = TypeVar("ConfigT", bound="FrozenConfig")


def _distinct(names: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(names)) < len(names):
        raise ValueError(f"expected each name once, got {list(names)!r}; remove the repeated ones")
    return names


Names = Annotated[tuple[str, ...], AfterValidator(_distinct)]  # of inputs: each is read once


class FrozenConfig(BaseModel):
    """A frozen configuration that refuses unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Constraints(TypedDict, total=False):
    """What a field may be, and what it means: arguments of `pydantic.Field`."""

    gt: float | None
    ge: float | None
    lt: float | None
    le: float | None
    min_length: int | None
    max_length: int | None
    description: str | None


def runtime_option(default: T, **constraints: Unpack[Constraints]) -> T:
    """Declare a field that changes speed or memory, never bytes: it stays out of dataset keys."""
    return Field(default, json_schema_extra={"runtime_option": True}, **constraints)


def added(default: T, **constraints: Unpack[Constraints]) -> T:
    """Declare a field added after datasets exist: at its default it stays out of dataset keys.

    Existing datasets then stay fresh. Its default must never change, because no key would reflect the change.
    """
    return Field(default, json_schema_extra={"added": True}, **constraints)


def own_config(own: type[FrozenConfig], given: FrozenConfig | None, kind: type[ConfigT]) -> ConfigT:
    """Return a configuration as the type that a class works with, its own defaults when none is given.

    Raises TypeError for a configuration of something else.
    """
    config = own() if given is None else given
    if not isinstance(config, kind):
        raise TypeError(f"config: expected a {kind.__name__}, got {type(config).__name__}; give its own type")
    return config


def key_values(config: FrozenConfig) -> JsonObject:
    """Return the values of a configuration that change bytes, as plain JSON types.

    Runtime options are left out, and so is an `added` field at its default.
    """
    values: JsonObject = {}
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
