"""What quadrants are called, and in which order they stand."""

import pytest

from fuseline.reports.quadrants import quadrant, quadrants


@pytest.mark.parametrize(
    ("models", "names"),
    [
        (["m"], ["right", "wrong"]),
        (["text", "image"], ["text only", "image only", "all", "none"]),
        (
            ["a", "b", "c"],
            ["a only", "b only", "c only", "a and b only", "a and c only", "b and c only", "all", "none"],
        ),
    ],
)
def test_every_set_of_models_has_a_quadrant(models: list[str], names: list[str]) -> None:
    assert quadrants(models) == names
    assert quadrant(models, models) == ("right" if len(models) == 1 else "all")
    assert quadrant([], models) == names[-1]
