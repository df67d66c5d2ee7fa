"""The figure of lines: every point where its shares say, every line with its own look, chance between the ends."""

import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fuseline.reports.figures.curves import BOTTOM, HIGH, LEFT, RIGHT, TOP, WIDE, Curve, curves
from fuseline.reports.figures.scatter import COLOURS


def figure(*lines: Curve) -> str:
    drawn = curves(lines, title="right by asked", axis="asked")
    assert drawn is not None
    return str(drawn)


def points(path: str) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in re.findall(r"(-?[\d.]+) (-?[\d.]+)", path)]


def paths(svg: str) -> list[list[tuple[float, float]]]:
    return [points(path) for path in re.findall(r'class="line" d="M([^"]*)"', svg)]


def test_points_stand_where_their_shares_say() -> None:
    """Values from 50 to 60 % span the whole height: 55 % is in its middle."""
    (line,) = paths(figure(Curve("policy", [(0.0, 0.5), (0.5, 0.6), (1.0, 0.55)])))
    middle = (TOP + HIGH - BOTTOM) / 2
    assert line == [(LEFT, HIGH - BOTTOM), ((LEFT + WIDE - RIGHT) / 2, TOP), (WIDE - RIGHT, middle)]


def test_chance_is_the_straight_line_between_the_ends() -> None:
    svg = figure(Curve("policy", [(0.0, 0.5), (0.25, 0.6), (1.0, 0.55)]))
    (chance,) = (points(path) for path in re.findall(r'<path d="M([^"H]*)" fill="none" stroke="var\(--soft\)"', svg))
    (line,) = paths(svg)
    assert chance == [line[0], line[-1]]


@given(st.lists(st.lists(st.floats(0, 1), min_size=2, max_size=21), min_size=1, max_size=9))
def test_lines_stay_inside_and_go_to_the_right(values: list[list[float]]) -> None:
    lines = [Curve(f"m{at}", [(i / (len(one) - 1), y) for i, y in enumerate(one)]) for at, one in enumerate(values)]
    drawn = curves(lines, title="right by asked", axis="asked")
    if drawn is None:
        assert max(max(one) for one in values) - min(min(one) for one in values) < 0.01
        return
    for line in paths(str(drawn)):
        assert all(LEFT <= x <= WIDE - RIGHT and TOP <= y <= HIGH - BOTTOM for x, y in line)
        assert all(a < b for (a, _), (b, _) in pairwise(line))


def test_lines_differ_in_colour_or_dashes_and_names_are_escaped() -> None:
    lines = [Curve(f"<b>{at}", [(0.0, 0.5), (1.0, 0.6)]) for at in range(2 * len(COLOURS))]
    svg = figure(*lines)
    looks = re.findall(r'class="line" [^>]*stroke="([^"]*)" stroke-width="2" stroke-dasharray="([^"]*)"', svg)
    assert len({*looks}) == len(lines)
    assert "<b>" not in svg


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_nothing_is_drawn_of_values_that_do_not_differ(value: float) -> None:
    assert curves([Curve("flat", [(0.0, value), (1.0, value)])], title="", axis="") is None
