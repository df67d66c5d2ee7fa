"""The frontier figure: what is on the frontier, where names go, and that the file is safe."""

import re
from itertools import pairwise
from xml.etree import ElementTree

import pytest

from fuseline.reports.figures.frontier import Point, best_so_far, family, frontier_png, frontier_svg, spread_out
from fuseline.reports.measures import Measure


def point(model, kind="text", score=0.5, std=0.01, seconds=1.0, size=100.0):
    return Point(model, kind, score, std, seconds, size)


ACCURACY = Measure("accuracy", "accuracy", unit="share")
LOSS = Measure("log_loss", "log loss", unit="nats", lower_is_better=True)
POINTS = [
    point("text", score=0.5, seconds=0.1, size=30),
    point("my additive", "additive", score=0.6, seconds=2),
    point("pq", "pq", score=0.55, seconds=0.1, size=34),
    point("gmu", "gmu", score=0.7, std=None, seconds=None, size=None),
]


def test_the_frontier_holds_what_nothing_cheaper_reaches():
    points = [(2, 5.0), (1, 3.0), (3, 4.0), (1, 4.0), (4, 5.0), (5, 6.0)]
    assert best_so_far(points, ACCURACY) == [(1, 4.0), (2, 5.0), (5, 6.0)]
    assert best_so_far(points, LOSS) == [(1, 3.0)]
    assert best_so_far([], ACCURACY) == []


def test_a_figure_of_another_metric_is_not_in_per_cent():
    assert "log loss on test<" in frontier_svg(POINTS, LOSS)
    assert "accuracy on test, %<" in frontier_svg(POINTS, ACCURACY)


def test_names_are_moved_apart_as_little_as_need_be():
    assert spread_out([1.0, 5.0, 9.0], gap=1) == [1.0, 5.0, 9.0]
    assert spread_out([5.0, 5.0], gap=2) == [4.0, 6.0]
    assert spread_out([5.0, 1.0, 5.0, 5.0], gap=2) == [3.0, 1.0, 5.0, 7.0]
    moved = spread_out([3.0, 3.1, 2.9, 3.0, 8.0], gap=0.5)
    order = sorted(moved)
    assert all(b - a >= 0.5 - 1e-9 for a, b in pairwise(order))
    assert moved[4] == 8.0


def test_families_differ_in_colour_and_shape():
    assert [family(kind) for kind in ("text", "bilinear", "rspq", "lightgbm", "anything new")] == [
        "one modality", "continuous fusion", "discretised", "reference", "reference",
    ]  # fmt: skip


def test_equal_points_give_equal_pictures_that_ask_for_nothing():
    svg = frontier_svg(POINTS, ACCURACY)
    assert svg == frontier_svg(POINTS, ACCURACY)
    root = ElementTree.fromstring(svg)  # noqa: S314 - our own
    words = " ".join("".join(element.itertext()) for element in root.iter())
    for name in ("text", "my additive", "pq", "accuracy on test", "bytes per document"):
        assert name in words
    assert "gmu" not in words  # it has no cost to be drawn at
    assert not re.search(r"<script|href=\"(?!#)|url\((?!#)", svg)
    assert frontier_png(POINTS, ACCURACY).startswith(b"\x89PNG")


def test_names_are_text_not_markup_or_formulas():
    svg = frontier_svg([point("<b>&$x_1$"), point("other", score=0.4, seconds=3, size=200)], ACCURACY)
    assert "<b>" not in svg
    assert "&lt;b&gt;&amp;$x_1$" in svg


@pytest.mark.parametrize("points", [[point("one")], [point("a"), point("b")], [point("a", seconds=None, size=None)]])
def test_few_points_are_drawn_too(points):
    assert frontier_svg(points, ACCURACY)
