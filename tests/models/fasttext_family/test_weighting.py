"""Words weighed by how rare they are: scikit-learn's TF-IDF, the same from memory, from files and from a checkpoint."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer

from fuseline.models.fasttext import corpus as corpora
from fuseline.models.fasttext.arrays import Chunk
from fuseline.models.fasttext.chunk_parts import joined, take
from fuseline.models.fasttext.config import FastTextConfig
from fuseline.models.fasttext.corpus import Corpus, Reads
from fuseline.models.fasttext.interchange import export_bin
from fuseline.models.features import TEXT, Block
from fuseline.models.registry import MODELS
from tests.models.synthetic import Blocks, documents, make_block

TEXTS = ["a rare word and a word", "the word and the the other", "", "other other", "and"]
NEW = ["unseen words only", "a rare unseen word", "the the the"]


def config(**options: Any) -> FastTextConfig:
    given = {"preset": "fasttext", "weighting": "tfidf", "deterministic": True, **options}
    return FastTextConfig.model_validate(given)


def encoded(texts: list[str], **options: Any) -> Corpus:
    return corpora.build(Blocks(block_of(texts)), Reads(TEXT), config(**options))


def ended(texts: list[str]) -> list[str]:
    """Return the texts with the mark that stands behind each that has a word."""
    return [f"{text} </s>" if text else "" for text in texts]


def block_of(texts: list[str]) -> Block:
    labels = [["x"] if i % 2 else ["y"] for i in range(len(texts))]
    return make_block(
        pa.array([str(i) for i in range(len(texts))]), pa.array(texts), pa.array(labels, pa.list_(pa.string()))
    )


def matrix(chunk: Chunk, names: list[str]) -> np.ndarray[Any, Any]:
    """Return the weights (documents, names) of a chunk."""
    out = np.zeros((len(chunk.has_image), len(names)))
    for d in range(len(out)):
        places = slice(chunk.indptr[d], chunk.indptr[d + 1])
        out[d, chunk.ids[places]] = chunk.weights[places]
    return out


def test_weights_are_those_of_scikit_learn() -> None:
    corpus = encoded(TEXTS)
    names = corpus.dictionary.words()
    assert names[0] == "</s>"
    vectorizer = TfidfVectorizer(sublinear_tf=True, analyzer=str.split).fit(ended(TEXTS))
    places = [list(vectorizer.get_feature_names_out()).index(name) for name in names]
    expected = vectorizer.transform(ended(TEXTS)).toarray()[:, places]
    np.testing.assert_allclose(matrix(corpus.chunks[0], names), expected, atol=1e-6)
    block = block_of(NEW)
    told = corpora.encode(block, Reads(TEXT), corpus.dictionary, corpus.shape, corpus.scale)
    expected = vectorizer.transform(ended(NEW)).toarray()[:, places]
    np.testing.assert_allclose(matrix(told, names), expected, atol=1e-6)


def test_a_document_has_length_one_with_subwords_too() -> None:
    chunk = encoded(TEXTS, minn=2, maxn=4, word_ngrams=2, buckets=50).chunks[0]
    squares = np.add.reduceat(chunk.weights.astype(float) ** 2, chunk.indptr[:-1])
    np.testing.assert_allclose(np.sqrt(squares[np.diff(chunk.indptr) > 0]), 1, rtol=1e-6)


def test_taking_and_joining_keep_each_documents_weights() -> None:
    names = encoded(TEXTS).dictionary.words()
    chunk = encoded(TEXTS).chunks[0]
    whole = matrix(chunk, names)
    np.testing.assert_array_equal(matrix(take(chunk, np.array([3, 0])), names), whole[[3, 0]])
    np.testing.assert_array_equal(matrix(joined([chunk, chunk]), names), np.vstack([whole, whole]))


@pytest.mark.parametrize("kind", ["text", "additive", "pq"])
def test_a_model_is_the_same_from_files_and_from_a_checkpoint(kind: str, tmp_path: Path) -> None:
    train, block = documents(300), documents(40, seed=1)
    of = MODELS[kind]
    given = {"preset": "fasttext", "weighting": "tfidf", "lr": 0.5, "minn": 2, "maxn": 3, "buckets": 1000}
    models = [of(of.Config(**given, memory_mb=mb)).fit(Blocks(train), None, seed=3) for mb in (64, 1)]
    logits = models[0].predict_logits(block)
    np.testing.assert_array_equal(logits, models[1].predict_logits(block))
    models[0].save(tmp_path)
    np.testing.assert_array_equal(logits, of.load(tmp_path).predict_logits(block))


def test_chunks_in_files_are_weighed_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    names, whole = encoded(TEXTS).dictionary.words(), encoded(TEXTS).chunks[0]
    monkeypatch.setattr(corpora.ChunkStore, "_fits", lambda _: False)
    corpus = encoded(TEXTS)
    assert corpus.chunks.chunks == [None]
    np.testing.assert_array_equal(matrix(corpus.chunks[0], names), matrix(whole, names))
    assert corpus.words == len(whole.ids) + len(TEXTS)
    corpus.close()


def test_a_set_without_a_word_and_a_model_without_text_take_it() -> None:
    assert len(encoded(["", ""]).chunks[0].weights) == 0
    of = MODELS["image"]
    options = of.Config(preset="fasttext", weighting="tfidf")
    model = of(options).fit(Blocks(documents(50)), None, seed=0)
    assert model.dictionary.idf is None
    assert np.isfinite(model.predict_logits(documents(5))).all()


def test_the_fasttext_program_cannot_weigh_words(tmp_path: Path) -> None:
    of = MODELS["text"]
    model = of(of.Config(preset="fasttext", weighting="tfidf")).fit(Blocks(documents(50)), None, seed=0)
    with pytest.raises(ValueError, match="weighting: expected 'mean', the only one of the program, got 'tfidf'"):
        export_bin(model, tmp_path / "model.bin")


def test_an_empty_text_weighs_nothing() -> None:
    corpus = encoded(TEXTS)
    chunk = corpora.encode(block_of(["", "a"]), Reads(TEXT), corpus.dictionary, corpus.shape, corpus.scale)
    assert np.diff(chunk.indptr).tolist() == [0, 2]  # no end of a text where there is none
