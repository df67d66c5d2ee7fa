"""What a report is made from: plain tables, nothing that has to be computed from documents again."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from fuseline.reports import standings
from fuseline.reports.measures import Measures
from fuseline.stores.tables import TABLES


@dataclass(frozen=True)
class ReportData:
    """The content of one report.

    Tables are named as in `fuseline.stores.tables` and may hold rows of several models and splits; the report chooses.
    Sections without rows are left out. Times are given, never taken: rendering the same data gives the same bytes.
    """

    title: str
    run: str  # name of the run
    created: str  # when, as it shall be printed
    tables: Mapping[str, pa.Table] = field(default_factory=dict)
    detectors: Mapping[str, str] = field(default_factory=dict)  # name -> CSS colour of its boxes
    lineage: Mapping[str, str] = field(default_factory=dict)  # dataset or model -> key
    versions: Mapping[str, str] = field(default_factory=dict)  # package -> version
    config_yaml: str = ""
    baseline: str = "text"  # the model that the delta column compares with
    multi_label: bool = False
    metric: str | None = None  # that ranks the models; None = the headline of the task
    notes: tuple[str, ...] = ()  # sentences for the top of the page, such as "fitted on 90 of 100 training documents"

    def table(self, name: str) -> pa.Table:
        """Return a table by its name in TABLES, empty when it was not given; raises KeyError for another name."""
        known = TABLES[name]
        return self.tables[name] if name in self.tables else known.schema.empty_table()

    def rows(self, name: str, **wanted: str) -> list[dict[str, Any]]:
        """Return the rows of a table whose columns have the wanted values."""
        table = self.table(name)
        for column, value in wanted.items():
            table = table.filter(pc.equal(table[column], value))
        rows: list[dict[str, Any]] = table.to_pylist()
        return rows

    @cached_property
    def measures(self) -> Measures:
        """What is known of the metrics."""
        return Measures(self.table("measures"), multi_label=self.multi_label, headline=self.metric)

    @cached_property
    def results(self) -> list[standings.ResultTable]:
        """Models by their scores, one table per split, test first."""
        return standings.result_tables(self.table("metrics"), self.measures, baseline=self.baseline)

    @cached_property
    def ranking(self) -> list[str]:
        """Names of the models, the best on valid first, so that test stays unseen until the end."""
        return standings.ranking(self.table("metrics"), self.measures)

    @property
    def best(self) -> str:
        """The model that is shown in detail; "" without scores."""
        return next(iter(self.ranking), "")

    @property
    def split(self) -> str:
        """The split that is shown in detail: test, if it was scored."""
        return self.results[0].split if self.results else "test"


def by(rows: Iterable[dict[str, Any]], column: str) -> list[tuple[str, list[dict[str, Any]]]]:
    """Return rows of a table by their text in one column, the texts in order and each one's rows as they come."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault(row[column], []).append(row)
    return sorted(groups.items())
