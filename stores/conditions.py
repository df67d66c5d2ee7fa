"""How the results table names an evaluation in which an input is masked: written and read here alone."""

import re
from typing import NamedTuple

_MASKED = re.compile(r"(?P<name>.+) masked(?: in (?P<per_cent>[0-9.]+) %)?", re.DOTALL)


class Masking(NamedTuple):
    """What an evaluation left out."""

    name: str  # of the input, or of what stands for several
    share: float = 1.0  # of the documents, 0..1

    def __str__(self) -> str:
        """Return the condition as the results table has it: "image masked", "image masked in 30 %"."""
        return f"{self.name} masked" + ("" if self.share == 1 else f" in {100 * self.share:g} %")


def masking(condition: str) -> Masking | None:
    """Return what a condition says, None where it says something else."""
    match = _MASKED.fullmatch(condition)
    if match is None:
        return None
    per_cent = match["per_cent"]
    return Masking(match["name"], 1.0 if per_cent is None else float(per_cent) / 100)
