"""The classes of the best model: what it takes for what, and precision and recall of each."""

from typing import Any

from markupsafe import Markup

from fuseline.reports.figures.heat_map import MAX_CLASSES, heat_map
from fuseline.reports.markup import fill
from fuseline.reports.page_data import ReportData
from fuseline.reports.section import Section

TEMPLATE = """\
{% macro level(share) %}{{ "high" if share >= 0.75 else "mid" if share >= 0.5 else "low" }}{% endmacro %}
<p class="lead">Model <em>{{ data.best }}</em> on {{ data.split }}.</p>
{% if heat %}
<h3>Confusions{% if heat.classes > heat.labels|length %} of the {{ heat.labels|length }} largest of {{ "{:,}".format(heat.classes) }} classes{% endif %}</h3>
<p class="note" style="margin:0 0 10px">Rows: true class; columns: predicted class, by the numbers on the left. Green: right; red: confused; the deeper, the larger the share of the row.{% if heat.outside %} {{ "{:,}".format(heat.outside) }} documents lie outside the classes shown.{% endif %}</p>
{{ heat.drawn() }}{% endif %}
{% if confusions %}
<h3>Most frequent confusions</h3>
<div class="scroll"><table>
<thead><tr><th>true</th><th>predicted</th><th class="n">documents</th></tr></thead>
<tbody>{% for row in confusions %}<tr><td>{{ row.label|breakable }}</td><td>{{ row.predicted|breakable if row.predicted is not none else "(nothing)" }}</td><td class="n">{{ row.n }}</td></tr>{% endfor %}</tbody>
</table></div>
{% endif %}
{% if classes %}
<h3>By class</h3>
<div class="scroll"><table>
<thead><tr><th>label</th><th class="n">documents</th><th class="n">precision</th><th class="n">recall</th><th class="n">F1</th><th style="width:26%"></th></tr></thead>
<tbody>
{% for row in classes %}
<tr><td>{{ row.label|breakable }}</td><td class="n">{{ row.support }}</td><td class="n">{{ "%.1f"|format(100 * row.precision) }}</td><td class="n">{{ "%.1f"|format(100 * row.recall) }}</td><td class="n">{{ "%.1f"|format(100 * row.f1) }}</td><td style="vertical-align:middle"><div class="bar {{ level(row.f1) }}"><i style="width:{{ "%.1f"|format(100 * row.f1) }}%"></i></div></td></tr>
{% endfor %}
</tbody></table></div>
{% endif %}
"""


MAX_CONFUSIONS = 12


def class_rows(classes: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the classes (CLASSES rows), the best F1 first; the largest ones when there are too many."""
    rows = sorted(classes, key=lambda row: -row["support"])[:MAX_CLASSES]
    return sorted(rows, key=lambda row: (-row["f1"], row["label"]))


def top_confusions(confusion: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the most frequent wrong pairs, and pairs that occur once only when there are no others."""
    wrong = [row for row in confusion if row["label"] != row["predicted"]]
    wrong = [row for row in wrong if row["n"] > 1] or wrong
    return sorted(wrong, key=lambda row: (-row["n"], row["label"], row["predicted"] or ""))[:MAX_CONFUSIONS]


def render(data: ReportData) -> Markup | None:
    """Return the section of the best model; None without its class scores and confusions."""
    chosen = {"model": data.best, "split": data.split}
    confusion, classes = data.rows("confusion", **chosen), class_rows(data.rows("classes", **chosen))
    heat = heat_map(confusion)
    if not classes and heat is None:
        return None
    return fill(TEMPLATE, data=data, classes=classes, heat=heat, confusions=top_confusions(confusion))


SECTION = Section(
    "classes", "Classes", "confusions of the best model, and precision and recall of each class",
    ("classes", "confusion", "metrics", "measures"), render,
)  # fmt: skip
