"""Quadrants of models: what documents are called on which exactly some of them are right (Zahavy et al. 2016)."""

from collections.abc import Sequence
from itertools import combinations


def quadrant(right: Sequence[str], models: Sequence[str]) -> str:
    """Return the name of the quadrant of those models that are right, and no other."""
    if len(models) == 1:
        return "right" if right else "wrong"
    if not right:
        return "none"
    return "all" if len(right) == len(models) else f"{' and '.join(right)} only"


def quadrants(models: Sequence[str]) -> list[str]:
    """Return the names of all quadrants: those where fewer are right first, but where none is last."""
    some = [quadrant(right, models) for n in range(1, len(models) + 1) for right in combinations(models, n)]
    return [*some, quadrant((), models)]
