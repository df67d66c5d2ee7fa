"""Which modality decided, model by model."""

from typing import Any

from markupsafe import Markup

from fuseline.reports.figures.shares import modality_colours
from fuseline.reports.markup import fill
from fuseline.reports.page_data import ReportData, by
from fuseline.reports.section import Section

TEMPLATE = """\
<p class="lead">Mean share of each modality in the score of the predicted label, on {{ data.split }}; only models that can tell.
{% for name, colour in colours.items() %}<span class="key"><i class="m{{ colour }}"></i>{{ name }}</span>{% endfor %}</p>
<div class="scroll"><table>
<thead><tr><th>model</th><th style="width:72%">share</th></tr></thead>
<tbody>{% for model, shares in importance %}<tr><td>{{ model }}</td><td><div class="stack">{% for modality, share in shares %}<i class="m{{ colours[modality] }}" style="width:{{ "%.1f"|format(100 * share) }}%" title="{{ modality }} {{ share|percent }}">{% if share > 0.12 %}{{ modality }} {{ "%.0f"|format(100 * share) }} %{% endif %}</i>{% endfor %}</div></td></tr>{% endfor %}</tbody>
</table></div>
"""


def importance_rows(importance: list[dict[str, Any]]) -> list[tuple[str, list[tuple[str, float]]]]:
    """Return (model, [(modality, share)]) of IMPORTANCE rows."""
    return [(model, sorted((row["modality"], row["share"]) for row in rows)) for model, rows in by(importance, "model")]


def render(data: ReportData) -> Markup | None:
    """Return the section; None when no model can tell."""
    rows = importance_rows(data.rows("importance", split=data.split))
    return fill(TEMPLATE, data=data, importance=rows, colours=modality_colours(data)) if rows else None


SECTION = Section(
    "importance", "Modalities", "share of each modality in the decisions of each model",
    ("importance", "gallery", "metrics", "measures"), render, heading="Which modality decided",
)  # fmt: skip
