"""Plain values: what JSON can hold, as in configurations, records and the facts of a fit. It imports none of ours."""

from collections.abc import Mapping, Sequence
from typing import TypeAlias

Json: TypeAlias = "str | int | float | bool | Sequence[Json] | Mapping[str, Json] | None"
JsonObject: TypeAlias = dict[str, Json]


def number(value: Json) -> int | float:
    """Return a value that is a number; raises TypeError for any other."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"number: expected int or float, got {value!r}; look at where it was written")
    return value
