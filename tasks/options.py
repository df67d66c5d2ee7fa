"""Options of registry entries, parsed as their own type, and validation errors as one line each."""

import difflib
import reprlib
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, SerializeAsAny, ValidationError, WithJsonSchema, model_validator

from fuseline.models.config import ConfigT, FrozenConfig
from fuseline.stores.errors import ConfigError, mismatch

NUMBER = "<number>"  # pydantic's name of the number in a setting that is a number or a word
Options = Annotated[SerializeAsAny[FrozenConfig], WithJsonSchema({"type": "object", "default": {}})]


class ChosenConfig(FrozenConfig):
    """A configuration that names a registry entry in the field `chosen_by`, and holds its `options` as their type."""

    chosen_by: ClassVar[str]

    @classmethod
    def options_type(cls, name: str) -> type[FrozenConfig]:
        """Return the type of the named thing's options; raises ValueError for an unknown name."""
        raise NotImplementedError

    @model_validator(mode="before")
    @classmethod
    def _options_of_their_own_type(cls, values: object) -> object:
        chosen = cls.model_fields[cls.chosen_by]
        if not isinstance(values, dict) or (chosen.is_required() and cls.chosen_by not in values):
            return values
        wanted = cls.options_type(values.get(cls.chosen_by, chosen.default))
        options = values.get("options") or {}
        if isinstance(options, wanted):
            return {**values, "options": options}
        plain = options.model_dump() if isinstance(options, FrozenConfig) else options
        return {**values, "options": parse_options(wanted, plain)}


def parse_options(config: type[ConfigT], options: Mapping[str, object], *, field: str = "options.") -> ConfigT:
    """Return the options as their own type; raises ConfigError naming `field` + option, expected, got and cure."""
    try:
        return config.model_validate(options)
    except ValidationError as error:
        raise ConfigError("; ".join(f"{field}{line}" for line in explained(error, config))) from error


def explained(error: ValidationError, model: type[BaseModel]) -> Iterator[str]:
    """Yield one line per validation error: field, expected, got, cure."""
    for fault in error.errors(include_url=False):
        place = [str(part) for part in fault["loc"] if part != NUMBER]
        field, got = ".".join(place) or "config", fault.get("input")
        if fault["type"] == "extra_forbidden":
            yield _unknown_key(fault["loc"], model)
        elif fault["type"] == "value_error":
            inner = str(fault["ctx"]["error"])
            yield f"{field}: {inner}" if fault["loc"] else inner
        else:
            expected, cure = _lower(fault["msg"]), "`fuseline config show CONFIG` prints all settings"
            yield f"{field}: expected {expected}, got {reprlib.repr(got)}; {cure}"


def _unknown_key(location: tuple[int | str, ...], model: type[BaseModel]) -> str:
    names, key = _names_at(location[:-1], model), str(location[-1])
    close = difflib.get_close_matches(key, names, n=1)
    cure = f"did you mean {close[0]!r}?" if close else "probably a typo"
    return mismatch(".".join(map(str, location)), f"one of {sorted(names)}" if names else "no such key", key, cure)


def _names_at(location: tuple[int | str, ...], config: type[BaseModel]) -> list[str]:
    """Return the valid keys of the model that lies at a location of the configuration."""
    model: Any = config
    for part in location:
        fields = getattr(model, "model_fields", {})
        annotation = fields[part].annotation if part in fields else model
        model = next(_models_in(annotation), model)
    return list(getattr(model, "model_fields", {}))


def _models_in(annotation: object) -> Iterator[object]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in getattr(annotation, "__args__", ()):
        yield from _models_in(argument)


def _lower(message: str) -> str:
    text = message.removeprefix("Input should be ").removeprefix("Value error, ")
    return text[0].lower() + text[1:] if text else text
