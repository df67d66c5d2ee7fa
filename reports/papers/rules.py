"""Claims as rules over differences with intervals: holds, fails, or not decided (Z-28, M-24)."""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

Verdict = Literal["holds", "fails", "not decided"]
NORMAL = 1.959963984540054  # quantile of 97.5 %
TINY = 1e-9  # so that "at most" includes the bound as it is printed


class Difference(NamedTuple):
    """One number that a claim is about, in points of per cent; printed cells have no interval."""

    said: str  # what it is of
    value: float
    low: float | None = None  # of its 95 % interval
    high: float | None = None
    test: str = ""  # whose p value it is, or how the interval was made
    p: float | None = None  # two-sided, of no difference

    def named(self, said: str) -> "Difference":
        """Return it under another name."""
        return self._replace(said=said)

    def negated(self, said: str) -> "Difference":
        """Return its negative."""
        low, high = (None if bound is None else -bound for bound in (self.high, self.low))
        return self._replace(said=said, value=-self.value, low=low, high=high)

    def text(self) -> str:
        """Print the number with its interval and p value."""
        interval = "" if self.low is None else f" [{self.low:+.1f}, {self.high:+.1f}]"
        p = "" if self.p is None else f", {self.test} p " + ("< 0.001" if self.p < 0.001 else f"= {self.p:.3f}")
        return f"{self.said} {self.value:+.1f}{interval}{p}"


class Region(NamedTuple):
    """The numbers, between two bounds, for which a claim is true."""

    above: float = -math.inf
    below: float = math.inf

    def verdict(self, one: Difference) -> Verdict:
        """Return whether the whole interval lies inside or outside; a printed cell is decided by its value."""
        low, high = (one.value, one.value) if one.low is None or one.high is None else (one.low, one.high)
        if low > self.above and high < self.below:
            return "holds"
        return "fails" if high <= self.above or low >= self.below else "not decided"

    def margin(self, one: Difference) -> float:
        """Return how far the value is from the nearer bound, negative outside."""
        return min(one.value - self.above, self.below - one.value)


class Finding(NamedTuple):
    """What came of a claim on one data set, and the number that decides; None where nothing was measured."""

    verdict: Verdict
    by: Difference | None = None
    of: int = 0  # numbers that were looked at


@dataclass(frozen=True)
class Facts:
    """What the claims of both papers are decided from, on one data set of one source."""

    title: str
    source: str  # "published", or "here"
    over: Callable[[str, str], Difference | None]  # by how much a model is right more often than another
    numbers: Mapping[str, list[Difference]] = field(default_factory=dict)  # what only one claim is about, by name


class Claim(NamedTuple):
    """One claim: its rule in words, the numbers that it is about, and where all of them must lie."""

    number: str
    text: str
    rule: str
    numbers: Callable[[Facts], Iterable[Difference | None]]
    region: Region

    def on(self, facts: Facts) -> Finding:
        """Return what comes of it: it fails where any number is outside, and holds where all lie inside."""
        there = [one for one in self.numbers(facts) if one is not None]
        verdicts = [self.region.verdict(one) for one in there]
        for verdict in ("fails", "not decided", "holds"):
            own = [one for one, of in zip(there, verdicts, strict=True) if of == verdict]
            if own:
                return Finding(verdict, min(own, key=self.region.margin), len(there))
        return Finding("not decided")


ABOVE = Region(above=0)


def unpaired(said: str, a: float, b: float, n: int) -> Difference:
    """Return the difference a - b of two shares of n documents, in points, as if they were of different documents.

    Of the same documents, on which both tend to be right together, the interval is wider than it need be.
    """
    half = NORMAL * math.sqrt((a * (1 - a) + b * (1 - b)) / n) if n else math.inf
    value = a - b
    return Difference(said, 100 * value, 100 * (value - half), 100 * (value + half), "unpaired interval")


def paired(said: str, better: int, worse: int, n: int, p: float | None = None) -> Difference:
    """Return the difference of two models of which one alone is right on `better`, the other on `worse` documents."""
    value = (better - worse) / n
    half = NORMAL * math.sqrt(max(0.0, (better + worse) / n - value**2) / n)
    return Difference(
        said, 100 * value, 100 * (value - half), 100 * (value + half), "mcnemar" if p is not None else "", p
    )


def mean_of(said: str, values: list[float]) -> Difference | None:
    """Return the mean of differences of the same documents with its interval, in points; None for fewer than two."""
    n = len(values)
    if n < 2:
        return None
    mean = math.fsum(values) / n
    half = NORMAL * math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (n - 1) / n)
    return Difference(said, 100 * mean, 100 * (mean - half), 100 * (mean + half), "paired interval")


def averaged(parts: list[Difference]) -> Difference | None:
    """Return the mean over repeats with other seeds: of values and bounds, and the largest p; None without any."""
    if not parts:
        return None
    lows, highs = [one.low for one in parts], [one.high for one in parts]

    def mean(values: Iterable[float | None]) -> float:
        own = [value for value in values if value is not None]
        return math.fsum(own) / len(own)

    known = None not in lows and None not in highs
    ps = [one.p for one in parts if one.p is not None]
    return parts[0]._replace(
        value=mean(one.value for one in parts), low=mean(lows) if known else None, high=mean(highs) if known else None,
        p=max(ps) if ps else None,
    )  # fmt: skip
