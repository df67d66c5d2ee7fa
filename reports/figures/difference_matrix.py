"""Values beside what each is compared with, as a coloured matrix: red where something is lost, green where gained."""

from typing import NamedTuple

from markupsafe import Markup

from fuseline.reports.markup import fill
from fuseline.reports.measures import Measure

TEMPLATE = """\
<div class="scroll"><table class="heat wide">
<thead><tr><th></th>{% for name in matrix.columns %}<th>{{ name|breakable }}</th>{% endfor %}</tr></thead>
<tbody>
{% for line in matrix.lines %}
<tr><th title="{{ line.name }}"><bdi>{{ line.name }}</bdi></th>
<td>{{ line.start }}</td>
{% for cell in line.cells %}
{% if cell is none %}<td class="none"></td>{% else %}<td class="{{ "ok" if cell.gain else "no" }}{{ " deep" if cell.depth > 55 else "" }}" style="--s:{{ "%.0f"|format(cell.depth) }}%" title="{{ line.name }}, {{ matrix.columns[loop.index] }}: {{ cell.value }}">{{ cell.text }}</td>{% endif %}
{% endfor %}
</tr>
{% endfor %}
</tbody></table></div>
"""


class Change(NamedTuple):
    """One cell."""

    value: str
    text: str  # the difference
    depth: float  # of its colour, per cent: the share of the start that is lost or gained
    gain: bool  # or no change


class Line(NamedTuple):
    """One row: where it starts, and what becomes of that; None where there is no value."""

    name: str
    start: str
    cells: list[Change | None]


class DifferenceMatrix(NamedTuple):
    """The figure; `columns` begins with the head of the starts."""

    columns: list[str]
    lines: list[Line]

    def drawn(self) -> Markup:
        """Return the figure."""
        return fill(TEMPLATE, matrix=self)


def line(name: str, measure: Measure, start: float, values: list[float | None]) -> Line:
    """Return a row of values of a measure, compared with what it starts from."""
    return Line(name, measure.text(start), [None if v is None else _change(measure, start, v) for v in values])


def _change(measure: Measure, start: float, value: float) -> Change:
    moved = abs(value - start)
    depth = 0.0 if not moved else min(100.0, 100 * moved / abs(start)) if start else 100.0
    return Change(measure.text(value), measure.difference(value - start), depth, not measure.better(start, value))
