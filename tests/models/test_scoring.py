"""Predictions and scores in whole arrays: the same as document by document."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from fuseline.models import scoring
from fuseline.models.errors import TrainingError
from fuseline.models.features import Block
from fuseline.models.ranked import LogitMatrix
from fuseline.models.registry import MODELS
from fuseline.models.scoring import count, logit_parts, own, ragged, score, single
from fuseline.stores.fitted import SavedCheckpoint
from fuseline.stores.places import open_root
from fuseline.stores.schemas import PREDICTIONS
from fuseline.tasks.engine.nodes import Context
from fuseline.tasks.engine.shard_features import block_of
from fuseline.tasks.stages.predict import PredictConfig, predict
from tests.models.synthetic import Blocks, documents, present, tokens, vectors, with_parts
from tests.tasks.feature_nodes import read

TINY = float(np.finfo(np.float32).tiny)
OPTIONS = {"preset": "fasttext", "dim": 8, "epochs": 3, "lr": 0.3, "deterministic": True}
FEATURES = {"text": ("clean/text",), "additive": ("clean/text", "embed/image"), "max": ("clean/text", "embed/image"),
            "pq": ("clean/text", "quantize/pq"), "image": ("embed/image",)}  # fmt: skip


def awkward(n: int = 92) -> Block:
    """Return documents of which some have several labels, none, unknown ones, and nothing to read."""
    block = documents(n, seed=5, second_label=True)
    labels, text, there = block.labels.to_pylist(), block.text.to_pylist(), present(block, "image").copy()
    labels[0], labels[1], labels[2] = [], ["yak"], ["yak", "c1", "even", "c0", "c3", "c2"]
    for row in (3, 40, 41):
        text[row], there[row] = None, False
    masks = dict.fromkeys(("image", "pq", "rspq"), there)
    own = pa.array(labels, pa.list_(pa.string()))
    return with_parts(block, text=pa.array(text, pa.string()), labels=own, present=masks)


def tables(block: Block, features: tuple[str, ...]) -> list[pa.Table]:
    """Return the shard that a block is of, documents first."""

    def fixed(values: np.ndarray) -> pa.Array:
        return pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), values.shape[1])

    made = {
        "clean/text": {"text": block.text.fill_null("")},
        "embed/image": {"present": present(block, "image"), "embedding": fixed(vectors(block, "image"))},
        "quantize/pq": {"present": present(block, "pq"), "codes": fixed(tokens(block, "pq"))},
    }
    columns = [{"labels": block.labels}, *(made[name] for name in features)]
    return [pa.table({"id": block.ids, **found}) for found in columns]


def one_by_one(classifier: Any, block: Block, config: PredictConfig, fixed: dict[str, Any]) -> pa.Table:
    """Predict as the definition says, a document at a time."""
    logits = classifier.predict_logits(block)
    probabilities = classifier.probabilities(logits)
    number = {label: c for c, label in enumerate(classifier.labels)}
    shares = classifier.importance(block, logits.argmax(axis=1))
    rows = []
    for i, (name, labels, row, order) in enumerate(
        zip(
            block.ids.to_pylist(), block.labels.to_pylist(), probabilities, np.argsort(-logits, kind="stable"),
            strict=True,
        )
    ):  # fmt: skip
        seen = any(block.columns[one.name].present[i] for one in classifier.inputs(classifier.config))
        best = order[: config.top_k]
        known = [number[label] for label in labels if label in number]
        chosen = np.flatnonzero(row >= classifier.threshold) if classifier.multi_label else best[:1]
        found = {
            "label": classifier.labels[best[0]],
            "score": row[best[0]],
            "top_k": [{"label": classifier.labels[c], "score": row[c]} for c in best],
            "predicted": [classifier.labels[c] for c in chosen],
            "rank": 1 + min(int(np.flatnonzero(order == c)[0]) for c in known) if known else None,
            "loss": float(-np.log(np.maximum(row[known], TINY)).mean()) if known else None,
            "importance": [{"modality": m, "share": share[i]} for m, share in sorted(shares.items())],
            "element_shares": [],
            "status": "ok",
        }
        nothing = {"label": None, "score": None, "top_k": [], "predicted": [], "rank": None, "loss": None,
                   "importance": [], "element_shares": [], "status": "no_input"}  # fmt: skip
        rows.append({"id": name, **(found if seen else nothing), **fixed})
    return pa.Table.from_pylist(rows, schema=PREDICTIONS)


@pytest.mark.parametrize("task", ["single", "multi"])
@pytest.mark.parametrize(("kind", "loss"), [*((kind, "softmax") for kind in sorted(FEATURES)), ("additive", "hs")])
def test_predictions_are_those_of_one_document_at_a_time(
    kind: str, loss: str, task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = MODELS[kind]
    train = Blocks(documents(200, second_label=True))
    classifier = entry(entry.Config(**OPTIONS, task=task, loss=loss)).fit(train, train, seed=1)
    classifier.save(tmp_path)
    features = FEATURES[kind]
    config = PredictConfig(model="m", kind=kind, top_k=3)
    reads = tuple(read(name) for name in ("documents/d", *features))
    context = Context(
        "",
        {"models/m": SavedCheckpoint(open_root(tmp_path.parent), tmp_path.name)},
        {"models/m": "key", "clean/text": "k2", "self": "own"},
        reads,
    )
    shard = tables(awkward(), features)
    fixed = {"model": "m", "model_key": f"key/{tmp_path.name}", "dataset_keys": ["clean/text=k2", "models/m=key"]}
    block = block_of(reads, shard)
    expected = one_by_one(classifier, block, config, fixed)
    found = predict(shard, config, context)
    assert found.equals(expected)
    assert expected["status"].to_pylist().count("no_input") >= 3
    monkeypatch.setattr(scoring, "CELLS", 7 * len(classifier.labels))  # 13 full parts, and one document
    monkeypatch.setattr(scoring, "RANKED", 7)
    assert predict(shard, config, context).equals(expected)
    assert predict([table.slice(0, 0) for table in shard], config, context).equals(PREDICTIONS.empty_table())


def test_rank_and_loss_by_hand() -> None:
    names = pa.array(["a", "b", "c"])
    labels = pa.array([["b"], ["c", "a"], ["x"], [], ["x", "c"], ["x"]], pa.list_(pa.string()))
    p = np.array([[0.5, 0.25, 0.25], [0.2, 0.5, 0.3], [1, 0, 0], [1, 0, 0], [0.5, 0.5, 0.0], [1, 0, 0]], np.float32)
    rank, loss = own(names, labels, LogitMatrix(np.log(np.maximum(p, TINY)), p))
    assert rank.to_pylist() == [2, 2, None, None, 3, None]
    assert loss.to_pylist() == [
        pytest.approx(np.log(4)), pytest.approx((np.log(1 / 0.3) + np.log(5)) / 2), None, None,
        pytest.approx(-np.log(TINY)), None,
    ]  # fmt: skip


def test_rank_1_is_the_best_label_also_among_equals() -> None:
    even = np.full((3, 3), 1 / 3, np.float32)
    labels = pa.array([["a"], ["b"], ["c", "b"]])
    rank, _ = own(pa.array(["a", "b", "c"]), labels, LogitMatrix(even, even))
    assert rank.to_pylist() == [1, 2, 2]


def test_classes_whose_probabilities_are_equal_stand_by_their_logits() -> None:
    logits, certain = np.array([[30.0, 40.0, 20.0]], np.float32), np.ones((1, 3), np.float32)
    ranked = LogitMatrix(logits, certain)
    assert ranked.top(1)[0].tolist() == [[1]]
    assert ranked.top(3)[0].tolist() == [[1, 0, 2]]
    assert own(pa.array(["a", "b", "c"]), pa.array([["a", "b"]]), ranked)[0].to_pylist() == [1]


def test_lists_of_names() -> None:
    assert single(pa.array(["a", None, "c"])).to_pylist() == [["a"], [], ["c"]]
    assert ragged(np.array([2, 0, 1]), pa.array([1, 2, 3])).to_pylist() == [[1, 2], [], [3]]


@pytest.mark.parametrize(("where", "value"), [(slice(None), np.nan), ((0, 0), np.inf)], ids=["all", "one"])
def test_logits_that_are_no_numbers_are_refused(where: Any, value: float) -> None:
    entry = MODELS["text"]
    classifier = entry(entry.Config(**OPTIONS)).fit(Blocks(documents(50)), None, seed=0)
    classifier.params.W[where] = value
    with pytest.raises(TrainingError, match="logits: expected finite"):
        list(score(classifier, documents(5)))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_one_logit_that_is_no_finite_number_is_enough(value: float, monkeypatch: pytest.MonkeyPatch) -> None:
    entry, block = MODELS["text"], documents(5)
    classifier = entry(entry.Config(**OPTIONS)).fit(Blocks(documents(50)), None, seed=0)
    logits = classifier.predict_logits(block)
    logits[4, 0] = value
    monkeypatch.setattr(classifier, "predict_logits", lambda part: logits)
    with pytest.raises(TrainingError, match="logits: expected finite"):
        list(score(classifier, block))


def test_more_classes_than_fit_are_scored_document_by_document(monkeypatch: pytest.MonkeyPatch) -> None:
    entry, block = MODELS["text"], documents(5)
    classifier = entry(entry.Config(**OPTIONS)).fit(Blocks(documents(50)), None, seed=0)
    whole = classifier.predict_logits(block)
    monkeypatch.setattr(scoring, "CELLS", len(classifier.labels) - 1)
    parts = list(logit_parts(classifier, block))
    assert [len(part) for part, _ in parts] == [1] * 5
    np.testing.assert_array_equal(np.concatenate([logits for _, logits in parts]), whole)


def test_a_split_without_labels_cannot_be_scored() -> None:
    entry, block = MODELS["text"], documents(5)
    classifier = entry(entry.Config(**OPTIONS)).fit(Blocks(documents(50)), None, seed=0)
    bare = with_parts(block, labels=pa.array([[]] * 5, pa.list_(pa.string())))
    assert count(classifier, Blocks(block)).n == 5
    with pytest.raises(ValueError, match="expected labelled documents, got none"):
        count(classifier, Blocks(bare))


def test_a_label_at_the_threshold_is_predicted() -> None:
    entry, block = MODELS["text"], documents(5)
    classifier = entry(entry.Config(**OPTIONS, task="multi")).fit(Blocks(documents(50)), None, seed=0)
    classifier.threshold = float(classifier.probabilities(classifier.predict_logits(block))[0, 0])
    (part,) = score(classifier, block)
    assert classifier.labels[0] in part.predicted[0].as_py()
