"""Evaluation of prediction tables against documents."""

import numpy as np
import pyarrow as pa
import pytest
from sklearn import metrics as sk

from fuseline.stores.errors import AlignmentError
from fuseline.stores.schemas import DOCUMENTS, PREDICTIONS, RESULTS
from fuseline.tasks.engine.nodes import Context
from fuseline.tasks.engine.rows import Fold
from fuseline.tasks.evaluation.evaluate import (
    CLASSES,
    CONFUSION,
    IMPORTANCE,
    TABLES,
    EvaluateConfig,
    class_table,
    confusion_table,
    count,
    importance,
    metric_table,
    score_model,
)
from fuseline.tasks.stages.train import MULTI_LABEL

LABELS = ["ant", "bee", "cat"]


def evaluate(predictions, documents, *, model, seed, splits, multi_label):
    tallies = count(predictions, documents, splits=splits, multi_label=multi_label)
    return metric_table(tallies, model=model, seed=seed, multi_label=multi_label)


def documents(rows) -> pa.Table:
    """Return a documents table of (id, split, labels) or (id, split, labels, status)."""
    return pa.Table.from_pylist(
        [
            {"id": row[0], "source": "x", "split": row[1], "labels": row[2], "status": row[3] if row[3:] else "ok"}
            for row in rows
        ],
        schema=DOCUMENTS,
    )


def predictions(rows) -> pa.Table:
    """Return a predictions table of (id, label, rank, loss, predicted)."""
    return pa.Table.from_pylist(
        [
            {
                "id": name,
                "model": "m",
                "label": label,
                "score": 0.5,
                "top_k": [],
                "predicted": predicted,
                "rank": rank,
                "loss": loss,
                "importance": [],
                "element_shares": [],
                "status": "no_input" if label is None else "ok",
                "model_key": "k",
                "dataset_keys": [],
            }
            for name, label, rank, loss, predicted in rows
        ],
        schema=PREDICTIONS,
    )


def values(table: pa.Table, split: str) -> dict[str, tuple[float, int]]:
    return {row["metric"]: (row["value"], row["n"]) for row in table.to_pylist() if row["split"] == split}


def random_shards(n: int, shards: int):
    rng = np.random.default_rng(3)
    truth, guess = rng.choice(LABELS, n), rng.choice(LABELS, n)
    split = rng.choice(["train", "valid", "test"], n)
    known = documents([(f"d{i}", split[i], [truth[i]]) for i in range(n)])
    guessed = predictions(
        [(f"d{i}", guess[i], 1 if guess[i] == truth[i] else 6, 0.5, ["bee", "cat"]) for i in range(n)]
    )
    edges = np.linspace(0, n, shards + 1).astype(int)
    cuts = list(zip(edges[:-1], np.diff(edges), strict=True))
    return [guessed.slice(*cut) for cut in cuts], [known.slice(*cut) for cut in cuts], truth, guess, split


@pytest.mark.parametrize("shards", [1, 4])
def test_single_label_metrics_agree_with_scikit_learn_however_sharded(shards):
    guessed, known, truth, guess, split = random_shards(90, shards)
    table = evaluate(iter(guessed), iter(known), model="m", seed=1, splits=("valid", "test"), multi_label=False)
    assert table.schema == RESULTS
    assert set(table["split"].to_pylist()) == {"valid", "test"}
    for name in ("valid", "test"):
        mask, found = split == name, values(table, name)
        assert found["accuracy"] == (pytest.approx(sk.accuracy_score(truth[mask], guess[mask])), mask.sum())
        assert found["f1_macro"][0] == pytest.approx(sk.f1_score(truth[mask], guess[mask], average="macro"))
        assert found["log_loss"][0] == pytest.approx(0.5)
        assert found["accuracy_low"][0] < found["accuracy"][0] < found["accuracy_high"][0]


def test_multi_label_uses_the_predicted_set():
    known = documents([("a", "test", ["ant", "bee"]), ("b", "test", ["cat"])])
    guessed = predictions([("a", "ant", 1, 0.1, ["ant"]), ("b", "ant", 2, 0.3, ["ant", "cat"])])
    found = values(
        evaluate(iter([guessed]), iter([known]), model="m", seed=0, splits=["test"], multi_label=True), "test"
    )
    # By hand: hits ant, cat = 2; true 3, predicted 3; per document 2/3 and 2/3.
    assert found["f1_micro"][0] == pytest.approx(2 / 3)
    assert found["f1_samples"][0] == pytest.approx(2 / 3)
    assert found["accuracy"][0] == 0
    assert found["p_at_1"][0] == 0.5
    assert found["top_5"][0] == 1


def test_what_is_not_evaluated_and_what_counts_as_wrong():
    known = documents(
        [
            ("right", "test", ["ant"]),
            ("unlabelled", "test", []),
            ("twice", "test", ["ant"], "duplicate_id"),
            ("unseen", "test", ["yak"]),
            ("empty", "test", ["bee"]),
            ("other", "train", ["ant"]),
            ("nowhere", None, ["ant"]),
        ]
    )
    guessed = predictions(
        [
            ("right", "ant", 1, 0.1, ["ant"]),
            ("unlabelled", "ant", None, None, ["ant"]),
            ("twice", "ant", 1, 0.1, ["ant"]),
            ("unseen", "ant", None, None, ["ant"]),
            ("empty", None, None, None, []),
            ("other", "ant", 1, 0.1, ["ant"]),
            ("nowhere", "ant", 1, 0.1, ["ant"]),
        ]
    )
    table = evaluate(iter([guessed]), iter([known]), model="m", seed=0, splits=["test", "valid"], multi_label=False)
    found = values(table, "test")
    assert found["accuracy"] == (pytest.approx(1 / 3), 3)
    assert found["unknown_label"] == (1, 3)
    assert found["no_input"] == (1, 3)
    assert found["log_loss"] == (pytest.approx(0.1), 1)
    assert values(table, "valid") == {}


def test_tables_of_classes_and_confusions():
    guessed, known, truth, guess, split = random_shards(60, 2)
    tallies = count(iter(guessed), iter(known), splits=["test"], multi_label=False)
    classes, confusion = class_table(tallies, model="m"), confusion_table(tallies, model="m")
    assert (classes.schema, confusion.schema) == (CLASSES, CONFUSION)
    test = split == "test"
    matrix = sk.confusion_matrix(truth[test], guess[test], labels=LABELS)
    found = {(row["label"], row["predicted"]): row["n"] for row in confusion.to_pylist()}
    assert [[found.get((t, g), 0) for g in LABELS] for t in LABELS] == matrix.tolist()
    np.testing.assert_array_equal(classes["support"], matrix.sum(1))
    np.testing.assert_allclose(classes["precision"], np.diag(matrix) / matrix.sum(0))


def test_confusions_come_in_order_however_they_were_counted():
    rows = [("a", "cat", "bee"), ("b", "ant", None), ("c", "ant", "cat"), ("d", "ant", "bee")]
    shards = [
        (predictions([(name, best, 6, 0.1, [])]), documents([(name, "test", [true])])) for name, true, best in rows
    ]
    guessed, known = zip(*shards, strict=True)
    table = confusion_table(count(iter(guessed), iter(known), splits=["test"], multi_label=False), model="m")
    found = [(row["label"], row["predicted"]) for row in table.to_pylist()]
    assert found == [("ant", None), ("ant", "bee"), ("ant", "cat"), ("cat", "bee")]


@pytest.mark.parametrize("fold", [None, Fold(1, 3)])
def test_scores_say_of_which_fold_they_are(fold):
    known, guessed = documents([("a", "test", ["ant"])]), predictions([("a", "ant", 1, 0.1, ["ant"])])
    config = EvaluateConfig(model="m", kind="text", seed=7, splits=("test",))
    context = Context("", {}, {}, (), facts={"models/m": {MULTI_LABEL: False}}, fold=fold)
    tables = score_model(lambda: iter([[guessed, known]]), config, context)
    assert set(tables) == set(TABLES)
    assert set(tables["metrics"]["fold"].to_pylist()) == {fold and fold.k}
    assert set(tables["metrics"]["seed"].to_pylist()) == {7}


def test_no_prediction_is_null_in_the_confusions():
    known, guessed = documents([("a", "test", ["ant"])]), predictions([("a", None, None, None, [])])
    table = confusion_table(count(iter([guessed]), iter([known]), splits=["test"], multi_label=False), model="m")
    assert table.to_pylist() == [{"model": "m", "split": "test", "label": "ant", "predicted": None, "n": 1}]


def test_predictions_of_other_documents_are_refused():
    known, guessed = documents([("a", "test", ["ant"])]), predictions([("b", "ant", 1, 0.1, [])])
    with pytest.raises(AlignmentError, match="predict again"):
        evaluate(iter([guessed]), iter([known]), model="m", seed=0, splits=["test"], multi_label=False)


def test_a_missing_shard_is_refused():
    known, guessed = documents([("a", "test", ["ant"])]), predictions([("a", "ant", 1, 0.1, [])])
    with pytest.raises(ValueError, match="longer"):
        evaluate(iter([guessed]), iter([known, known]), model="m", seed=0, splits=["test"], multi_label=False)


def test_an_empty_data_set_has_no_metrics():
    table = evaluate(
        iter([PREDICTIONS.empty_table()]),
        iter([DOCUMENTS.empty_table()]),
        model="m",
        seed=0,
        splits=["test"],
        multi_label=True,
    )
    assert len(table) == 0
    assert table.schema == RESULTS


def test_importance_is_the_mean_share_per_modality():
    known = documents([("a", "test", ["ant"]), ("b", "test", ["ant"]), ("c", "test", ["ant"]), ("d", "train", ["ant"])])
    guessed = predictions([(name, "ant", 1, 0.1, []) for name in "abcd"])
    both = [{"modality": "image", "share": 0.25}, {"modality": "text", "share": 0.75}]
    shares = pa.array([both, [{"modality": "text", "share": 1.0}], [], both], PREDICTIONS.field("importance").type)
    guessed = guessed.set_column(PREDICTIONS.get_field_index("importance"), PREDICTIONS.field("importance"), shares)
    shards = [guessed.slice(0, 1), guessed.slice(1)], [known.slice(0, 1), known.slice(1)]
    table = importance(iter(shards[0]), iter(shards[1]), model="m", splits=["test", "valid"])
    assert table.schema == IMPORTANCE
    found = {(row["split"], row["modality"]): (row["share"], row["n"]) for row in table.to_pylist()}
    assert found == {("test", "image"): (0.125, 2), ("test", "text"): (0.875, 2)}


@pytest.mark.parametrize("size", [60, 7])
def test_with_logits_every_class_is_scored(size):
    """The areas are those of scikit-learn over the probabilities; who has no input takes no part."""
    guessed, known, truth, _, split = random_shards(60, 1)
    logits = np.random.default_rng(1).normal(size=(60, 3)).astype(np.float32)
    present = np.arange(60) % 10 > 0
    field = pa.field("logits", pa.list_(pa.float32(), 3), metadata={"labels": '["cat","ant","bee"]', "link": "softmax"})
    lists = pa.FixedSizeListArray.from_arrays(pa.array(logits.reshape(-1)), 3)
    table = pa.Table.from_arrays([pa.array(present), lists], schema=pa.schema([pa.field("present", pa.bool_()), field]))
    streams = ([one.slice(lo, size) for lo in range(0, 60, size)] for one in (guessed[0], known[0], table))
    tallies = count(*map(iter, streams), splits=["test"], multi_label=False)
    found = values(metric_table(tallies, model="m", seed=0, multi_label=False), "test")
    mask = (split == "test") & present
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    names = enumerate(["cat", "ant", "bee"])
    expected = [sk.roc_auc_score(truth[mask] == name, probabilities[mask, c]) for c, name in names]
    assert found["auc"] == (pytest.approx(np.mean(expected), abs=1e-6), mask.sum())
