"""The forest figure: a score per model with its interval, on one axis."""

import math
from collections.abc import Iterator, Sequence

from markupsafe import Markup

from fuseline.reports.markup import fill
from fuseline.reports.standings import ResultTable

TEMPLATE = """\
{% macro position(value) %}{{ "%.2f"|format(100 * (value - ticks[0]) / (ticks[-1] - ticks[0])) }}%{% endmacro %}
<div class="forest" role="img" aria-label="{{ first.title }} on {{ split }} with 95 % intervals">
{% for row in rows if row.cells[0].value is not none %}
<div class="name">{{ row.model }}</div>
<div class="track{{ " chosen" if row.model == best else "" }}">
{% for tick in ticks %}<i style="left:{{ position(tick) }}"></i>{% endfor %}
{% if row.low is not none and row.high is not none %}<u style="left:{{ position(row.low) }};right:calc(100% - {{ position(row.high) }})"></u>{% endif %}
<s style="left:{{ position(row.cells[0].value) }}"></s>
</div>
<div class="value">{{ first.text(row.cells[0].value) }}{% if row.low is not none and row.high is not none %} [{{ first.text(row.low) }}, {{ first.text(row.high) }}]{% endif %}</div>
{% endfor %}
<div></div><div class="axis">{% for tick in ticks %}<span style="left:{{ position(tick) }}">{{ "%.4g"|format(first.scale * tick) }}</span>{% endfor %}</div>
</div>
"""


def forest(table: ResultTable, *, best: str) -> Markup | None:
    """Return the figure of the first metric of a table; None when there is nothing to span an axis."""
    values = [value for row in table.rows for value in (row.low, row.high, row.cells[0].value) if value is not None]
    ticks = round_values(values)
    if len(ticks) < 2:
        return None
    return fill(TEMPLATE, first=table.metrics[0], split=table.split, rows=table.rows, best=best, ticks=ticks)


def round_values(values: Sequence[float]) -> list[float]:
    """Return round values that span some values, at most eight, for the axis of a figure; none for no values."""
    if not values:
        return []
    low, high = min(values), max(values)
    step = next(size for size in _steps() if (high - low) / size <= 6)
    first = math.floor(low / step + 1e-9)
    count = math.ceil(high / step - 1e-9) + 1 - first
    return [round((first + number) * step, 4) for number in range(count)]


def _steps() -> Iterator[float]:
    """Yield .01, .02, .05, .1, .2, .5, 1, ..."""
    power = 0.01
    while True:
        yield from (power, 2 * power, 5 * power)
        power *= 10
