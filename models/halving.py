"""Successive halving: many options on few documents, the better ones on more, then the neighbours of the best.

What is tried follows from the dimensions alone, never from a clock: equal data give equal options on any machine.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

SEED = 0  # of the sample of options
ROUNDS = 8  # of drawing options, since some may not be tried
WEIGHT = 0.1  # of sureness beside the score
REST = 3  # one of so many is kept for the next step
FINALISTS = 5  # options that are tried with other seeds in the end: on few documents a seed decides as much as they do


@dataclass(frozen=True)
class Dimension:
    """Options that are chosen together, and the values they may take, in an order in which neighbours are alike."""

    values: tuple[dict[str, Any], ...]
    start: int = 0  # place of the value that is tried first


@dataclass(frozen=True)
class Tried:
    """What came of one trial."""

    options: dict[str, Any]
    documents: int  # that it was fitted on
    score: float  # on valid, higher is better; -inf when the loss was not finite
    sureness: float  # 0 to 1, such as the mean probability of the right label: it varies less by chance than a score

    @property
    def worth(self) -> float:
        """What options are ranked by."""
        return self.score + WEIGHT * self.sureness

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain values; a score that is not finite is None."""
        return {**asdict(self), "score": self.score if np.isfinite(self.score) else None}


Places = tuple[int, ...]  # one of each dimension
Allowed = Callable[[dict[str, Any]], bool]
# Fits every one of the options on so many documents from a seed, and returns score and sureness of each.
Run = Callable[[list[dict[str, Any]], int, int], list[tuple[float, float]]]


@dataclass(frozen=True)
class Search:
    """What was chosen, and all that was tried, in order."""

    best: Tried
    trials: tuple[Tried, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain values, as the facts of a fit hold it."""
        best = self.best.as_dict()
        return {
            "chosen": best["options"],
            "valid_p1": best["score"],
            "documents": best["documents"],
            "trials": [one.as_dict() for one in self.trials],
        }


def search(
    dimensions: Sequence[Dimension],
    sizes: Sequence[int],
    run: Run,
    *,
    allowed: Allowed,
    first: int,
    refined: int,
    seeds: int = 1,
) -> Search:
    """Return the options that are worth most.

    Args:
        dimensions: what is chosen, at least one.
        sizes: documents of every step, rising; the last one decides.
        run: fits and scores.
        allowed: whether options may be tried: some cost too much. One combination must be.
        first: options of the first step, spread evenly over the values of every dimension.
        refined: neighbours of the best, dimension by dimension, that are tried at most on the most documents.
        seeds: fits of each of the finalists, whose mean decides.
    """
    trials: list[Tried] = []

    def tried(places: Sequence[Places], size: int, seed: int = 0) -> dict[Places, Tried]:
        options = [merged(dimensions, one) for one in places]
        found = [
            Tried(one, size, score, sureness)
            for one, (score, sureness) in zip(options, run(options, size, seed), strict=True)
        ]
        trials.extend(found)
        return dict(zip(places, found, strict=True))

    def may(places: Places) -> bool:
        return allowed(merged(dimensions, places))

    places = spread(dimensions, first, may)
    for step, size in enumerate(sizes):
        known = tried(places, size)
        if step + 1 < len(sizes):
            places = ranked(known)[: max(2, len(known) // REST)]
    best, left, turn, unmoved = ranked(known)[0], refined, 0, 0
    while left > 0 and unmoved < len(dimensions):
        near = [one for one in neighbours(dimensions, best, turn) if one not in known and may(one)][:left]
        known |= tried(near, sizes[-1])
        left, before, best = left - len(near), best, ranked(known)[0]
        if best == before:  # on to the next dimension; else further along this one
            turn, unmoved = (turn + 1) % len(dimensions), unmoved + 1
        else:
            unmoved = 0
    finalists = ranked(known)[:FINALISTS] if seeds > 1 else [best]
    fits = [{place: known[place] for place in finalists}]
    fits += [tried(finalists, sizes[-1], seed) for seed in range(1, seeds)]
    means = {place: mean([one[place] for one in fits]) for place in finalists}
    return Search(means[ranked(means)[0]], tuple(trials))


def mean(fits: Sequence[Tried]) -> Tried:
    """Return the mean of fits of the same options."""
    score, sureness = (float(np.mean(values)) for values in zip(*((f.score, f.sureness) for f in fits), strict=True))
    return replace(fits[0], score=score, sureness=sureness)


def merged(dimensions: Sequence[Dimension], places: Places) -> dict[str, Any]:
    """Return the options at one place of every dimension."""
    return {
        k: v for dimension, place in zip(dimensions, places, strict=True) for k, v in dimension.values[place].items()
    }


def ranked(known: dict[Places, Tried]) -> list[Places]:
    """Return places by falling worth; of equal ones those that came first stay first."""
    return sorted(known, key=lambda one: -known[one].worth)


def spread(dimensions: Sequence[Dimension], first: int, may: Callable[[Places], bool]) -> list[Places]:
    """Return up to `first` different places that may be tried; each dimension's values come about equally often."""
    rng, found = np.random.default_rng(SEED), dict[Places, None]()
    sizes = [len(dimension.values) for dimension in dimensions]
    if np.prod(sizes, dtype=np.float64) <= first:
        return [one for one in np.ndindex(*sizes) if may(one)]
    start = tuple(dimension.start for dimension in dimensions)
    found |= dict.fromkeys(one for one in (start, (0,) * len(sizes)) if may(one))
    for _ in range(ROUNDS):
        columns = [rng.permutation(np.resize(np.arange(size), first)).tolist() for size in sizes]
        found |= dict.fromkeys(one for one in zip(*columns, strict=True) if may(one))
    return list(found)[:first]


def neighbours(dimensions: Sequence[Dimension], places: Places, turn: int) -> list[Places]:
    """Return the places that are one step away in the dimension whose turn it is."""
    steps = (places[turn] - 1, places[turn] + 1)
    return [(*places[:turn], one, *places[turn + 1 :]) for one in steps if 0 <= one < len(dimensions[turn].values)]
