"""Successive halving against surfaces whose best place is known."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fuseline.models.halving import Dimension, Tried, neighbours, search, spread

GRID = [
    Dimension(tuple({"x": x} for x in range(8)), start=1),
    Dimension(tuple({"y": y} for y in range(5))),
    Dimension(({"a": 0, "b": 0}, {"a": 3, "b": 6})),
]


def surface(options: dict[str, Any], size: int) -> tuple[float, float]:
    """Best at x = 6, y = 3, a = 3; on few documents with an error."""
    error = 2.0 / size
    return -((options["x"] - 6) ** 2) - (options["y"] - 3) ** 2 + options["a"] / 3 - error * options["x"], 0.0


def everything(options: dict[str, Any]) -> bool:
    return True


def run(options: list[dict[str, Any]], size: int, seed: int) -> list[tuple[float, float]]:
    return [surface(one, size) for one in options]


def test_the_best_of_a_smooth_surface_is_found() -> None:
    found = search(GRID, (10, 100), run, allowed=everything, first=15, refined=20)
    assert found.best.options == {"x": 6, "y": 3, "a": 3, "b": 6}
    assert found.best.score == pytest.approx(1 - 0.02 * 6)


def test_every_step_tries_fewer_options_on_more_documents() -> None:
    found = search(GRID, (10, 100, 1000), run, allowed=everything, first=18, refined=0)
    assert [sum(one.documents == size for one in found.trials) for size in (10, 100, 1000)] == [18, 6, 2]
    kept = sorted((one for one in found.trials if one.documents == 10), key=lambda one: -one.score)[:6]
    again = [one.options for one in found.trials if one.documents == 100]
    assert sorted(map(repr, again)) == sorted(repr(one.options) for one in kept)


def test_the_score_of_the_last_step_decides() -> None:
    def turned(options: list[dict[str, Any]], size: int, seed: int) -> list[tuple[float, float]]:
        return [(one["x"] if size == 1 else -one["x"], 0.0) for one in options]

    found = search(GRID[:1], (1, 2), turned, allowed=everything, first=8, refined=0)
    assert found.best.options == {"x": 6}  # 7 and 6 went on


def test_equal_scores_are_told_apart_by_the_sureness() -> None:
    found = search(GRID[:1], (1,), lambda options, *_: [(0.5, one["x"]) for one in options],
                   allowed=everything, first=8, refined=0)  # fmt: skip
    assert found.best.options == {"x": 7}


def test_options_that_may_not_be_tried_are_not() -> None:
    found = search(GRID, (10, 20), run, allowed=lambda one: one["x"] < 5, first=12, refined=30)
    assert found.best.options["x"] == 4
    assert all(one.options["x"] < 5 for one in found.trials)


def test_a_loss_that_is_not_finite_is_never_chosen_and_shown_as_none() -> None:
    def broken(options: list[dict[str, Any]], *_: int) -> list[tuple[float, float]]:
        return [(-np.inf, 0.0) if one["x"] else (0.1, 0.0) for one in options]

    found = search(GRID[:1], (1,), broken, allowed=everything, first=8, refined=3)
    assert found.best.options == {"x": 0}
    assert Tried({}, 1, -np.inf, 0.0).as_dict()["score"] is None


def test_a_search_in_which_nothing_is_finite_is_still_plain_values() -> None:
    found = search(GRID[:1], (1,), lambda options, *_: [(-np.inf, 0.0)] * len(options),
                   allowed=everything, first=8, refined=3)  # fmt: skip
    assert found.as_dict()["valid_p1"] is None
    assert found.as_dict()["chosen"] == {"x": 0}


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 6), min_size=1, max_size=4), st.integers(4, 30))
def test_options_of_the_first_step_differ_and_are_spread(sizes: list[int], first: int) -> None:
    dimensions = [Dimension(tuple({f"d{i}": value} for value in range(size))) for i, size in enumerate(sizes)]
    places = spread(dimensions, first, lambda _: True)
    assert len(set(places)) == len(places) <= max(first, int(np.prod(sizes)))
    assert places == spread(dimensions, first, lambda _: True)
    if len(places) == first >= 4 * max(sizes):
        for column, size in zip(zip(*places, strict=True), sizes, strict=True):
            assert set(column) == set(range(size))


def test_neighbours_differ_by_one_step_of_one_dimension() -> None:
    assert [neighbours(GRID, (0, 2, 1), turn) for turn in range(3)] == [
        [(1, 2, 1)],
        [(0, 1, 1), (0, 3, 1)],
        [(0, 2, 0)],
    ]


def test_luck_with_one_seed_does_not_decide() -> None:
    def lucky(options: list[dict[str, Any]], size: int, seed: int) -> list[tuple[float, float]]:
        return [(one["x"] + (6.0 if (one["x"], seed) == (4, 0) else 0.0), 0.0) for one in options]

    alone, several = (
        search(GRID[:1], (10,), lucky, allowed=everything, first=8, refined=0, seeds=seeds) for seeds in (1, 3)
    )
    assert (alone.best.options, alone.best.score) == ({"x": 4}, 10.0)
    assert (several.best.options, several.best.score) == ({"x": 7}, 7.0)  # 4 has (10 + 4 + 4) / 3
    assert [one.options["x"] for one in several.trials[8:]] == [4, 7, 6, 5, 3] * 2
