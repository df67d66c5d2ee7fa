"""Options that a fit chooses on valid documents itself, unless somebody gives them."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from pydantic import (
    Field,
    ModelWrapValidatorHandler,
    PrivateAttr,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from fuseline.models.config import FrozenConfig

AUTO = "auto"
SEARCH = "search"  # among the facts of a fit: what it tried


@dataclass(frozen=True)
class Chosen:
    """Options for a training set, and how they were found; it is shared between the fits of a process."""

    options: dict[str, Any]
    facts: dict[str, Any]
    nbytes: int = 0

    def close(self) -> None:
        """Do nothing: there is nothing outside memory."""


def automatic(start: Any, *, choices: Iterable[Any], **constraints: Any) -> Any:
    """Declare an option that is chosen among `choices` unless it is given; it holds `start` until then."""
    return Field(start, json_schema_extra={"automatic": list(choices)}, **constraints)


def choices(config: "type[AutomaticConfig] | AutomaticConfig", name: str) -> list[Any] | None:
    """Return the values among which an option is chosen, or None when it is an ordinary one."""
    kind = config if isinstance(config, type) else type(config)
    extra = kind.model_fields[name].json_schema_extra
    found = extra.get("automatic") if isinstance(extra, dict) else None
    return found if isinstance(found, list) else None


class AutomaticConfig(FrozenConfig):
    """A configuration some of whose options are chosen by the fit: those that are not given, or given as "auto".

    Such an option holds a number all the same, where the search starts; it is dumped as "auto".
    """

    together: ClassVar[tuple[tuple[str, ...], ...]] = ()  # options that are chosen together, or not at all
    _automatic: tuple[str, ...] = PrivateAttr(())

    @property
    def automatic(self) -> tuple[str, ...]:
        """Names of the options that the fit chooses."""
        return self._automatic

    def chosen(self, **options: Any) -> Self:
        """Return the configuration with these options given, and every other automatic one at its start."""
        names = {name: getattr(self, name) for name in type(self).model_fields}
        return type(self).model_validate({**names, **options})

    def for_trial(self) -> Self:
        """Return the configuration of a fit that only chooses options, which need not be as thorough."""
        return self

    @classmethod
    def unset(cls, values: dict[str, Any]) -> tuple[str, ...]:
        """Return the names of automatic options that raw values leave open."""
        names = [name for name in cls.model_fields if choices(cls, name) is not None]
        left = [name for name in names if values.get(name, AUTO) == AUTO]
        halves = {name for group in cls.together if not set(group) <= set(left) for name in group}
        return tuple(name for name in left if name not in halves)

    @model_validator(mode="wrap")
    @classmethod
    def _leave_open(cls, values: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        if not isinstance(values, dict):
            return handler(values)
        automatic = [name for name in cls.model_fields if choices(cls, name) is not None]
        self = handler({k: v for k, v in values.items() if not (k in automatic and v == AUTO)})
        self._automatic = cls.unset(values)
        return self

    @model_serializer(mode="wrap")
    def _open_as_auto(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        values: dict[str, Any] = handler(self)
        return {name: AUTO if name in self._automatic else value for name, value in values.items()}
