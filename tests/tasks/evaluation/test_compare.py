"""Every two models on the same documents: what is compared, by which test, and what it must not depend on."""

import numpy as np
import pyarrow as pa
import pytest
from scipy.stats import binomtest

from fuseline.stores.errors import AlignmentError
from fuseline.stores.score_schemas import COMPARISONS
from fuseline.tasks.engine.nodes import Context
from fuseline.tasks.evaluation.compare import CompareConfig, compare_models
from fuseline.tasks.stages.train import MULTI_LABEL
from tests.tasks.evaluation.test_evaluate import LABELS, documents, predictions


def shards(n, size, *, models=("a", "b"), several=False, split="test"):
    """Return documents and predictions of models that are right in 80, 60, ... % of them."""
    rng = np.random.default_rng(3)
    truth = [sorted(rng.choice(LABELS, 2 if several and i % 2 else 1, replace=False).tolist()) for i in range(n)]
    known = documents([(f"d{i}", split, truth[i]) for i in range(n)])
    tables = [known]
    for place, _ in enumerate(models):
        best = [t[0] if rng.random() < 0.8 - 0.2 * place else LABELS[i % 3] for i, t in enumerate(truth)]
        tables.append(predictions([(f"d{i}", best[i], 1, 0.1, [best[i]]) for i in range(n)]))
    return lambda: ([table.slice(lo, size) for table in tables] for lo in range(0, n, size))


def compared(stream, *, models=("a", "b"), several=False, splits=("test",)):
    facts = {f"models/{name}": {MULTI_LABEL: several} for name in models}
    table = compare_models(stream, CompareConfig(models=models, splits=splits), Context("", {}, {}, facts=facts))
    assert table["comparisons"].schema == COMPARISONS
    return table["comparisons"].to_pylist()


def test_pairs_are_tested_on_the_documents_on_which_they_differ():
    stream = shards(150, 150)
    rows = {(row["model"], row["other"]): row for row in compared(stream)}
    ((known, a, b),) = list(stream())
    right = [
        np.array(
            [best in own for best, own in zip(table["label"].to_pylist(), known["labels"].to_pylist(), strict=True)]
        )
        for table in (a, b)
    ]
    only = [int((right[0] & ~right[1]).sum()), int((right[1] & ~right[0]).sum())]
    assert rows.keys() == {("a", None), ("b", None), ("a", "b"), ("b", "a")}
    pair = rows["a", "b"]
    assert (pair["test"], pair["n"]) == ("mcnemar", 150)
    assert pair["p"] == pytest.approx(binomtest(only[0], sum(only)).pvalue)
    assert pair["value"] == pytest.approx(right[0].mean() - right[1].mean())
    assert pair["low"] < pair["value"] < pair["high"]
    other = rows["b", "a"]
    assert (other["p"], other["value"]) == (pair["p"], -pair["value"])
    assert (other["low"], other["high"]) == pytest.approx((-pair["high"], -pair["low"]))
    assert rows["a", None]["value"] == pytest.approx(right[0].mean())
    assert rows["a", None]["low"] < right[0].mean() < rows["a", None]["high"]


@pytest.mark.parametrize("several", [False, True])
def test_the_shards_do_not_matter(several):
    one, cut = (compared(shards(90, size, several=several), several=several) for size in (90, 7))
    assert one == cut
    assert {row["metric"] for row in one} == ({"f1_micro", "p_at_1"} if several else {"accuracy"})
    tests = {(row["metric"], row["test"]) for row in one if row["other"]}
    assert tests == ({("f1_micro", "permutation"), ("p_at_1", "mcnemar")} if several else {("accuracy", "mcnemar")})


def test_all_pairs_of_several_models():
    rows = compared(shards(30, 11, models=("a", "b", "c")), models=("a", "b", "c"))
    assert len(rows) == 3 + 6


def test_one_document_and_models_that_agree():
    (same,) = list(shards(1, 1, models=("a",))())
    rows = compared(lambda: iter([[same[0], same[1], same[1]]]))
    pairs = [row for row in rows if row["other"]]
    assert [(row["value"], row["low"], row["high"], row["p"]) for row in pairs] == [(0, 0, 0, 1)] * 2


def test_a_split_without_documents_has_no_rows():
    assert compared(shards(10, 5), splits=("valid",)) == []
    assert compared(lambda: iter([])) == []


def test_predictions_of_other_documents_are_refused():
    ((known, a, b),) = list(shards(4, 4)())
    with pytest.raises(AlignmentError, match="predict again"):
        compared(lambda: iter([[known, a, b.set_column(0, "id", pa.array(["x"] * 4))]]))
