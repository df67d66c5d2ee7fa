"""What models cost beside what they are worth: size, work and time, and the score that they reach."""

from typing import Any

from markupsafe import Markup

from fuseline.reports.markup import fill
from fuseline.reports.page_data import ReportData
from fuseline.reports.section import Section
from fuseline.reports.standings import ResultTable

TEMPLATE = """\
<div class="scroll"><table>
<thead><tr><th>model</th>{% if first %}<th class="n">{{ first.title }}</th>{% endif %}<th class="n">fit</th><th class="n">× {{ data.baseline }}</th><th class="n">parameters</th><th class="n">model</th><th class="n">multiply-adds</th><th class="n">image bytes</th><th class="n">trained on</th></tr></thead>
<tbody>
{% for row in costs %}
<tr{{ ' class="chosen"'|safe if row.model == data.best else "" }}><td>{{ row.model }}</td>
{% if first %}<td class="n">{{ first.text(row.score) if row.score is not none else "" }}</td>{% endif %}
<td class="n">{{ row.seconds|duration if row.seconds is not none else "" }}</td><td class="n">{{ "%.1f"|format(row.times) if row.times is not none else "" }}</td>
<td class="n">{{ row.parameters|size if row.parameters is not none else "" }}</td><td class="n">{{ row.bytes|size("B") if row.bytes is not none else "" }}</td>
<td class="n">{{ row.multiply_adds_per_document|size if row.multiply_adds_per_document is not none else "" }}</td><td class="n">{{ "{:,}".format(row.bytes_per_document) if row.bytes_per_document is not none else "" }}</td>
<td class="n">{{ "{:,}".format(row.documents) }}</td></tr>
{% endfor %}
</tbody></table></div>
<p class="note">{% if first %}{{ first.title|capitalize }} on {{ data.split }}. {% endif %}Fit: wall time, reading included. Multiply-adds and image bytes are per document: four bytes for each number of an embedding, one for each visual token.</p>
"""


def cost_rows(models: list[dict[str, Any]], results: ResultTable | None, *, baseline: str) -> list[dict[str, Any]]:
    """Return a MODELS row per model with `score` (its first metric) and `times`, its training time over the baseline's.

    The best score comes first.
    """
    scores = {row.model: row.cells[0].value for row in results.rows} if results else {}
    base = next((row["seconds"] for row in models if row["model"] == baseline), None)
    rows = [
        {
            **row,
            "score": scores.get(row["model"]),
            "times": row["seconds"] / base if base and row["seconds"] is not None else None,
        }
        for row in models
    ]
    if results is None:
        return sorted(rows, key=lambda row: row["model"])
    return sorted(rows, key=lambda row: (results.metrics[0].order(row["score"]), row["model"]))


def render(data: ReportData) -> Markup | None:
    """Return the section; None without models."""
    table = data.results[0] if data.results else None
    rows = cost_rows(data.rows("models"), table, baseline=data.baseline)
    return fill(TEMPLATE, data=data, costs=rows, first=table and table.metrics[0]) if rows else None


SECTION = Section(
    "costs", "Costs", "what models cost beside what they are worth", ("models", "metrics", "measures"), render,
    heading="Score, time and size",
)  # fmt: skip
