"""How alike classes are, as a matrix whose cells are the darker the nearer two of them lie."""

from typing import Any, NamedTuple

from markupsafe import Markup

from fuseline.reports.markup import fill

TEMPLATE = """\
<div class="scroll"><table class="heat">
<thead><tr><th></th>{% for line in lines %}<th title="{{ line.label }}">{{ loop.index }}</th>{% endfor %}</tr></thead>
<tbody>
{% for line in lines %}
<tr><th title="{{ line.label }}"><bdi>{{ line.label }} {{ loop.index }}</bdi></th>
{% for cell in line.cells %}
<td class="near{{ " deep" if cell.depth > 85 else "" }}" style="--s:{{ "%.0f"|format(cell.depth) }}%" title="{{ line.label }} and {{ cell.other }}: {{ "%.3f"|format(cell.cosine) }}">{{ cell.text }}</td>
{% endfor %}
</tr>
{% endfor %}
</tbody></table></div>
"""


class Cell(NamedTuple):
    """Two classes."""

    other: str
    cosine: float
    depth: float  # 0..100, of its colour
    text: str  # hundredths; "" for a class and itself


class Line(NamedTuple):
    """One class beside all."""

    label: str
    cells: list[Cell]


def lines(rows: list[dict[str, Any]]) -> list[Line]:
    """Return the lines of CLASS_SIMILARITY rows of one dataset in their order, the least alike without colour."""
    places = {row["label"]: row["place"] for row in rows}
    labels, cosine = (
        sorted(places, key=places.__getitem__),
        {(row["label"], row["other"]): row["cosine"] for row in rows},
    )
    low = min(cosine.values())
    span = max(1 - low, 1e-9)

    def cell(label: str, other: str) -> Cell:
        value = cosine[label, other]
        depth = min(100.0, max(0.0, 100 * (value - low) / span))
        return Cell(other, value, depth, "" if label == other else f"{100 * value:.0f}")

    return [Line(label, [cell(label, other) for other in labels]) for label in labels]


def similarity(rows: list[dict[str, Any]]) -> Markup:
    """Return the figure of CLASS_SIMILARITY rows of one dataset; there is one at least."""
    return fill(TEMPLATE, lines=lines(rows))
