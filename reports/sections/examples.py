"""Documents as the best model saw them."""

from typing import Any

from markupsafe import Markup

from fuseline.reports.figures.shares import modality_colours
from fuseline.reports.markup import fill, picture
from fuseline.reports.page_data import ReportData
from fuseline.reports.section import Section

TEMPLATE = """\
<p class="lead">Documents as <em>{{ data.best }}</em> saw them: picture, text, its label and score. Under a wrong one, the true label.</p>
{% for kind, (heading, hint) in kinds.items() if kind in examples %}
<h3>{{ heading }} <span class="tag">{{ hint }}</span></h3>
<div class="gallery">
{% for row in examples[kind] %}
<article class="example{{ "" if kind == "right" else " miss" }}" data-shows='{{ [row.id]|tojson }}'>
<div class="picture">{% if row.uri %}<img src="{{ row.uri }}" alt="">{% else %}no image{% endif %}</div>
<div class="words">
{% if row.best %}<p><strong class="{{ "up" if kind == "right" else "down" }}">{{ row.best.label|breakable }}</strong> {{ row.best.score|percent }}</p>{% endif %}
{% if kind != "right" %}<p>is {% for label in row.labels %}<strong>{{ label|breakable }}</strong>{{ ", " if not loop.last else "" }}{% endfor %}</p>{% endif %}
<p class="text">{{ row.text or "(no text)" }}</p>
{% if row.importance %}<div class="stack thin" title="{% for part in row.importance %}{{ part.modality }} {{ part.share|percent }} {% endfor %}">{% for part in row.importance|sort(attribute="modality") %}<i class="m{{ colours[part.modality] }}" style="width:{{ "%.1f"|format(100 * part.share) }}%"></i>{% endfor %}</div>{% endif %}
<p class="id">{{ row.id }}</p>
</div>
</article>
{% endfor %}
</div>
{% endfor %}
"""


KINDS = {
    "right": ("Right", "Chosen by a seeded draw."),
    "confident_error": ("Most confident errors", "Wrong with the highest score: look here for label noise."),
    "wrong": ("Other wrong ones", "Chosen by a seeded draw."),
}


def examples(gallery: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Return kind -> examples (GALLERY rows) with their picture as a data URI."""
    kinds: dict[str, list[dict[str, Any]]] = {}
    for row in gallery:
        best = row["top_k"][0] if row["top_k"] else None
        kinds.setdefault(row["kind"], []).append({**row, "uri": picture(row["thumbnail"]), "best": best})
    return kinds


def render(data: ReportData) -> Markup | None:
    """Return the section of the best model; None without examples."""
    rows = examples(data.rows("gallery", model=data.best))
    return fill(TEMPLATE, data=data, examples=rows, kinds=KINDS, colours=modality_colours(data)) if rows else None


SECTION = Section(
    "examples", "Examples", "documents that the best model gets right and wrong",
    ("gallery", "importance", "metrics", "measures"), render,
)  # fmt: skip
