"""Estimates of numbers: how far they lie from the truth."""

from markupsafe import Markup

from fuseline.reports.markup import fill
from fuseline.reports.page_data import ReportData
from fuseline.reports.section import Section

TEMPLATE = """\
<p class="lead">Numbers of documents as regressions estimate them. R²: 1 is exact, 0 is no better than the mean of the split. Constant: the mean absolute error when every document gets the training mean of what is learnt.</p>
<div class="scroll"><table>
<thead><tr><th>regression</th><th>of</th><th>split</th><th>scale</th><th class="n">documents</th><th class="n">mean absolute error</th><th class="n">constant</th><th class="n">root mean squared error</th><th class="n">R²</th><th class="n">nothing read</th></tr></thead>
<tbody>{% for row in rows %}<tr><td>{{ row.model }}</td><td>{{ row.target|breakable }}</td><td>{{ row.split }}</td><td>{{ row.scale }}</td><td class="n">{{ "{:,}".format(row.n) }}</td><td class="n">{{ "%.4g"|format(row.mae) }}</td><td class="n">{{ "%.4g"|format(row.constant_mae) }}</td><td class="n">{{ "%.4g"|format(row.rmse) }}</td><td class="n">{{ "" if row.r2 is none else "%.3f"|format(row.r2) }}</td><td class="n">{{ row.no_input or "" }}</td></tr>{% endfor %}</tbody>
</table></div>
"""


def render(data: ReportData) -> Markup | None:
    """Return the section; None without regressions."""
    rows = sorted(data.rows("value_errors"), key=lambda row: (row["model"], row["split"], row["scale"]))
    return fill(TEMPLATE, rows=rows) if rows else None


SECTION = Section(
    "regressions", "Numbers", "how far estimates of numbers lie from the truth", ("value_errors",), render,
    heading="Estimates of numbers",
)  # fmt: skip
