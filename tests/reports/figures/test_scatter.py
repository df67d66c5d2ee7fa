"""The map figure: every document is a mark inside the frame, every class has a key."""

import re

import pytest

from fuseline.reports.figures.scatter import COLOURS, EDGE, SHAPES, SIDE, scatter
from fuseline.reports.redact import shown


def rows(n, labels=3):
    return [{"id": f"d{i}", "label": f"c{i % labels:02d}", "x": 3.0 * i, "y": -i / 2} for i in range(n)]


def starts(figure):
    return [tuple(map(float, place)) for place in re.findall(r'<path d="M(-?[\d.]+) (-?[\d.]+)m', figure)]


@pytest.mark.parametrize("n", [1, 2, 40])
def test_every_document_lies_in_the_frame_and_the_map_in_its_middle(n):
    figure = scatter(rows(n))
    places = starts(figure)[:n]
    assert len(re.findall("<title>", figure)) == n
    for axis in (0, 1):
        values = [place[axis] for place in places]
        assert min(values) >= EDGE
        assert max(values) <= SIDE - EDGE
        assert (min(values) + max(values)) / 2 == pytest.approx(SIDE / 2, abs=0.2)


def test_classes_differ_in_colour_or_shape():
    most = len(COLOURS) * len(SHAPES)
    figure = scatter(rows(most, labels=most))
    marks = re.findall(r'd="M[^m]*(m[^"]*)" fill="([^"]*)" ', figure)
    assert len({*marks}) == most


def test_groups_keep_their_colours_where_one_is_empty_and_a_mark_tells_what_was_predicted():
    some = [{**row, "quadrant": "none", "predicted": ["<b>", None]} for row in rows(2)]
    figure = scatter(some, by="quadrant", groups=["all", "none"])
    assert re.findall('fill="(#[^"]*)" fill-opacity', figure) == [COLOURS[1]] * 2
    assert "<title>d0: none (&lt;b&gt;, nothing)</title>" in figure
    assert figure.count('class="key"') == 2
    assert shown(figure) == ["d0", "d1"]
