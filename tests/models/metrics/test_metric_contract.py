"""What every metric of the registry promises; one that a package registers is tested by being installed."""

import math

import numpy as np
import pyarrow as pa
import pytest

from fuseline.models.metrics.registry import (
    METRICS,
    Counts,
    Documents,
    Metric,
    checked_metric,
    checked_selection,
    comparable,
    counted,
    registry_rows,
    scores,
)
from fuseline.models.metrics.scores import Tally

every = pytest.mark.parametrize("name", sorted(METRICS))
LABELS = np.array(["1", "2", "3", "4"])  # numbers: a metric may want an order


def made_up(n: int, seed: int) -> Tally:
    """Count n documents with made-up predictions."""
    rng = np.random.default_rng(seed)
    best = LABELS[rng.integers(0, 4, n)]
    truth = [sorted({best[i] if rng.random() < 0.6 else "2", *(["3"] if rng.random() < 0.3 else [])}) for i in range(n)]
    rank = [1 if best[i] in truth[i] else int(rng.integers(2, 9)) for i in range(n)]
    lists = pa.list_(pa.string())
    score = rng.random(n)
    columns = (truth, lists), ([[one] for one in best], lists), (best, None), (score, pa.float32()), (rank, pa.int32())
    probabilities = pa.FixedSizeListArray.from_arrays(pa.array(rng.random(4 * n), pa.float32()), 4)
    own = pa.array([[int(label) - 1 for label in labels] for labels in truth], pa.list_(pa.int32()))
    loss = pa.array(rng.random(n), pa.float32())
    return counted(Documents(*(pa.array(*column) for column in columns), loss, probabilities, own))


@every
def test_a_metric_says_what_it_is(name: str) -> None:
    assert METRICS[name].kind == name
    assert {row["name"]: row["summary"] for row in registry_rows()}[name] == METRICS[name].summary
    assert len(METRICS[name].summary) > 10


@every
@pytest.mark.parametrize("multi_label", [False, True])
def test_a_metric_is_a_number_of_any_documents(name: str, multi_label: bool) -> None:
    for n in (1, 2, 50):
        found = scores(made_up(n, n), multi_label=multi_label)
        if name not in found and n < 50:
            continue  # a few documents may have no such score
        value, on = found[name]
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


def test_what_a_metric_sums_itself_adds_over_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    def ranks(documents: Documents) -> np.ndarray:
        return np.array([float(np.sum(np.asarray(documents.rank)))])

    def value(counts: Counts) -> float:
        return float(counts.tally.sums["mean_rank"][0] / counts.tally.n)

    monkeypatch.setitem(METRICS, "mean_rank", Metric("mean_rank", "mean place of the own label", value, sums=ranks))
    parts = [made_up(30, 1), made_up(0, 2), made_up(10, 3)]
    whole = parts[0] + parts[1] + parts[2]
    assert parts[1] == Tally()
    assert scores(whole, multi_label=False)["mean_rank"] == (
        pytest.approx((parts[0].sums["mean_rank"] + parts[2].sums["mean_rank"])[0] / 40),
        40,
    )
    assert parts[0].sums["mean_rank"][0] >= 30


def test_models_are_compared_by_all_but_counts_of_documents() -> None:
    counts = {"no_input", "unknown_label", "auc"}  # auc is there when evaluation is asked for it
    assert counts | set(comparable()) == set(METRICS)
    assert not counts & set(comparable())
    assert checked_metric("accuracy") == "accuracy"
    for name in (*counts, "accuracies"):
        with pytest.raises(ValueError, match=f"got '{name}'"):
            checked_metric(name)
    assert checked_selection("auc") == "auc"
    with pytest.raises(ValueError, match="got 'no_input'"):
        checked_selection("no_input")
