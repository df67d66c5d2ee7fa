"""What papers Z and M are compared with: the published tables of finished runs, by data set."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from fuseline.reports.measures import MULTI, RIGHT, SINGLE
from fuseline.reports.page_data import ReportData
from fuseline.reports.papers.claims import Mean
from fuseline.reports.papers.rules import Difference, averaged, paired
from fuseline.stores.results import spread, summary

TEST = "test"
TOP_5 = "top_5"


@dataclass(frozen=True)
class DataSet:
    """One data set and the runs over it, which differ in their seeds."""

    title: str
    runs: tuple[ReportData, ...]

    @property
    def right(self) -> str:
        """The metric by which a document is right: its most probable label is one of its own."""
        return RIGHT[MULTI if any(run.multi_label for run in self.runs) else SINGLE]

    @cached_property
    def models(self) -> dict[str, dict[str, Any]]:
        """The MODELS rows of the last run that has them, by model."""
        return {row["model"]: row for run in self.runs for row in run.rows("models")}

    @cached_property
    def scored(self) -> dict[tuple[str, str | None, str], dict[str, Any]]:
        """(model, condition, metric) -> SUMMARY row on test over the seeds of all runs; folds are left out."""
        tables = [run.table("metrics") for run in self.runs]
        rows = [row for table in tables for row in table.to_pylist() if row["fold"] is None and row["split"] == TEST]
        results = tables[0].schema.empty_table().from_pylist(rows, schema=tables[0].schema)
        return {(row["model"], row["condition"], row["metric"]): row for row in summary(results).to_pylist()}

    def score(self, model: str, metric: str = "", condition: str | None = None) -> Mean | None:
        """Return a model's mean on test in points with its deviation over the seeds; None where it is not scored."""
        row = self.scored.get((model, condition, metric or self.right))
        return None if row is None else Mean(100 * row["mean"], None if row["std"] is None else 100 * row["std"])

    def folds(self, model: str) -> dict[tuple[int, int, int], float]:
        """Return run, seed and fold -> the share of held-out documents on which a model is right; {} without folds."""
        return {
            (number, row["seed"], row["fold"]): row["value"]
            for number, run in enumerate(self.runs)
            for row in run.rows("metrics", model=model, metric=self.right)
            if row["fold"] is not None and row["condition"] is None and row["split"] == TEST
        }

    @property
    def size(self) -> int:
        """The number of test documents, of the model that has most."""
        return max((row["n"] for (_, _, metric), row in self.scored.items() if metric == self.right), default=0)

    def documents(self, model: str) -> int:
        """Return how many test documents a model was scored on."""
        row = self.scored.get((model, None, self.right))
        return 0 if row is None else row["n"]

    def decisions(self, model: str = "") -> list[dict[str, Any]]:
        """Return the DECISIONS rows on test, of all models or one: a row per run."""
        return [row for run in self.runs for row in run.rows("decisions", split=TEST) if model in ("", row["model"])]

    def decided(self, model: str, column: str) -> Mean | None:
        """Return the mean of a column of a decision on test, a share, in points; None where there is none."""
        return mean_of_shares([row[column] for row in self.decisions(model) if row[column] is not None])

    def over(self, model: str, other: str) -> Difference | None:
        """Return by how much more often a model is right on test than another, with interval and paired test.

        None where neither the comparisons nor the decisions tell.
        """
        said = f"{model} \u2212 {other}"
        found = averaged([one.named(said) for run in self.runs for one in _compared(run, model, other, self.right)])
        if found is not None:
            return found
        own = [_beside(row, said) for row in self.decisions(model) if row["best"] == other]
        back = [_beside(row, said).negated(said) for row in self.decisions(other) if row["best"] == model]
        return averaged(own or back)


def mean_of_shares(values: list[float]) -> Mean | None:
    """Return the mean of shares and their deviation, in points; None without any."""
    mean, std = spread([100 * value for value in values])
    return None if mean is None else Mean(mean, std)


def _compared(run: ReportData, model: str, other: str, metric: str) -> Iterator[Difference]:
    for row in run.rows("comparisons", split=TEST, metric=metric, model=model, other=other):
        value, low, high = (100 * row[name] for name in ("value", "low", "high"))
        yield Difference("", value, low, high, row["test"], row["p"])


def _beside(row: dict[str, Any], said: str) -> Difference:
    return paired(said, row["better"], row["worse"], row["n"], row["p"])
