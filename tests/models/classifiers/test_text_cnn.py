"""The network over words: by hand in numpy, its size, short and strange texts, one batch or many, and its epochs."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fuseline.flows.results.searches import trials_of
from fuseline.models.classifiers.text_cnn import TextCNN, TextCNNConfig
from fuseline.models.columns import Sequence
from fuseline.models.features import Block
from fuseline.models.metrics.registry import scores
from fuseline.models.scoring import count
from fuseline.models.stopping import limits
from tests.models.synthetic import Blocks

QUICK = {"dim": 6, "maps": 5, "epochs": 2, "lr": 0.01, "batch": 16}
Texts = list[list[int]]


def block(texts: Texts, labels: list[list[str]] | None = None, vocabulary: int = 9) -> Block:
    """Return documents with these token ids."""
    offsets = np.concatenate([[0], np.cumsum([len(text) for text in texts])]).astype(np.int64)
    values = np.array([word for text in texts for word in text], np.int32)
    column = Sequence(offsets, values, np.array([len(text) > 0 for text in texts], np.bool_), vocabulary)
    ids = pa.array([f"d{row}" for row in range(len(texts))])
    return Block(ids, pa.array(labels or [["a"]] * len(texts), pa.list_(pa.string())), {"embed/words": column})


def documents(n: int = 120, seed: int = 0, classes: int = 3) -> Block:
    """Return texts whose class is the word before word 9."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, classes, n)
    y[:classes] = np.arange(classes)[:n]
    texts = [[*rng.integers(1, 9, rng.integers(0, 5)), 1 + c, 9, *rng.integers(1, 9, rng.integers(0, 5))] for c in y]
    return block([[int(word) for word in text] for text in texts], [[f"c{c}"] for c in y])


def fitted(train: Block, valid: Block | None = None, **options: Any) -> TextCNN:
    config = TextCNNConfig.model_validate({**QUICK, **options})
    return TextCNN(config).fit(Blocks(train, 50), None if valid is None else Blocks(valid), seed=0)


def by_hand(model: TextCNN, text: list[int]) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Return features and logits of one text by their definition, in plain loops."""
    arrays: dict[str, Any] = {name: array.astype(np.float64) for name, array in model._arrays().items()}
    words = [np.zeros(model.config.dim) if word == 0 else arrays["branches.words.words.weight"][word] for word in text]
    features = []
    for number, width in enumerate(model.config.widths):
        kernels, biases = (arrays[f"branches.words.filters.{number}.{name}"] for name in ("weight", "bias"))
        padded = [*words, *[np.zeros(model.config.dim)] * max(0, width - len(words))]
        for kernel, bias in zip(kernels, biases, strict=True):
            answers = [
                sum(kernel[:, k] @ padded[start + k] for k in range(width)) + bias
                for start in range(len(padded) - width + 1)
            ]
            features.append(max(0.0, *answers, 0.0) if text else 0.0)
    h = np.array(features)
    return h, arrays["last.weight"] @ h + arrays["last.bias"]


def test_features_and_logits_are_those_of_the_definition() -> None:
    model = fitted(documents())
    texts: Texts = [[1, 9, 2, 3, 4, 5, 6, 7], [3], [0, 0, 0, 0, 0, 0], [], [2, 0, 9, 1], [9] * 40, [1, 2, 3, 4, 5]]
    expected = [by_hand(model, text) for text in texts]
    np.testing.assert_allclose(model.hidden(block(texts)), [h for h, _ in expected], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(model.predict_logits(block(texts)), [o for _, o in expected], rtol=1e-4, atol=1e-5)


TEXT = st.lists(st.integers(0, 9), max_size=12)


@settings(max_examples=15, deadline=None)
@given(text=TEXT, others=st.lists(TEXT, max_size=5), batch=st.integers(1, 4))
def test_a_document_does_not_depend_on_the_others_of_its_batch(text: list[int], others: Texts, batch: int) -> None:
    model = SHARED.setdefault("model", fitted(documents()))
    alone = model.predict_logits(block([text]))
    for texts in ([text, *others], [*others, text]):
        row = texts.index(text)
        np.testing.assert_allclose(model.predict_logits(block(texts))[row], alone[0], rtol=1e-5, atol=1e-6)
    model.config = model.config.model_copy(update={"batch": batch})
    together = model.predict_logits(block([text, *others]))
    np.testing.assert_allclose(together[0], alone[0], rtol=1e-5, atol=1e-6)


SHARED: dict[str, TextCNN] = {}


@pytest.mark.parametrize(("maps", "vocabulary"), [(128, 9), (100, 700)])
def test_the_published_networks_have_the_size_of_the_paper(maps: int, vocabulary: int) -> None:
    """Presets Z and P: words of 100 numbers, filters over 3, 4 and 5 of them, a linear map to the classes."""
    train = block([[1, 2], [3], [vocabulary]], [["a"], ["b"], ["c"]], vocabulary)
    model = TextCNN(TextCNNConfig(maps=maps, epochs=1, lr=0.001)).fit(Blocks(train), None, seed=0)
    filters = sum(width * 100 * maps + maps for width in (3, 4, 5))
    assert model.describe()["parameters"] == (vocabulary + 1) * 100 + filters + 3 * maps * 3 + 3
    assert model.hidden(train).shape == (3, 3 * maps)
    assert model.config.dropout == 0.5


def test_unknown_words_stay_zeros_and_known_ones_are_trained() -> None:
    model = fitted(block([[1, 0], [2, 0]] * 20, [["a"], ["b"]] * 20))
    vectors = model._arrays()["branches.words.words.weight"]
    assert not vectors[0].any()
    assert vectors[1:3].any(axis=1).all()


def test_word_order_tells_classes() -> None:
    model = fitted(documents(300), dim=16, maps=16, epochs=15, widths=[2, 3])
    values = scores(count(model, Blocks(documents(200, 1))), multi_label=False)
    assert values["accuracy"][0] > 0.95


@pytest.mark.parametrize("n", [1, 2, 17])
def test_batches_of_one_document(n: int) -> None:
    model = fitted(documents(20), batch=1)
    assert model.predict_logits(documents(n, 5)).shape == (n, 3)


def test_documents_without_any_word_get_the_bias() -> None:
    model = fitted(documents())
    empty = documents(4).masked(frozenset({"embed/words"}))
    np.testing.assert_allclose(model.predict_logits(empty), [model._arrays()["last.bias"]] * 4)
    nothing = fitted(block([[], []] * 5, [["a"], ["b"]] * 5))
    assert np.isfinite(nothing.predict_logits(block([[], [1]]))).all()


def test_a_class_of_valid_alone_is_no_class() -> None:
    valid = documents(40, 2, classes=4)
    model = fitted(documents(), valid, select="p_at_1", patience=1)
    assert model.labels == sorted(model.labels, key=lambda name: (-_count(documents(), name), name))
    assert "c3" not in model.labels


def _count(of: Block, label: str) -> int:
    return sum(label in labels for labels in of.labels.to_pylist())


def test_another_vocabulary_is_refused() -> None:
    model = fitted(documents())
    other = block([[1]], vocabulary=12)
    with pytest.raises(ValueError, match=r"embed/words: expected Size\(.*values=9\), got .*values=12\); predict with"):
        model.predict_logits(other)


@pytest.mark.parametrize("given", [{}, {"lr": 0.002}])
def test_epochs_are_those_after_which_valid_was_best(given: dict[str, float]) -> None:
    config = TextCNNConfig.model_validate({"dim": 6, "maps": 4, "batch": 64, **given})
    train, valid = documents(120), documents(60, 1)
    model = TextCNN(config).fit(Blocks(train), Blocks(valid), seed=0)
    search: Any = model.facts["search"]
    chosen = search["chosen"]
    assert chosen["epochs"] == model.facts["epochs"] == model.config.epochs
    assert set(chosen) == ({"epochs"} if given else {"lr", "epochs"})
    assert next(trial for trial, taken in trials_of(search) if taken)["score"] == search["valid_p1"]
    stopped = TextCNNConfig.model_validate({**config.model_dump(), **chosen, "select": "p_at_1", **limits(120, 64)})
    assert TextCNN(stopped).fit(Blocks(train), Blocks(valid), seed=0).facts["best_epoch"] == chosen["epochs"]


@pytest.mark.parametrize(
    ("documents", "batch", "epochs", "patience"),
    # 1,000 steps and 150 without a better one where a pass is few of them, else 60 passes and 5.
    [(571, 128, 200, 30), (1, 128, 1000, 150), (4672, 128, 60, 5), (20_000, 64, 60, 5), (1874, 128, 67, 10)],
)
def test_a_trial_over_few_documents_has_more_passes(documents: int, batch: int, epochs: int, patience: int) -> None:
    assert limits(documents, batch) == {"epochs": epochs, "patience": patience}


def test_without_valid_a_tenth_of_the_training_documents_chooses() -> None:
    config = TextCNNConfig(dim=6, maps=4, lr=0.01)
    model = TextCNN(config).fit(Blocks(documents(60)), None, seed=0)
    assert model.facts["search"]["documents"] in range(40, 60)  # type: ignore[index,call-overload]


@pytest.mark.slow
def test_five_thousand_classes_of_three_documents(tmp_path: Path) -> None:
    labels = [[f"c{row // 3}"] for row in range(15_000)]
    train = block([[row % 9 + 1, 9] for row in range(15_000)], labels)
    model = fitted(train, dim=8, maps=4, epochs=1, batch=64)
    assert model.predict_logits(train.at(slice(0, 10))).shape == (10, 5000)
