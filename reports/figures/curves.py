"""Shares that are right by how many documents are asked for, a colour per line, as SVG that asks for nothing."""

from collections.abc import Sequence
from typing import NamedTuple

from markupsafe import Markup

from fuseline.reports.figures.forest import round_values
from fuseline.reports.figures.scatter import COLOURS
from fuseline.reports.markup import fill

WIDE, HIGH = 560, 320  # of the figure
LEFT, RIGHT, TOP, BOTTOM = 50, 22, 12, 44  # what stands around the lines
RATES = (0.0, 0.25, 0.5, 0.75, 1.0)  # with a word on the axis
DASHES = ("", "7 3", "2 3")  # of lines whose colours come again

TEMPLATE = """\
<div class="map"><svg viewBox="0 0 {{ wide }} {{ high }}" role="img" aria-label="{{ title }}" font-size="12">
{% for y, text in heights %}
<path d="M{{ left }} {{ y }}H{{ right }}" stroke="var(--line)"/><text x="{{ left - 6 }}" y="{{ y + 4 }}" text-anchor="end" fill="var(--soft)">{{ text }}</text>
{% endfor %}
{% for x, text in places %}
<text x="{{ x }}" y="{{ bottom + 16 }}" text-anchor="middle" fill="var(--soft)">{{ text }}</text>
{% endfor %}
<text x="{{ (left + right) / 2 }}" y="{{ high - 6 }}" text-anchor="middle" fill="var(--soft)">{{ axis }}</text>
<path d="{{ chance }}" fill="none" stroke="var(--soft)" stroke-dasharray="1 4" stroke-width="1.5"/>
{% for line in lines %}
<path class="line" d="{{ line.path }}" fill="none" stroke="{{ line.colour }}" stroke-width="2" stroke-dasharray="{{ line.dash }}"><title>{{ line.name }}</title></path>
{% endfor %}
</svg>
<div>{% for line in lines %}<span class="key"><svg width="26" height="10" viewBox="0 0 26 10"><path d="M0 5H26" stroke="{{ line.colour }}" stroke-width="2" stroke-dasharray="{{ line.dash }}"/></svg> {{ line.name|breakable }}</span>{% endfor %}<span class="key"><svg width="26" height="10" viewBox="0 0 26 10"><path d="M0 5H26" stroke="var(--soft)" stroke-width="1.5" stroke-dasharray="1 4"/></svg> drawn by lot</span></div></div>
"""


class Curve(NamedTuple):
    """One line."""

    name: str
    points: list[tuple[float, float]]  # share that is asked, share that is right; both 0..1, by rising first


class _Line(NamedTuple):
    name: str
    path: str
    colour: str
    dash: str


def curves(lines: Sequence[Curve], *, title: str, axis: str) -> Markup | None:
    """Return the figure of lines between the same ends, with the straight line that chance gives; None if all is flat.

    Args:
        lines: at least one, each with two points or more.
        title: what the figure says to those who do not see it.
        axis: what the share below the figure is of.
    """
    ticks = round_values([right for line in lines for _, right in line.points])
    if len(ticks) < 2:
        return None
    right, bottom = WIDE - RIGHT, HIGH - BOTTOM

    def x(share: float) -> float:
        return round(LEFT + (right - LEFT) * share, 1)

    def y(value: float) -> float:
        return round(bottom - (bottom - TOP) * (value - ticks[0]) / (ticks[-1] - ticks[0]), 1)

    def path(points: Sequence[tuple[float, float]]) -> str:
        return "M" + "L".join(f"{x(share)} {y(value)}" for share, value in points)

    drawn = [
        _Line(line.name, path(line.points), COLOURS[at % len(COLOURS)], DASHES[at // len(COLOURS) % len(DASHES)])
        for at, line in enumerate(lines)
    ]
    chance = path([lines[0].points[0], lines[0].points[-1]])
    heights, places = (
        [(y(tick), f"{100 * tick:.4g} %") for tick in ticks],
        [(x(rate), f"{100 * rate:.0f} %") for rate in RATES],
    )
    return fill(
        TEMPLATE, wide=WIDE, high=HIGH, left=LEFT, right=right, bottom=bottom, title=title, axis=axis, heights=heights,
        places=places, chance=chance, lines=drawn,
    )  # fmt: skip
