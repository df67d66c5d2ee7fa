"""The contract of every classifier of Kiela 2018: it learns, saves, streams, and knows a missing modality."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray

from fuseline.models.blocks import cut
from fuseline.models.classifiers import kiela
from fuseline.models.columns import Codes, Dense
from fuseline.models.errors import CheckpointError, TrainingError
from fuseline.models.fasttext.classifier import FastTextClassifier
from fuseline.models.fasttext.corpus import chunk_of, images_of, no_bags, scale_of
from fuseline.models.features import Block, width
from fuseline.models.registry import MODELS, registry_rows
from tests.models.synthetic import DIM, Blocks, documents, make_block, parts, present, vectors, with_parts

KIELA = ["text", "image", "additive", "max", "gated", "bilinear", "bilinear_gated", "pq", "rspq"]
QUICK = {"preset": "fasttext", "dim": 10, "lr": 0.25, "epochs": 15, "deterministic": True}
FUSED = [name for name in KIELA if name not in ("text", "image")]


def fitted(
    name: str, block: Block | None = None, *, seed: int = 0, rows: int = 10_000, **settings: object
) -> FastTextClassifier:
    entry = MODELS[name]
    config = entry.Config.model_validate({**QUICK, **settings})
    train = Blocks(documents() if block is None else block, rows)
    return entry(config).fit(train, Blocks(documents(200, seed=5)), seed=seed)


def accuracy(model: FastTextClassifier, block: Block) -> float:
    best = model.predict_logits(block).argmax(axis=1)
    return float(np.mean([model.labels[y] in labels for y, labels in zip(best, block.labels.to_pylist(), strict=True)]))


def without(block: Block, *, text: bool = False, image: bool = False) -> Block:
    n, known = len(block), parts(block)
    if image:
        known["dense"] = {"image": np.full((n, DIM), np.nan, np.float32)}
        known["present"] = dict.fromkeys(known["present"], np.zeros(n, np.bool_))
    return make_block(**{**known, "text": pa.nulls(n, pa.string()) if text else block.text})


@pytest.fixture(scope="module", params=KIELA)
def model(request: pytest.FixtureRequest) -> FastTextClassifier:
    return fitted(request.param)


def test_two_modalities_tell_what_one_cannot() -> None:
    held_out = documents(400, seed=1)
    scores = {name: accuracy(fitted(name), held_out) for name in KIELA}
    assert 0.4 < scores["text"] < 0.6
    assert 0.4 < scores["image"] < 0.6
    assert min(scores[name] for name in FUSED) > 0.75, scores


@pytest.mark.parametrize("name", ["gated", "bilinear_gated"])
def test_both_gates_learn_and_differ(name: str) -> None:
    models = [fitted(name, gate=gate) for gate in ("text", "image")]
    assert min(accuracy(model, documents(400, seed=1)) for model in models) > 0.7
    assert not np.array_equal(*(model.params.W for model in models))


@pytest.mark.parametrize("loss", ["softmax", "hs", "ns", "ova"])
def test_every_loss_learns_and_gives_probabilities(loss: str) -> None:
    model, held_out = fitted("pq", loss=loss), documents(400, seed=1)
    assert accuracy(model, held_out) > 0.75
    probabilities = model.probabilities(model.predict_logits(held_out))
    assert probabilities.dtype == np.float32
    assert probabilities.min() >= 0
    assert probabilities.max() <= 1
    if loss in ("softmax", "hs"):
        np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)


def test_saving_and_loading_changes_nothing(model: FastTextClassifier, tmp_path: Path) -> None:
    block = documents(100, seed=2)
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    model.save(tmp_path / "a")
    back = type(model).load(tmp_path / "a")
    np.testing.assert_array_equal(back.predict_logits(block), model.predict_logits(block))
    assert (back.labels, back.threshold, back.sizes) == (model.labels, model.threshold, model.sizes)
    back.save(tmp_path / "b")
    for file in ("model.json", "arrays.safetensors"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_logits_do_not_depend_on_the_batch(model: FastTextClassifier) -> None:
    block = documents(90, seed=2)
    whole = model.predict_logits(block)
    for size in (1, 7, 64):
        parts = [model.predict_logits(cut(block, lo, lo + size)) for lo in range(0, 90, size)]
        np.testing.assert_array_equal(np.concatenate(parts), whole)


def test_a_document_with_nothing_has_zero_logits(model: FastTextClassifier) -> None:
    block = without(documents(5), text=True, image=True)
    np.testing.assert_array_equal(model.predict_logits(block), 0)


@pytest.mark.parametrize("name", FUSED)
def test_a_missing_modality_drops_its_term(name: str) -> None:
    model, block = fitted(name), documents(200, seed=1)
    W, dim = model.params.W[:, :10], 10
    t = model._hidden(encoded(model, without(block, image=True)))[1][:, :dim]
    logits = model.predict_logits(without(block, image=True))
    if name.startswith("bilinear"):
        assert np.isfinite(logits).all()
    else:
        np.testing.assert_allclose(logits, t @ W.T, atol=1e-4)
    assert accuracy(model, without(block, text=True)) > 0.35
    assert accuracy(model, without(block, image=True)) > 0.35


def encoded(model: FastTextClassifier, block: Block) -> "object":
    from fuseline.models.fasttext.corpus import encode

    return encode(block, model.reads(model.config), model.dictionary, model._shape(), model.scale)


def test_forward_formulas_by_hand() -> None:
    # Word "a" and the end of text at U = (1, -2), image (3, 4) -> (.6, .8), V the identity: t = (1, -2), v = (.6, .8).
    block = cut(documents(1), 0, 1)
    block = make_block(
        block.ids, pa.array(["a"]), block.labels, {"image": np.float32([[3, 4]])}, {"pq": np.uint8([[1, 2]])},
        {"image": np.array([True]), "pq": np.array([True])},
    )  # fmt: skip
    s = lambda x: 1 / (1 + np.exp(-x))  # noqa: E731
    z = {
        "text": [1, -2],
        "image": [0.6, 0.8],
        "additive": [1.6, -1.2],
        "max": [1, 0.8],
        "gated": [s(1) * 0.6, s(-2) * 0.8],
        "bilinear": [0.6, 0.8, -1.2, -1.6],
        "bilinear_gated": [s(1) * 0.6, s(1) * 0.8, s(-2) * 0.6, s(-2) * 0.8],
        "pq": [1 + 0.5 * 20, -2 + 0.5 * 30],  # alpha 0.5, visual tokens (10, 40) and (30, 20)
    }
    for name, expected in z.items():
        model = fitted(name, block, dim=2, epochs=1, **({"alpha": 0.5} if name == "pq" else {}))
        model.params.U[:2, :2] = [1, -2]
        model.params.V[:2] = np.eye(2)[:, : model.params.V.shape[1]]
        if name == "pq":
            model.params.U[2 + 1, :2], model.params.U[2 + 256 + 2, :2] = [10, 40], [30, 20]
        model.params.W[0, : len(expected)] = weights = np.arange(1, len(expected) + 1)
        assert model.predict_logits(block)[0, 0] == pytest.approx(weights @ expected, rel=1e-5), name


def test_importance_splits_the_score_of_the_chosen_class(model: FastTextClassifier) -> None:
    block = documents(50, seed=3)
    logits = model.predict_logits(block)
    chosen = logits.argmax(axis=1)
    shares = model.importance(block, chosen)
    if not model.linear:
        assert shares == {}
        return
    total = sum(shares.values())
    has_something = np.abs(logits).max(axis=1) > 0
    np.testing.assert_allclose(total[has_something], 1, rtol=1e-5)
    if len(shares) == 2:
        alone = {
            "text": model.predict_logits(without(block, image=True)),
            "image": model.predict_logits(without(block, text=True)),
        }
        terms: dict[str, NDArray[np.float32]] = {k: v[np.arange(50), chosen] for k, v in alone.items()}
        np.testing.assert_allclose(terms["text"] + terms["image"], logits[np.arange(50), chosen], atol=1e-4)
        size = np.abs(terms["text"]) + np.abs(terms["image"])
        np.testing.assert_allclose(shares["text"] * size, np.abs(terms["text"]), atol=1e-4)


def test_importance_under_hierarchical_softmax_is_by_modality_too() -> None:
    model, block = fitted("additive", loss="hs"), documents(50, seed=3)
    shares = model.importance(block, model.predict_logits(block).argmax(axis=1))
    assert shares["text"].mean() > 0.1
    assert (shares["image"][~present(block, "image")] == 0).all()


@pytest.mark.parametrize("name", ["text", "additive", "pq"])
def test_deterministic_training_has_equal_bits_at_any_thread_count(name: str) -> None:
    runs = [fitted(name, threads=threads) for threads in (1, 2, 3)]
    for other in runs[1:]:
        for a, b in zip(runs[0].params, other.params, strict=True):
            np.testing.assert_array_equal(a, b)
    assert not np.array_equal(runs[0].params.U, fitted(name, seed=1).params.U)


def test_shard_borders_do_not_matter() -> None:
    whole, pieces = fitted("additive"), fitted("additive", rows=77)
    np.testing.assert_array_equal(whole.params.W, pieces.params.W)


def test_a_corpus_on_disk_teaches_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fuseline.models.blocks.CHUNK", 100)
    in_memory, on_disk = fitted("additive", word_ngrams=2, buckets=50), None
    monkeypatch.setattr("fuseline.models.fasttext.chunks.ChunkStore._fits", lambda self: False)
    on_disk = fitted("additive", word_ngrams=2, buckets=50)
    np.testing.assert_array_equal(in_memory.params.U, on_disk.params.U)


def test_hogwild_threads_learn_as_well() -> None:
    assert accuracy(fitted("additive", deterministic=False, threads=3), documents(400, seed=1)) > 0.75


@pytest.mark.parametrize(("loss", "positives"), [("softmax", "sample"), ("softmax", "average"), ("ova", "sample")])
def test_several_labels_get_a_threshold(loss: str, positives: str) -> None:
    block, valid = documents(second_label=True), documents(200, seed=5, second_label=True)
    config = kiela.PQTokensConfig.model_validate({**QUICK, "loss": loss, "positives": positives})
    model = kiela.PQTokens(config).fit(Blocks(block), Blocks(valid), seed=0)
    assert model.multi_label
    assert 0 < model.threshold < 1
    held_out = documents(400, seed=1, second_label=True)
    chosen = model.probabilities(model.predict_logits(held_out)) >= model.threshold
    truth = np.array([[name in labels for name in model.labels] for labels in held_out.labels.to_pylist()])
    f1 = 2 * (chosen & truth).sum() / (chosen.sum() + truth.sum())
    assert f1 > 0.8


def test_one_label_keeps_the_plain_threshold() -> None:
    model = fitted("text")
    assert not model.multi_label
    assert model.threshold == 0.5


def test_repeated_labels_count_once() -> None:
    block = documents(50)
    twice = replace(block, labels=pa.array([labels * 2 for labels in block.labels.to_pylist()]))
    a, b = fitted("text", block), fitted("text", twice)
    assert not b.multi_label
    np.testing.assert_array_equal(a.params.W, b.params.W)


def test_documents_that_teach_nothing_are_passed_over() -> None:
    block = documents(80)
    labels = block.labels.to_pylist()
    labels[3] = labels[70] = None
    model = fitted("text", replace(block, labels=pa.array(labels)))
    assert model.facts["documents"] == 80
    assert np.isfinite(model.params.U).all()


def test_refusals_name_the_cure(tmp_path: Path) -> None:
    block = documents(20)
    bare = replace(block, labels=pa.array([[]] * 20, pa.list_(pa.string())))
    with pytest.raises(ValueError, match="expected at least one, got none; give labels"):
        fitted("text", bare)
    with pytest.raises(ValueError, match=r"dense: expected 'embed/thumb', got \['embed/image'\]"):
        fitted("additive", image="thumb")
    model = fitted("additive")
    narrow = with_parts(block, dense={"image": vectors(block)[:, :5]})
    with pytest.raises(ValueError, match="use the encoder it was trained with"):
        model.predict_logits(narrow)
    model.save(tmp_path)
    with pytest.raises(CheckpointError, match="expected 'classifier/text', got 'classifier/additive'"):
        kiela.TextAlone.load(tmp_path)
    with pytest.raises(TrainingError, match="lower lr"):
        fitted("bilinear", lr=1e38)
    with pytest.raises(ValueError, match="set both, or maxn to 0"):
        kiela.TextConfig(minn=0, maxn=3)


def test_the_description_counts_parameters(model: FastTextClassifier) -> None:
    facts = model.describe()
    dense, tokens = width(model.sizes, Dense), width(model.sizes, Codes)
    words = len(model.dictionary.counts)
    hidden = 100 if "bilinear" in model.kind else 10
    assert facts["parameters"] == (words + 256 * tokens) * 10 + 10 * dense + 4 * hidden
    assert facts["bytes_per_document"] == 4 * dense + tokens
    assert len(facts["loss_per_epoch"]) == 15
    assert facts["loss_per_epoch"][-1] < facts["loss_per_epoch"][0]
    assert facts["words_per_second"] > 0


def test_the_registry_lists_every_model_of_the_paper() -> None:
    rows = registry_rows()
    assert set(KIELA) <= {row["name"] for row in rows}
    assert all(set(row) == {"name", "summary", "weights"} and len(row["summary"]) > 20 for row in rows)
    for name in KIELA:
        assert MODELS[name].kind == name


def test_images_are_scaled_to_unit_length_and_bad_ones_are_missing() -> None:
    from fuseline.models.fasttext.kernels.model import unit_images

    X = np.float32([[3, 4], [0, 0], [np.nan, 1], [np.inf, 1], [1, 1], [1e-30, 0], [1e30, 1e30]])
    out, present = np.full_like(X, 7), np.array([True, True, True, True, False, True, True])
    unit_images(X, out, present)
    half = 0.5**0.5
    np.testing.assert_allclose(out, [[0.6, 0.8], [0, 0], [0, 0], [0, 0], [0, 0], [1, 0], [half, half]], rtol=1e-6)
    assert present.tolist() == [True, False, False, False, False, True, True]


def test_image_length_scales_the_image_and_nothing_else() -> None:
    block = documents(40)
    config = MODELS["additive"].Config.model_validate({**QUICK, "image_length": 0.25})
    chunk = chunk_of(block, kiela.Additive.reads(kiela.ImageConfig()), text=no_bags(40), labels=no_bags(40))
    reads = [kiela.Additive.reads(one) for one in (config, kiela.ImageConfig())]
    scaled, plain = (images_of([block], one, scale_of(Blocks(block), one)).into(chunk) for one in reads)
    np.testing.assert_allclose(np.linalg.norm(scaled.dense[scaled.has_image > 0], axis=1), 0.25, rtol=1e-5)
    np.testing.assert_allclose(scaled.dense, 0.25 * plain.dense, rtol=1e-6)


def test_image_length_is_used_again_after_loading(tmp_path: Path) -> None:
    model, held_out = fitted("additive", image_length=0.5), documents(50, seed=2)
    model.save(tmp_path)
    loaded = kiela.Additive.load(tmp_path)
    np.testing.assert_array_equal(loaded.predict_logits(held_out), model.predict_logits(held_out))
    loaded.scale = loaded.scale._replace(length=1.0)
    assert not np.array_equal(loaded.predict_logits(held_out), model.predict_logits(held_out))
