"""Documents by which of two models are right on them, and those of single classes on which the two disagree most."""

from typing import Any, NamedTuple

from markupsafe import Markup

from fuseline.reports.markup import fill, picture
from fuseline.reports.page_data import ReportData
from fuseline.reports.quadrants import quadrant, quadrants
from fuseline.reports.section import Section

TEMPLATE = """\
<p class="lead">Documents as {{ models|join(" and ") }} saw them, each model with its best labels. Below a picture, the document's own labels.</p>
{% for shelf in shelves %}
<h3>{{ shelf.title|breakable }} <span class="tag">{{ shelf.hint }}</span></h3>
<div class="gallery">
{% for row in shelf.rows %}
<article class="example{{ "" if row.right else " miss" }}" data-shows='{{ [row.id]|tojson }}'>
<div class="picture">{% if row.uri %}<img src="{{ row.uri }}" alt="">{% else %}no image{% endif %}</div>
<div class="words">
<p>{% for label in row.labels %}<strong>{{ label|breakable }}</strong>{{ ", " if not loop.last else "" }}{% endfor %}</p>
{% for answer in row.said %}
<p>{{ answer.model }}: {% for guess in answer.guesses %}<span{% if guess.label in row.labels %} class="up"{% elif loop.first %} class="down"{% endif %}>{{ guess.label|breakable }} {{ guess.score|percent }}</span>{{ ", " if not loop.last else "" }}{% else %}nothing{% endfor %}</p>
{% endfor %}
<p class="text">{{ row.text or "(no text)" }}</p>
<p class="id">{{ row.id }}{% if shelf.apart %} · {{ "%.2f"|format(row.disagreement) }} apart{% endif %}</p>
</div>
</article>
{% endfor %}
</div>
{% endfor %}
"""


class Answer(NamedTuple):
    """What one model said."""

    model: str
    guesses: list[dict[str, Any]]


class Shelf(NamedTuple):
    """Documents of one quadrant, or of one class."""

    title: str
    hint: str
    apart: bool  # whether how much the models disagree is told
    rows: list[dict[str, Any]]


def shelves(rows: list[dict[str, Any]]) -> list[Shelf]:
    """Return the QUADRANT_GALLERY rows of two models by quadrant, then by class, each in its order."""
    models = rows[0]["models"]
    of: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in sorted(rows, key=lambda row: row["place"]):
        said = [Answer(*pair) for pair in zip(models, row["answers"], strict=True)]
        key = ("quadrant", quadrant(row["right"], models)) if row["part"] == "quadrant" else ("class", row["label"])
        of.setdefault(key, []).append({**row, "said": said, "uri": picture(row["thumbnail"])})
    told = [
        Shelf(f"Right: {name}", "Chosen by a seeded draw.", False, of["quadrant", name])
        for name in quadrants(models)
        if ("quadrant", name) in of
    ]
    hint = "Those on which both models disagree most: look here for label noise."
    return [*told, *(Shelf(name, hint, True, own) for (part, name), own in sorted(of.items()) if part == "class")]


def render(data: ReportData) -> Markup | None:
    """Return the section; None without examples."""
    rows = data.rows("quadrant_gallery")
    return fill(TEMPLATE, models=rows[0]["models"], shelves=shelves(rows)) if rows else None


SECTION = Section(
    "who_is_right", "Who is right", "documents by which of two models are right, and where both disagree most",
    ("quadrant_gallery",), render, heading="Examples by who is right",
)  # fmt: skip
