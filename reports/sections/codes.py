"""How well learnt codes hold what they were made of."""

from typing import Any

from markupsafe import Markup

from fuseline.reports.markup import fill
from fuseline.reports.page_data import ReportData
from fuseline.reports.section import Section

TEMPLATE = """\
<p class="lead">What is decoded of codes that were learnt without labels, beside what went into them. Share left: the error over that of the training mean; 100 % says that the codes tell nothing of the input.</p>
<div class="scroll"><table>
<thead><tr><th>codes</th><th>of</th><th>decoded</th><th>split</th><th class="n">documents</th><th class="n">mean squared error</th><th class="n">share left, %</th></tr></thead>
<tbody>{% for row in rows %}<tr><td>{{ row.codes }}</td><td>{{ row.of }}</td><td>{{ row.decoded }}</td><td>{{ row.split }}</td><td class="n">{{ "{:,}".format(row.documents) }}</td><td class="n">{{ "" if row.mse is none else "%.4g"|format(row.mse) }}</td><td class="n">{{ "" if row.left is none else "%.1f"|format(row.left) }}</td></tr>{% endfor %}</tbody>
</table></div>
"""


def render(data: ReportData) -> Markup | None:
    """Return the section; None without learnt codes."""
    rows = [_shown(row) for row in data.rows("reconstructions")]
    return fill(TEMPLATE, rows=rows) if rows else None


def _shown(row: dict[str, Any]) -> dict[str, Any]:
    left = None if row["mse"] is None or not row["mean_mse"] else 100 * row["mse"] / row["mean_mse"]
    of = ", ".join(one.removeprefix("embed/") for one in row["inputs"])
    return {**row, "of": of, "decoded": row["input"].removeprefix("embed/"), "left": left}


SECTION = Section("codes", "Learnt codes", "how well inputs are decoded of codes", ("reconstructions",), render)
