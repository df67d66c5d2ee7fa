"""Whether the best model is better than each other one: differences on the same documents, intervals and tests."""

from typing import Any, NamedTuple

from markupsafe import Markup

from fuseline.reports.markup import fill, p_text
from fuseline.reports.measures import Measure
from fuseline.reports.page_data import ReportData, by
from fuseline.reports.section import Section

LEVEL = 0.05
TESTS = {"mcnemar": "McNemar's exact test", "permutation": "permutation test"}

TEMPLATE = """\
<p class="lead">The best model on valid beside every other one, on the same documents: 95 % intervals are those of documents drawn with replacement; p is of no difference, uncorrected for how many models are compared.</p>
{% for part in parts %}
<h3>{{ part.split|capitalize }}: {{ part.measure.title }}</h3>
<p class="note" style="margin:0 0 10px"><em>{{ part.best }}</em>: {{ part.own }} on {{ "{:,}".format(part.n) }} documents; {{ part.test }}.</p>
<div class="scroll"><table>
<thead><tr><th>other model</th><th class="n">{{ part.measure.title }}</th><th class="n">{{ part.best }} is better by</th><th class="n">p</th><th>decided?</th></tr></thead>
<tbody>
{% for row in part.rows %}
<tr><td>{{ row.other }}</td><td class="n">{{ row.value }}</td><td class="n">{{ row.gain }}</td><td class="n">{{ row.p }}</td><td>{{ row.verdict }}</td></tr>
{% endfor %}
</tbody></table></div>
{% endfor %}
"""


class Compared(NamedTuple):
    """The best model beside another one."""

    other: str
    value: str  # of the other
    gain: str
    p: str
    verdict: str


class Comparison(NamedTuple):
    """The best model beside all others on one split, by one metric."""

    split: str
    measure: Measure
    best: str
    own: str
    n: int
    test: str
    rows: list[Compared]


def comparisons(data: ReportData) -> list[Comparison]:
    """Return one comparison per split and metric, the closest model first."""
    parts = []
    for split, rows in by(data.rows("comparisons"), "split"):
        for metric, own in by(rows, "metric"):
            part = _comparison(data, split, data.measures[metric], own)
            parts += [part] if part.rows else []
    return parts


def render(data: ReportData) -> Markup | None:
    """Return the section; None when no models were compared."""
    parts = comparisons(data)
    return fill(TEMPLATE, parts=parts) if parts else None


def _comparison(data: ReportData, split: str, measure: Measure, rows: list[dict[str, Any]]) -> Comparison:
    single = {row["model"]: _spread(measure, row) for row in rows if row["other"] is None}
    pairs = sorted((row for row in rows if row["other"] is not None and row["model"] == data.best), key=_closeness)
    compared = [
        Compared(
            row["other"],
            single.get(row["other"], ""),
            f"{measure.difference(row['value'])} [{measure.difference(row['low'])}, {measure.difference(row['high'])}]",
            p_text(row["p"]),
            _verdict(row),
        )
        for row in pairs
    ]
    n, test = (pairs[0]["n"], TESTS.get(pairs[0]["test"], pairs[0]["test"])) if pairs else (0, "")
    return Comparison(split, measure, data.best, single.get(data.best, ""), n, test, compared)


def _closeness(row: dict[str, Any]) -> tuple[float, str]:
    return row["value"], row["other"]


def _spread(measure: Measure, row: dict[str, Any]) -> str:
    return f"{measure.text(row['value'])} [{measure.text(row['low'])}, {measure.text(row['high'])}]"


def _verdict(row: dict[str, Any]) -> str:
    if row["p"] >= LEVEL:
        return "no"
    return "better" if row["value"] > 0 else "worse"


SECTION = Section(
    "comparisons", "Comparisons", "whether the best model is better than each other one: paired tests",
    ("comparisons", "metrics", "measures"), render, heading="Is the best model better?",
)  # fmt: skip
