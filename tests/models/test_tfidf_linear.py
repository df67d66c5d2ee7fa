"""TF-IDF with logistic regression: scikit-learn's own probabilities, before and after a save."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline

from fuseline.models.blocks import cut
from fuseline.models.features import Block
from tests.models.reference import accuracy, fitted, only, without
from tests.models.synthetic import documents


def strings(block: Block) -> list[str]:
    return [text or "" for text in block.text.to_pylist()]


def peer(classifier: object) -> object:
    return make_pipeline(TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True), classifier)


def two_classes(block: Block) -> Block:
    return only(block, [["ab"[int(labels[0][1]) // 2]] for labels in block.labels.to_pylist()])


@pytest.mark.parametrize("two", [False, True])
def test_probabilities_are_those_of_scikit_learn(tmp_path: Path, two: bool) -> None:
    train, test = documents(300), documents(80, seed=1)
    train, test = (two_classes(train), two_classes(test)) if two else (train, test)
    model = fitted("tfidf_linear", train, C=1.0, rows=64, valid=test)
    model.save(tmp_path)
    own = peer(LogisticRegression(max_iter=1000)).fit(strings(train), [y[0] for y in train.labels.to_pylist()])
    columns = [list(own.classes_).index(label) for label in model.labels]
    expected = own.predict_proba(strings(test))[:, columns]
    for one in (model, type(model).load(tmp_path)):
        np.testing.assert_allclose(one.probabilities(one.predict_logits(test)), expected, atol=2e-4)


def test_several_labels_are_told_one_by_one(tmp_path: Path) -> None:
    train, test = documents(300, second_label=True), documents(80, seed=1, second_label=True)
    train = only(train, [[*labels, "all"] for labels in train.labels.to_pylist()])
    model = fitted("tfidf_linear", train, C=1.0, valid=test)
    truth = np.array([[name in labels for name in model.labels] for labels in train.labels.to_pylist()])
    some = [y for y, name in enumerate(model.labels) if name != "all"]
    own = peer(OneVsRestClassifier(LogisticRegression(max_iter=1000))).fit(strings(train), truth[:, some])
    probabilities = model.probabilities(model.predict_logits(test))
    np.testing.assert_allclose(probabilities[:, some], own.predict_proba(strings(test)), atol=2e-4)
    np.testing.assert_allclose(probabilities[:, model.labels.index("all")], 300.5 / 301, rtol=1e-6)


def test_saved_and_loaded_it_is_the_same_however_a_shard_is_cut(tmp_path: Path) -> None:
    model, test = fitted("tfidf_linear", documents(300)), documents(80, seed=1)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        fitted("tfidf_linear", documents(300), rows=33).save(tmp_path / name)
    files = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert files == ["arrays.safetensors", "model.json", "vocabulary.json"]
    assert [(tmp_path / "a" / f).read_bytes() for f in files] == [(tmp_path / "b" / f).read_bytes() for f in files]
    again = type(model).load(tmp_path / "a")
    whole = model.predict_logits(test)
    np.testing.assert_array_equal(again.predict_logits(test), whole)
    parts = [again.predict_logits(cut(test, lo, lo + 7)) for lo in range(0, 80, 7)]
    np.testing.assert_array_equal(np.concatenate(parts), whole)


def test_a_missing_text_scores_the_intercept() -> None:
    model, test = fitted("tfidf_linear", documents(300)), documents(20, seed=1)
    assert 0.4 < accuracy(model, documents(400, seed=2)) < 0.6
    logits = model.predict_logits(without(test, text=True))
    np.testing.assert_array_equal(logits, np.tile(model.b.astype(np.float32), (20, 1)))
    share = model.importance(test, np.zeros(20, np.int64))["text"]
    assert share.tolist() == [0.0 if text is None else 1.0 for text in test.text.to_pylist()]


def test_it_says_when_it_did_not_converge() -> None:
    assert fitted("tfidf_linear", documents(200)).describe()["converged"]
    assert not fitted("tfidf_linear", documents(200), max_iter=2).describe()["converged"]


def test_trials_are_not_solved_to_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[int] = []
    fit = LogisticRegression.fit

    def noted(self: LogisticRegression, *arrays: Any) -> LogisticRegression:
        steps.append(self.max_iter)
        return fit(self, *arrays)

    monkeypatch.setattr(LogisticRegression, "fit", noted)
    data = documents(120)
    model = fitted("tfidf_linear", data, valid=data, max_iter=500)
    assert steps[-1] == 500
    assert set(steps[:-1]) == {100}
    assert len(steps) - 1 == len(model.facts["search"]["trials"])
