"""The mean of two classifiers' probabilities, and of one where a modality is missing."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from fuseline.models.blocks import cut
from fuseline.models.classifiers import kiela
from tests.models.reference import accuracy, fitted, without
from tests.models.synthetic import documents, present

QUICK = {"preset": "fasttext", "dim": 10, "lr": 0.25, "epochs": 15, "deterministic": True}


def test_the_mean_of_both_parts_or_the_one_there_is() -> None:
    train, test = documents(), documents(200, seed=1)
    model = fitted("avg_probs", train, valid=test, image_lr=0.1, image_epochs=4, **QUICK)
    text = fitted("text", train, valid=test, **QUICK)
    image = fitted("image", train, valid=test, **{**QUICK, "lr": 0.1, "epochs": 4})
    assert model.labels == text.labels == image.labels
    p_text, p_image = (part.probabilities(part.predict_logits(test)) for part in (text, image))
    has_text = np.array([value is not None for value in test.text.to_pylist()])[:, None]
    has_image = present(test, "image")[:, None]
    expected = np.where(has_text & ~has_image, p_text, np.where(has_image & ~has_text, p_image, (p_text + p_image) / 2))
    found = model.probabilities(model.predict_logits(test))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-4)
    assert accuracy(model, test) > 0.7
    chosen = expected.argmax(axis=1)
    rows, both = np.arange(200), (has_text & has_image)[:, 0]
    share = p_text[rows, chosen] / (p_text + p_image)[rows, chosen]
    importance = model.importance(test, chosen)
    np.testing.assert_allclose(importance["text"][both], share[both], rtol=1e-4)
    assert set(importance["text"][(has_text & ~has_image)[:, 0]]) == {1.0}


def test_the_text_part_may_be_a_regression_of_terms(tmp_path: Path) -> None:
    """Wang et al. 2015 average a TF-IDF classifier with one of a network's features; words alone are another model."""
    train, test = documents(), documents(200, seed=1)
    model = fitted("avg_tfidf", train, valid=test, C=3.0, ngrams=1, **QUICK)
    text = fitted("tfidf_linear", train, valid=test, C=3.0, ngrams=1)
    image = fitted("image", train, valid=test, **QUICK)
    p_text, p_image = (part.probabilities(part.predict_logits(test)) for part in (text, image))
    has_text = np.array([value is not None for value in test.text.to_pylist()])[:, None]
    has_image = present(test, "image")[:, None]
    expected = np.where(has_text & ~has_image, p_text, np.where(has_image & ~has_text, p_image, (p_text + p_image) / 2))
    logits = model.predict_logits(test)
    np.testing.assert_allclose(model.probabilities(logits), expected, rtol=1e-4, atol=1e-7)
    model.save(tmp_path)
    np.testing.assert_array_equal(type(model).load(tmp_path).predict_logits(test), logits)
    described = model.describe()
    assert described["parameters"] == text.describe()["parameters"] + image.describe()["parameters"]


def test_both_parts_choose_what_is_left_open() -> None:
    train, test = documents(100), documents(60, seed=1)
    model = fitted("avg_tfidf", train, valid=test, ngrams=1, epochs=2, dim=4, minn=0, maxn=0, word_ngrams=1, buckets=1)
    assert (model.text.config.automatic, model.image.config.automatic) == ((), ())
    assert {"text", "image"} <= model.describe().keys()
    assert model.text.search["chosen"] == {"C": model.text.config.C}


def test_nothing_to_read_is_even() -> None:
    model = fitted("avg_probs", documents(), **QUICK)
    nothing = without(documents(5, seed=1), text=True, image=True)
    np.testing.assert_allclose(model.probabilities(model.predict_logits(nothing)), 0.25, rtol=0.2)


@pytest.mark.parametrize("loss", ["softmax", "ova", "hs"])
def test_saved_and_loaded_it_is_the_same_however_a_shard_is_cut(tmp_path: Path, loss: str) -> None:
    train, test = documents(second_label=True), documents(100, seed=1, second_label=True)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        model = fitted("avg_probs", train, valid=test, loss=loss, **QUICK)
        model.save(tmp_path / name)
    files = ["arrays.safetensors", "model.json"]
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == files
    assert [(tmp_path / "a" / f).read_bytes() for f in files] == [(tmp_path / "b" / f).read_bytes() for f in files]
    again, whole = type(model).load(tmp_path / "a"), model.predict_logits(test)
    assert (again.threshold, again.multi_label, again.sizes) == (model.threshold, True, model.sizes)
    np.testing.assert_array_equal(again.predict_logits(test), whole)
    parts = [again.predict_logits(cut(test, lo, lo + 7)) for lo in range(0, 100, 7)]
    np.testing.assert_array_equal(np.concatenate(parts), whole)


def test_facts_are_sums_over_both_parts() -> None:
    model = fitted("avg_probs", documents(100), **QUICK)
    described = model.describe()
    assert described["parameters"] == model.text.describe()["parameters"] + model.image.describe()["parameters"]
    assert isinstance(model.text, kiela.TextAlone)
    assert model.predict_logits(cut(documents(3), 0, 0)).shape == (0, 4)
    assert pa.types.is_string(documents(3).text.type)
