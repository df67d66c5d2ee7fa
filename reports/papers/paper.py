"""What the pages of papers Z, M, P and R have in common: tables beside the published ones, and claims with verdicts."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import pyarrow as pa

from fuseline.reports.markup import page_environment, style
from fuseline.reports.papers.cells import Value, cell_table
from fuseline.reports.papers.printed import Table
from fuseline.reports.papers.rows import Known
from fuseline.reports.papers.rules import Claim, Facts, Finding
from fuseline.reports.papers.runs import DataSet
from fuseline.reports.sections import SECTIONS

VERDICTS = pa.schema(
    [
        ("claim", pa.string()),
        ("text", pa.string()),
        ("rule", pa.string()),
        ("dataset", pa.string()),
        ("source", pa.string()),  # published, or here
        ("verdict", pa.string()),  # holds, fails, or not decided
        ("decided_by", pa.string()),  # the number that decides, with interval and test; null: nothing was measured
        ("value", pa.float64()),  # points
        ("low", pa.float64()),  # of its 95 % interval
        ("high", pa.float64()),
        ("p", pa.float64()),
        ("measured", pa.int64()),  # numbers that the rule is about and that are there
    ]
)


class Printed(NamedTuple):
    """One table of a page."""

    anchor: str
    title: str
    lead: str
    table: Table


class Paper(NamedTuple):
    """One paper: its rows, and how tables and claims are made of data sets."""

    letter: str
    title: str
    rows: tuple[Known, ...]
    claims: tuple[Claim, ...]
    values: Callable[[Sequence[DataSet]], list[Value]]
    tables: Callable[[Sequence[DataSet], Sequence[Value]], list[Printed]]
    facts: Callable[[Sequence[DataSet]], list[Facts]]
    sections: tuple[str, ...]  # of a run's report that hold its figures

    def cells(self, data: Sequence[DataSet]) -> pa.Table:
        """Return CELLS: every number of the tables, published and ours."""
        return cell_table(self.letter, self.values(data), self.rows, data)

    def findings(self, data: Sequence[DataSet]) -> list[tuple[Claim, list[tuple[Facts, Finding]]]]:
        """Return the claims with what comes of them on the published cells and on every data set."""
        facts = self.facts(data)
        return [(claim, [(one, claim.on(one)) for one in facts]) for claim in self.claims]

    def verdicts(self, data: Sequence[DataSet]) -> pa.Table:
        """Return VERDICTS."""
        rows = []
        for claim, findings in self.findings(data):
            for facts, (verdict, by, measured) in findings:
                row: dict[str, Any] = {"claim": claim.number, "text": claim.text, "rule": claim.rule}
                row |= {"dataset": facts.title, "source": facts.source, "verdict": verdict, "measured": measured}
                if by is not None:
                    row |= {"decided_by": by.text(), "value": by.value, "low": by.low, "high": by.high, "p": by.p}
                rows.append(row)
        return pa.Table.from_pylist(rows, schema=VERDICTS)

    def render(self, data: Sequence[DataSet]) -> str:
        """Return the page, without scripts or requests; figures are those of the last run of each data set."""
        figures = [
            (one.title, SECTIONS[name].heading or SECTIONS[name].title, drawn)
            for one in data
            for name in self.sections
            if (drawn := SECTIONS[name].render(one.runs[-1])) is not None
        ]
        return (
            page_environment()
            .get_template("paper.html")
            .render(
                css=style(),
                paper=self,
                data=data,
                tables=self.tables(data, self.values(data)),
                claims=self.findings(data),
                figures=figures,
            )
        )
