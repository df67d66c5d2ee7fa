"""Single documents as every model saw them."""

from typing import Any

from markupsafe import Markup

from fuseline.reports.figures.shares import modality_colours
from fuseline.reports.markup import fill, picture
from fuseline.reports.page_data import ReportData
from fuseline.reports.section import Section

TEMPLATE = """\
<p class="lead">Single documents with all that is known of them, and what every model said. The bar is how much each input had to do with it, where a model tells.</p>
<div class="instances">
{% for row in rows %}
<article class="instance" data-shows='{{ [row.id]|tojson }}'>
<div class="picture">{% if row.uri %}<img src="{{ row.uri }}" alt="picture of {{ row.id }}">{% else %}no image{% endif %}</div>
<div class="words">
<h3>{{ (row.title or row.id)|breakable }}</h3>
<p>is {% for label in row.labels %}<strong>{{ label|breakable }}</strong>{{ ", " if not loop.last else "" }}{% else %}not labelled{% endfor %}</p>
<p class="text">{{ row.text or "(no text)" }}</p>
{% if row.fields %}<p class="note">{% for field in row.fields %}{{ field.name }} {{ field.value|breakable }}{{ " · " if not loop.last else "" }}{% endfor %}</p>{% endif %}
<p class="id">{{ row.id }}</p>
</div>
<div class="scroll"><table>
<thead><tr><th>model</th><th>says</th><th class="n">score</th><th>inputs</th></tr></thead>
<tbody>{% for answer in row.answers %}<tr><td>{{ answer.model }}</td><td>{% if answer.label is none %}nothing{% else %}<span class="{{ "up" if answer.label in row.labels else "down" }}">{{ answer.label|breakable }}</span>{% endif %}</td><td class="n">{% if answer.label is not none %}{{ answer.score|percent }}{% endif %}</td>
<td>{% if answer.importance %}<div class="stack thin" title="{% for part in answer.importance %}{{ part.modality }} {{ part.share|percent }} {% endfor %}">{% for part in answer.importance|sort(attribute="modality") %}<i class="m{{ colours.get(part.modality, 0) }}" style="width:{{ "%.1f"|format(100 * part.share) }}%"></i>{% endfor %}</div>{% endif %}</td></tr>{% endfor %}</tbody>
</table></div>
</article>
{% endfor %}
</div>
"""


def render(data: ReportData) -> Markup | None:
    """Return the section; None where no documents are asked for."""
    rows: list[dict[str, Any]] = sorted(data.rows("instances"), key=lambda row: row["place"])
    shown = [{**row, "uri": picture(row["picture"])} for row in rows]
    return fill(TEMPLATE, rows=shown, colours=modality_colours(data)) if shown else None


SECTION = Section(
    "instances", "Single documents", "chosen documents with what every model said of them",
    ("instances", "importance"), render,
)  # fmt: skip
