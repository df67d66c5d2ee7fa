"""What every metric of the registry promises; one that a package registers is tested by being installed."""

import math

import numpy as np
import pyarrow as pa
import pytest

from fuseline.models.metrics.registry import METRICS, Counts, Documents, counted, registry_rows, scores
from fuseline.models.metrics.scores import Tally

every = pytest.mark.parametrize("name", sorted(METRICS))
LABELS = np.array(["a", "b", "c", "d"])


def made_up(n: int, seed: int) -> Tally:
    """Count n documents with made-up predictions."""
    rng = np.random.default_rng(seed)
    best = LABELS[rng.integers(0, 4, n)]
    truth = [sorted({best[i] if rng.random() < 0.6 else "b", *(["c"] if rng.random() < 0.3 else [])}) for i in range(n)]
    rank = [1 if best[i] in truth[i] else int(rng.integers(2, 9)) for i in range(n)]
    lists = pa.list_(pa.string())
    columns = (truth, lists), ([[one] for one in best], lists), (best, None), (rank, pa.int32())
    return counted(Documents(*(pa.array(*column) for column in columns), pa.array(rng.random(n), pa.float32())))


@every
def test_a_metric_says_what_it_is(name: str) -> None:
    assert METRICS[name].kind == name
    assert {row["name"]: row["summary"] for row in registry_rows()}[name] == METRICS[name].summary
    assert len(METRICS[name].summary) > 10


@every
@pytest.mark.parametrize("multi_label", [False, True])
def test_a_metric_is_a_number_of_any_documents(name: str, multi_label: bool) -> None:
    for n in (1, 2, 50):
        value, on = scores(made_up(n, n), multi_label=multi_label)[name]
        assert math.isfinite(value)
        assert 0 < on <= n
    assert scores(Tally(), multi_label=multi_label) == {}


@every
def test_a_metric_of_shards_is_that_of_the_whole(name: str) -> None:
    """It depends on the counts alone, and these add."""
    parts = [made_up(30, seed) for seed in range(3)]
    left, right = (parts[0] + parts[1]) + parts[2], parts[0] + (parts[1] + parts[2])
    values = [METRICS[name].value(Counts(one, multi_label=False)) for one in (left, right)]
    assert values[0] == pytest.approx(values[1], rel=1e-12)
