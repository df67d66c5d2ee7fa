"""References on many thousands of labels: memory that does not grow with documents times labels, or a refusal."""

import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pyarrow as pa
import pytest

from fuseline.models.classifier import BaseClassifier
from fuseline.models.features import Block
from fuseline.models.labels import Classes, Tags, label_pairs
from fuseline.models.registry import MODELS
from tests.models.reference import only, with_text_embedding
from tests.models.synthetic import Blocks, documents, make_block

N, C = 2000, 20_000  # as bool 40 MB, as float32 160 MB
MB = 1 << 20


@pytest.fixture(scope="module")
def tagged() -> Block:
    """Documents that have ten labels each, of twenty thousand."""
    return only(with_text_embedding(documents(N)), [[f"t{(10 * i + k) % C}" for k in range(10)] for i in range(N)])


@contextmanager
def at_most(bound: int) -> Iterator[None]:
    tracemalloc.start()
    try:
        yield
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < bound, f"{peak / MB:.0f} MB"


def new(kind: str, **options: object) -> BaseClassifier:
    return MODELS[kind](MODELS[kind].Config(**options))  # type: ignore[no-any-return]


@pytest.mark.parametrize(("kind", "most"), [("tfidf_linear", 5000), ("lightgbm", 1000)])
def test_too_many_classes_are_refused_before_any_work(
    kind: str, most: int, tagged: Block, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = new(kind)
    monkeypatch.setattr(type(model), "_fit", lambda *args, **more: pytest.fail("it began"))
    message = rf"classes: expected at most {most} for {kind}, got {C}; keep fewer labels .* raise max_classes"
    with at_most(30 * MB), pytest.raises(ValueError, match=message):
        model.fit(Blocks(tagged), None, seed=0)


def test_a_limit_is_the_last_that_is_allowed() -> None:
    block = with_text_embedding(documents(200))
    for kind, quick in (("tfidf_linear", {}), ("lightgbm", {"rounds": 2}), ("gmu", {"epochs": 1})):
        new(kind, max_classes=4, **quick).fit(Blocks(block), None, seed=0)
        with pytest.raises(ValueError, match="expected at most 3"):
            new(kind, max_classes=3, **quick).fit(Blocks(block), None, seed=0)


@pytest.mark.parametrize("multi", [False, True])
def test_weights_larger_than_the_memory_are_refused_before_they_are_fitted(
    multi: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    texts = pa.array([" ".join(f"w{k}" for k in rng.integers(0, 4000, 60)) for _ in range(300)])
    block = only(documents(300), [[f"c{i % 40}", *(["x"] if multi else [])] for i in range(300)])
    block = make_block(block.ids, texts, block.labels, {}, {}, {})
    model = new("tfidf_linear", C=1.0, memory_mb=5)
    monkeypatch.setattr(type(model), "_regression", lambda *args: pytest.fail("it began"))
    with pytest.raises(
        ValueError, match=r"memory_mb: expected at most 5 for the weights, got \d+; 4\d classes of 2\d,\d+ "
    ):
        model.fit(Blocks(block), None, seed=0)


@pytest.mark.parametrize(
    ("kind", "loss", "got"),
    [("bilinear", "hs", 39), ("bilinear", "softmax", 77), ("bilinear_gated", "hs", 39), ("additive", "hs", None)],
)
def test_bilinear_weights_larger_than_the_memory_are_refused_before_training(
    kind: str, loss: str, got: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """100 x 100 numbers of 4 bytes for each of 1,000 classes; a large softmax keeps them twice while it trains."""
    block = only(documents(1000), [[f"t{i}"] for i in range(1000)])
    given = {"preset": "fasttext", "loss": loss, "weights_mb": 20}
    model, small = new(kind, dim=100, **given), new(kind, dim=10, epochs=1, **given)
    small.fit(Blocks(block), None, seed=0)
    if got is None:
        monkeypatch.setattr("fuseline.models.fasttext.hogwild.train", lambda *args, **more: [0.0])
        model.fit(Blocks(block), None, seed=0)
        return
    monkeypatch.setattr("fuseline.models.fasttext.hogwild.init_params", lambda *args, **more: pytest.fail("it began"))
    message = rf"weights_mb: expected at most 20 for the class weights, got {got}; 1,000 classes of 10,000 weights: "
    with at_most(30 * MB), pytest.raises(ValueError, match=message + "lower dim, keep fewer labels, or raise"):
        model.fit(Blocks(block), None, seed=0)


@pytest.mark.parametrize("multi", [False, True])
def test_the_estimate_is_what_the_solver_takes(multi: bool) -> None:
    """An estimate that is far too low would let the machine run out of memory, one far too high refuse good work."""
    rng = np.random.default_rng(0)
    texts = pa.array([" ".join(f"w{k}" for k in rng.integers(0, 20_000, 30)) for _ in range(600)])
    labels = [[f"c{i % (3 if multi else 20)}", *(["x"] if multi and i % 3 else [])] for i in range(600)]
    block = only(documents(600), labels)
    block = make_block(block.ids, texts, block.labels, {}, {}, {})
    guessed: list[int] = []
    model = new("tfidf_linear", C=1.0, ngrams=1, max_iter=30)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(model), "_refuse_large", lambda _, C, terms, rows: guessed.extend((C, terms, rows)))
        model.fit(Blocks(block), None, seed=0)
    least = next(mb for mb in range(1, 1000) if _accepts(mb, multi, *guessed))
    tracemalloc.start()
    model.fit(Blocks(block), None, seed=0)
    peak = tracemalloc.get_traced_memory()[1] / MB
    tracemalloc.stop()
    assert 0.3 * least < peak < 1.3 * least + 20, f"estimate {least} MB, peak {peak:.0f} MB"  # 20: terms and texts


def _accepts(megabytes: int, multi: bool, classes: int, terms: int, rows: int) -> bool:
    model = new("tfidf_linear", C=1.0, memory_mb=megabytes)
    model.multi_label = multi
    try:
        model._refuse_large(classes, terms, rows)  # type: ignore[attr-defined]
    except ValueError:
        return False
    return True


@pytest.mark.parametrize("kind", ["tfidf_linear", "lightgbm"])
@pytest.mark.parametrize("multi", [False, True])
def test_no_matrix_of_documents_by_labels_is_made(kind: str, multi: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    block = documents(200, second_label=multi)
    quick = {"rounds": 2, "early_stopping": 1} if kind == "lightgbm" else {}
    expected = new(kind, **quick).fit(Blocks(block, 60), None, seed=0).predict_logits(block)
    monkeypatch.setattr(Classes, "truth", lambda *args: pytest.fail("a dense matrix"))
    again = new(kind, **quick).fit(Blocks(block), None, seed=0).predict_logits(block)
    np.testing.assert_array_equal(again, expected)


def test_tags_are_the_columns_of_the_truth() -> None:
    blocks = [documents(50, seed=seed, second_label=True) for seed in range(3)]
    names = ["even", "c3", "c0", "c2"]  # c1 is unknown
    classes = Classes(names, {name: y for y, name in enumerate(names)}, np.zeros(4, np.int64), 2, 150)
    repeated = only(blocks[0], [labels * 2 for labels in blocks[0].labels.to_pylist()])
    each = [
        np.array([[name in own for name in names] for own in block.labels.to_pylist()])
        for block in (repeated, *blocks[1:])
    ]
    assert label_pairs(repeated.labels, pa.array(names))[2] == sum(
        own.count("c1") for own in repeated.labels.to_pylist()
    )
    places = np.array([3, 0, 49, 3, 17])
    np.testing.assert_array_equal(classes.truth(repeated.labels)(places), each[0][places].astype(np.float32))
    truth = np.concatenate(each)
    tags = Tags([classes.pairs(block.labels) for block in (repeated, *blocks[1:])], [50] * 3)
    np.testing.assert_array_equal(np.stack([tags.of(c) for c in range(4)], axis=1), truth)
    np.testing.assert_array_equal(np.stack([tags.rows, tags.classes]), np.nonzero(truth))


def test_tfidf_predicts_many_labels_without_a_copy_of_its_weights() -> None:
    block = documents(200)
    model = new("tfidf_linear", C=1.0).fit(Blocks(block), None, seed=0)
    expected = model.predict_logits(block)
    terms = model.W.shape[1]  # type: ignore[attr-defined]
    rng, many = np.random.default_rng(0), (400 * MB) // (8 * terms)
    model.W = rng.normal(size=(many, terms))  # type: ignore[attr-defined]
    model.W[:4], model.b, model.labels = 0, np.zeros(many), [str(y) for y in range(many)]  # type: ignore[attr-defined]
    few = Blocks(block, 10).block.at(slice(0, 10))
    with at_most(200 * MB):
        logits = model.predict_logits(few)
    assert logits.shape == (10, many)
    X = model.vectorizer.transform([text or "" for text in few.text.to_pylist()])  # type: ignore[attr-defined]
    np.testing.assert_allclose(logits[:, -5:], X.toarray() @ model.W[-5:].T, rtol=1e-5)  # type: ignore[attr-defined]
    assert expected.shape == (200, 4)


@pytest.mark.parametrize("kind", ["gmu", "avg_probs"])
def test_streaming_references_take_any_number_of_labels(kind: str, tagged: Block) -> None:
    quick = {"dim": 4, "epochs": 1, "lr": 0.01}
    quick |= {"preset": "fasttext", "loss": "hs", "threads": 1} if kind == "avg_probs" else {"batch": 32}
    model = new(kind, **quick)
    model.fit(
        Blocks(documents(50)) if kind == "avg_probs" else Blocks(with_text_embedding(documents(50))), None, seed=0
    )
    model = new(kind, **quick)
    with at_most((30 if kind == "gmu" else 100) * MB):  # one matrix of truths would be 40 MB, one of floats 160 MB
        model.fit(Blocks(tagged), None, seed=0)
    assert len(model.labels) == C
    assert np.isfinite(model.predict_logits(tagged.at(slice(0, 20)))).all()
