"""How metrics are named, printed and compared on a page: what their registry says, as a table (MEASURES)."""

from collections.abc import Iterable
from typing import NamedTuple

import pyarrow as pa

SINGLE, MULTI = "single-label", "multi-label"
# What a document counts as right by (paper K, section 5): its most probable label is one of its own.
RIGHT = {SINGLE: "accuracy", MULTI: "p_at_1"}


class Measure(NamedTuple):
    """One metric."""

    metric: str
    title: str
    summary: str = ""
    unit: str = ""
    lower_is_better: bool = False

    def text(self, value: float) -> str:
        """Print a value: shares in per cent with one decimal, documents whole, others with three decimals."""
        if self.unit == "share":
            return f"{100 * value:.1f}"
        return f"{value:,.0f}" if self.unit == "documents" else f"{value:.3f}"

    def difference(self, value: float) -> str:
        """Print a difference of two values with its sign: of shares in points."""
        return f"{100 * value:+.1f}" if self.unit == "share" else f"{value:+.3f}"

    @property
    def scale(self) -> float:
        """What a value is multiplied by to be printed."""
        return 100.0 if self.unit == "share" else 1.0

    @property
    def per_cent(self) -> str:
        """The unit beside a printed value: per cent, or none."""
        return "\u00a0%" if self.unit == "share" else ""

    def better(self, a: float, b: float) -> bool:
        """Return whether a is better than b."""
        return a < b if self.lower_is_better else a > b

    def order(self, value: float | None) -> tuple[bool, float]:
        """Return what sorts values, the best first and None last."""
        return value is None, 0.0 if value is None else value if self.lower_is_better else -value


class Measures:
    """Every metric of a page, by name; one that the table does not hold is printed under its own name."""

    def __init__(self, table: pa.Table, *, multi_label: bool, headline: str | None = None) -> None:
        self._rows = {row["metric"]: row for row in table.to_pylist()}
        self._headline, self.task = headline, MULTI if multi_label else SINGLE

    def __getitem__(self, metric: str) -> Measure:
        row = self._rows.get(metric)
        if row is None:
            return Measure(metric, metric.replace("_", " "))
        return Measure(metric, row["title"], row["summary"], row["unit"], row["lower_is_better"])

    @property
    def headline(self) -> Measure:
        """The metric that ranks the models."""
        ours = (name for name, row in self._rows.items() if self.task in row["headline"])
        return self[self._headline or next(ours, RIGHT[self.task])]

    def shown(self, metrics: Iterable[str]) -> list[Measure]:
        """Return those of some metrics that the main table has: the headline, then others in the registry's order."""
        there, first = {*metrics}, self.headline.metric
        names = [name for name, row in self._rows.items() if self.task in row["shown"] and name != first]
        return [self[name] for name in (first, *names) if name in there]

    def every(self, metrics: Iterable[str]) -> list[Measure]:
        """Return all of some metrics that the registry holds, the headline first."""
        there, first = {*metrics}, self.headline.metric
        return [self[name] for name in (first, *(n for n in self._rows if n != first)) if name in there]
