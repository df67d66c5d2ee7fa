"""Documents on a map, a colour and a shape per class or quadrant, as SVG that asks for nothing."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from markupsafe import Markup

from fuseline.reports.markup import fill

SIDE, EDGE = 560, 12  # of the square
# Okabe and Ito's colours, which people with any kind of colour blindness tell apart; then again with another shape.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7c4dbe")
SHAPES = (
    "M{x} {y}m-3 0a3 3 0 1 0 6 0a3 3 0 1 0-6 0", "M{x} {y}m-2.7-2.7h5.4v5.4h-5.4z", "M{x} {y}m0-3.6l3.4 6h-6.8z"
)  # fmt: skip

TEMPLATE = """\
<figure class="map" data-shows='{{ ids|tojson }}'><svg viewBox="0 0 {{ side }} {{ side }}" role="img" aria-label="map of {{ points|length }} documents">
{% for point in points %}
<path d="{{ point.path }}" fill="{{ point.colour }}" fill-opacity=".75"><title>{{ point.title }}</title></path>
{% endfor %}
</svg>
<div>{% for key in keys %}<span class="key"><svg width="12" height="12" viewBox="0 0 12 12"><path d="{{ key.path }}" fill="{{ key.colour }}"/></svg> {{ key.title|breakable }}</span>{% endfor %}</div></figure>
"""


class Mark(NamedTuple):
    """One document, or one class in the key."""

    path: str
    colour: str
    title: str


def scatter(rows: list[dict[str, Any]], *, by: str = "label", groups: Sequence[str] | None = None) -> Markup:
    """Return the figure of rows with id, x and y; there is one at least.

    Args:
        rows: the documents.
        by: the column that decides colour and shape, and that a mark's title tells.
        groups: its values in the order of colours; by default those that there are, by name.
    """
    groups = sorted({row[by] for row in rows}) if groups is None else groups
    ends = [(min(row[axis] for row in rows), max(row[axis] for row in rows)) for axis in "xy"]
    span = max(high - low for low, high in ends) or 1.0

    def place(row: dict[str, Any], axis: int) -> float:
        share: float = 0.5 + (float(row["xy"[axis]]) - sum(ends[axis]) / 2) / span
        return round(EDGE + (SIDE - 2 * EDGE) * share, 1)

    numbers = {name: number for number, name in enumerate(groups)}
    points = [_mark(numbers[row[by]], place(row, 0), place(row, 1), _title(row, by)) for row in rows]
    keys = [_mark(number, 6, 6, name) for name, number in numbers.items()]
    return fill(TEMPLATE, side=SIDE, points=points, keys=keys, ids=[row["id"] for row in rows])


def _title(row: dict[str, Any], by: str) -> str:
    said = [one or "nothing" for one in row.get("predicted") or ()]
    return f"{row['id']}: {row[by]}" + (f" ({', '.join(said)})" if said else "")


def _mark(number: int, x: float, y: float, title: str) -> Mark:
    turn, colour = divmod(number, len(COLOURS))
    return Mark(SHAPES[turn % len(SHAPES)].format(x=x, y=y), COLOURS[colour], title)
