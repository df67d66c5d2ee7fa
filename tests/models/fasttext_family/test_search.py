"""Options chosen on valid: better than the program's, the same on any number of threads, and shown."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from fuseline.models.fasttext import corpus as corpora
from fuseline.models.fasttext import search
from fuseline.models.fasttext.chunk_parts import joined, take
from fuseline.models.fasttext.search import BUCKETS_PER_WORD, FEWER, FIRST, REFINED, SEEDS, choose
from fuseline.models.halving import FINALISTS
from fuseline.models.metrics.registry import scores
from fuseline.models.registry import MODELS
from fuseline.models.scoring import count
from tests.models.synthetic import Blocks, documents, make_block, with_parts

TRAIN, VALID = documents(300), documents(150, seed=1)


def fitted(kind: str, valid: Any = VALID, train: Any = TRAIN, **options: Any) -> Any:
    classifier = MODELS[kind]
    return classifier(classifier.Config(**options)).fit(Blocks(train), None if valid is None else Blocks(valid), seed=0)


def accuracy(classifier: Any, seed: int = 2) -> float:
    tally = count(classifier, Blocks(documents(400, seed=seed)))
    return float(scores(tally, multi_label=False)["accuracy"][0])


@pytest.mark.parametrize("kind", ["text", "image", "additive", "pq"])
def test_chosen_options_are_no_worse_than_the_programs(kind: str) -> None:
    chosen, program = fitted(kind), fitted(kind, preset="fasttext")
    assert accuracy(chosen) >= accuracy(program) - 0.02
    assert chosen.config.automatic == ()
    assert "search" not in program.facts


def test_the_facts_tell_what_was_tried_and_chosen() -> None:
    classifier = fitted("text", lr=0.3)
    facts = classifier.facts["search"]
    assert {"lr", "preset"}.isdisjoint(facts["chosen"])
    assert set(facts["chosen"]) == {"dim", "epochs", "weighting", "word_ngrams", "minn", "maxn"}
    assert all(getattr(classifier.config, name) == value for name, value in facts["chosen"].items())
    best = max(one["score"] for one in facts["trials"] if one["documents"] == facts["documents"])
    assert facts["valid_p1"] == best
    assert (facts["documents"], facts["valid"]) == (300, 150)


def test_a_model_remembers_what_it_chose(tmp_path: Path) -> None:
    classifier = fitted("additive")
    classifier.save(tmp_path)
    loaded = MODELS["additive"].load(tmp_path)
    assert loaded.config == classifier.config
    assert loaded.describe()["search"] == classifier.facts["search"]
    assert np.array_equal(loaded.predict_logits(VALID), classifier.predict_logits(VALID))


@pytest.mark.parametrize("rows", [37, 10_000])
@pytest.mark.parametrize("threads", [1, 2])
def test_equal_documents_give_equal_options(threads: int, rows: int) -> None:
    kind = MODELS["pq"]
    config = kind.Config(threads=threads)
    chosen = choose(kind, config, Blocks(TRAIN, rows), Blocks(VALID, rows))
    assert chosen.facts == choose(kind, kind.Config(), Blocks(TRAIN), Blocks(VALID)).facts


def test_without_valid_documents_a_tenth_of_the_training_documents_chooses() -> None:
    facts = fitted("text", None).facts["search"]
    assert facts["valid"] == pytest.approx(30, abs=15)
    assert facts["documents"] + facts["valid"] == 300


def test_large_collections_are_chosen_for_by_a_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "TRAIN", 100)
    monkeypatch.setattr(search, "VALID", 50)
    facts = fitted("text").facts["search"]
    assert facts["documents"] == pytest.approx(100, abs=30)
    assert facts["valid"] == pytest.approx(50, abs=20)
    whole = [one for one in facts["trials"] if one["documents"] == facts["documents"]]
    final = FINALISTS * (SEEDS - 1)
    assert len(whole) <= FIRST + FEWER + final < FIRST + REFINED + final  # of so few, the first step takes all


def test_what_costs_too_much_is_not_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "COST", 0.0)
    trials = fitted("text").facts["search"]["trials"]
    assert trials
    assert all(one["options"]["dim"] * one["options"]["epochs"] <= 4 * 20 * 5 for one in trials)


def test_buckets_follow_from_the_words() -> None:
    classifier = fitted("text", minn=2, maxn=4, lr=0.2, epochs=5, dim=20, word_ngrams=1)
    assert classifier.config.buckets == BUCKETS_PER_WORD * len(classifier.dictionary.counts)
    assert fitted("text", minn=2, maxn=4, lr=0.2, epochs=5, dim=20, word_ngrams=1, buckets=77).config.buckets == 77


def test_rates_at_which_the_loss_is_lost_are_not_chosen() -> None:
    classifier = fitted("image", image_length=100.0)
    assert all(np.isfinite(classifier.facts["loss_per_epoch"]))
    assert any(one["score"] is None for one in classifier.facts["search"]["trials"])


def test_parts_of_a_chunk_are_its_documents() -> None:
    reads, config = corpora.Reads("clean/text", ("embed/image",)), MODELS["additive"].Config(deterministic=True)
    corpus = corpora.build(Blocks(TRAIN), reads, config)
    chunk, rows = corpus.chunks[0], np.array([5, 0, 17])
    taken = take(chunk, rows)
    for place, row in enumerate(rows):
        own = slice(chunk.indptr[row], chunk.indptr[row + 1])
        assert taken.ids[taken.indptr[place] : taken.indptr[place + 1]].tolist() == chunk.ids[own].tolist()
        labels = chunk.labels[chunk.label_ptr[row] : chunk.label_ptr[row + 1]].tolist()
        assert taken.labels[taken.label_ptr[place] : taken.label_ptr[place + 1]].tolist() == labels
    assert np.array_equal(taken.dense, chunk.dense[rows])
    halves = [take(chunk, np.arange(lo, hi)) for lo, hi in ((0, 100), (100, 300))]
    for one, other in zip(joined(halves), chunk, strict=True):
        assert np.array_equal(one, other)


def test_documents_without_words_are_no_reason_to_stop() -> None:
    empty = make_block(
        pa.array(["a", "b", "c", "d"]), pa.array([None, "x", "", "y"], pa.string()),
        pa.array([["u"], ["v"], ["u"], ["v"]], pa.list_(pa.string())),
    )  # fmt: skip
    assert fitted("text", empty, empty).labels == ["u", "v"]


@pytest.mark.parametrize("kind", ["text", "additive", "pq"])
def test_without_any_label_the_fit_says_so(kind: str) -> None:
    nothing = with_parts(TRAIN, labels=pa.array([None] * len(TRAIN), TRAIN.labels.type))
    with pytest.raises(ValueError, match="training labels: expected at least one"):
        fitted(kind, nothing, nothing)


def test_documents_weighed_for_trials_are_those_of_a_fit() -> None:
    config = MODELS["additive"].Config(preset="fasttext", minn=2, maxn=3, buckets=100, deterministic=True)
    reads = corpora.Reads("clean/text", ("embed/image",))
    start = search.encode(Blocks(TRAIN), Blocks(VALID), reads, config)
    config = config.chosen(weighting="tfidf")
    expected = search.encode(Blocks(TRAIN), Blocks(VALID), reads, config)
    weighed = search.weighed(start)
    for one, other in ((weighed.corpus.chunks[0], expected.corpus.chunks[0]), (weighed.valid, expected.valid)):
        for got, wanted in zip(one, other, strict=True):
            np.testing.assert_array_equal(got, wanted)
    assert weighed.corpus.words == expected.corpus.words
