"""Artifacts: keys that Prefect takes, cells that are never null."""

import pytest

from fuseline.flows.results.artifacts import artifact_key
from fuseline.flows.results.leaderboard import Standing, cells, title
from fuseline.reports.measures import Measure


@pytest.mark.parametrize(
    ("name", "key"), [("clipart", "clipart"), ("My_Set.v2", "my-set-v2"), ("-A-", "a"), ("...", "data")]
)
def test_keys_are_lower_case_words(name: str, key: str) -> None:
    assert artifact_key(name) == key


def test_what_was_not_measured_is_an_empty_cell() -> None:
    standing = Standing(
        "pq", Measure("accuracy", "accuracy", unit="share"), 0.51234567, None, None, None, 1234, 0, 1.5, None
    )
    assert cells(standing) == {
        "model": "pq", "valid": "51.2", "test": "", "95 % interval": "", "fit": "1.5 s", "size": "",
    }  # fmt: skip
    assert title([standing]) == "accuracy, %, on 1,234 valid, 0 test documents"
