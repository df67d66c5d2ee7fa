"""LightGBM as a classifier: equal to LightGBM itself, and a missing modality is a missing value."""

from pathlib import Path

import lightgbm
import numpy as np
import pytest
from scipy.special import softmax

from tests.models.reference import accuracy, fitted, only, with_text_embedding
from tests.models.synthetic import documents, present, vectors, with_parts

QUICK = {"rounds": 20, "min_rows": 5, "bins": 255, "early_stopping": None}
BOTH = {**QUICK, "embeddings": ("image", "text")}


def test_scores_are_those_of_lightgbm() -> None:
    train, test = documents(300), documents(50, seed=1)
    model = fitted("lightgbm", train, rows=70, **QUICK)
    X, X_test = (np.where(present(b, "image")[:, None], vectors(b, "image"), np.nan) for b in (train, test))
    y = [model.labels.index(labels[0]) for labels in train.labels.to_pylist()]
    peer = lightgbm.LGBMClassifier(
        n_estimators=20, min_child_samples=5, reg_lambda=1.0, random_state=0, deterministic=True, force_row_wise=True,
        n_jobs=1, verbosity=-1,
    )  # fmt: skip
    peer.fit(X, y)
    logits = model.predict_logits(test)
    np.testing.assert_allclose(logits, peer.booster_.predict(X_test, raw_score=True), atol=1e-5)
    np.testing.assert_allclose(model.probabilities(logits), softmax(logits, axis=1), atol=1e-6)


def test_many_rare_classes_are_learnt() -> None:
    """A table with 144 classes once ended with scores of 1 for a few of them: 19 % right instead of 74 %."""
    rng = np.random.default_rng(0)
    y = (rng.zipf(1.3, 1500) - 1) % 100
    dense = (rng.normal(size=(100, 8))[y] + rng.normal(size=(1500, 8))).astype(np.float32)
    block = only(with_parts(documents(1500), dense={"image": dense}), [[f"c{c}"] for c in y])
    block = with_parts(block, codes={}, present={"image": np.ones(1500, np.bool_)})
    model = fitted(
        "lightgbm", block, valid=block, rounds=25, min_rows=5, bins=255, early_stopping=None, leaves=15, threads=1
    )
    assert accuracy(model, block) > 0.9
    assert np.abs(model.predict_logits(block)).max() < 100


def test_codes_are_categories_and_add_to_the_text() -> None:
    train, test = with_text_embedding(documents(600)), with_text_embedding(documents(400, seed=1))
    text, both = (fitted("lightgbm", train, **QUICK, embeddings=("text",), codes=c) for c in ((), ("pq",)))
    assert 0.4 < accuracy(text, test) < 0.6
    assert accuracy(both, test) > 0.75
    assert "cat_boundaries" in both.boosters[0].model_to_string()


def test_absent_means_missing_not_zero() -> None:
    """Rows without an image belong to class a; rows whose image is zero to b."""
    block = documents(400)
    vectors(block, "image")[:] = 0
    block = only(block, [["b"] if has else ["a"] for has in present(block, "image")])
    model = fitted("lightgbm", block, valid=block, **QUICK)
    assert accuracy(model, block) == 1


def test_single_missing_values_are_missing_not_zero() -> None:
    """Rows that lack the first value belong to class a; rows where it is zero to b."""
    block = documents(400)
    lacking = np.zeros(vectors(block, "image").shape, np.bool_)
    lacking[:, 0] = present(block, "image") & (np.arange(400) % 3 == 0)
    vectors(block, "image")[:] = 0
    block = only(block, [["a"] if gap else ["b"] for gap in lacking[:, 0]])
    model = fitted("lightgbm", with_parts(block, missing={"image": lacking}), valid=block, rows=64, **QUICK)
    assert accuracy(model, with_parts(block, missing={"image": lacking})) == 1
    assert accuracy(model, block) < 1


@pytest.mark.parametrize("second", [False, True])
def test_saved_and_loaded_it_is_the_same(tmp_path: Path, second: bool) -> None:
    train = with_text_embedding(documents(300, second_label=second))
    model = fitted("lightgbm", train, **BOTH, codes=("pq",))
    folders = [tmp_path / name for name in ("a", "b")]
    for folder, one in zip(
        folders, (model, fitted("lightgbm", train, rows=64, threads=2, **BOTH, codes=("pq",))), strict=True
    ):
        folder.mkdir()
        one.save(folder)
    files = sorted(path.name for path in folders[0].iterdir())
    assert len(files) == 2 + (len(model.labels) if second else 1)
    written = sum(path.stat().st_size for path in folders[0].glob("trees-*.txt"))
    described = model.describe()
    assert described["bytes"] == pytest.approx(written, rel=0.01)
    assert (described["bytes_per_document"], described["columns"]) == (4 * 18 + 4, 22)
    assert [(folders[0] / f).read_bytes() for f in files] == [(folders[1] / f).read_bytes() for f in files]
    again, test = type(model).load(folders[0]), with_text_embedding(documents(90, seed=1))
    assert (again.labels, again.threshold, again.multi_label) == (model.labels, model.threshold, second)
    np.testing.assert_array_equal(again.predict_logits(test), model.predict_logits(test))


def test_several_labels_are_told_one_by_one() -> None:
    train, test = documents(600, second_label=True), documents(200, seed=1, second_label=True)
    model = fitted("lightgbm", train, valid=test, **QUICK)
    assert model.multi_label
    even = model.probabilities(model.predict_logits(test))[:, model.labels.index("even")] > 0.5
    has = present(test, "image")
    truth = np.array(["even" in labels for labels in test.labels.to_pylist()])
    assert np.mean(even[has] == truth[has]) > 0.9


def test_early_stopping_keeps_the_best_round() -> None:
    noise = only(documents(200), [[f"c{i}"] for i in np.random.default_rng(0).integers(0, 2, 200)])
    model = fitted("lightgbm", noise, valid=noise, rounds=200, early_stopping=3, min_rows=5, learning_rate=3.0)
    assert model.facts["trees"] < 400


def test_refusals() -> None:
    with pytest.raises(ValueError, match="at least one embedding"):
        fitted("lightgbm", documents(20), embeddings=())
    with pytest.raises(ValueError, match="expected each name once"):
        fitted("lightgbm", documents(20), embeddings=("image", "image"))
    with pytest.raises(ValueError, match="dense: expected 'embed/none'"):
        fitted("lightgbm", documents(60), embeddings=("none",))
    one = only(documents(30), [["a"]] * 30)
    with pytest.raises(ValueError, match="classes: expected at least 2"):
        fitted("lightgbm", one)
