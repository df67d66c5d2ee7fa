"""The words and visual tokens of one classifier as vectors of one space (Kiela 2018, K-21: they share U)."""

from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from fuseline.models.columns import CODEWORDS, Codes
from fuseline.models.dense import F32
from fuseline.models.fasttext.classifier import FastTextClassifier
from fuseline.models.fasttext.dictionary import EOS, WordCounter
from fuseline.models.features import width


class FrequentWords(NamedTuple):
    """Words of the training texts, the most frequent first."""

    words: list[str]
    counts: NDArray[np.int64]  # (N,) how often each came
    vectors: F32  # (N, H)


def vocabulary(classifier: FastTextClassifier, *, min_count: int, most: int) -> FrequentWords:
    """Return up to `most` words that came at least `min_count` times.

    A word's vector is the mean of the rows of U that it stands for: its own and those of its subwords, if the
    classifier has any. Hashed rows by themselves and the end of a text are no words.
    """
    dictionary, H = classifier.dictionary, classifier.config.dim
    frequent = int(np.searchsorted(-dictionary.counts, -min_count, side="right"))
    named = [(number, word) for number, word in enumerate(dictionary.words()[:frequent]) if word != EOS.decode()]
    numbers, words = [number for number, _ in named[:most]], [word for _, word in named[:most]]
    counter = WordCounter(lowercase=False)
    bags = counter.add(pa.array(words, pa.string()))
    lists = dictionary.lists(counter)
    vectors = np.zeros((len(words), H), np.float32)
    for row in np.flatnonzero(np.diff(bags.indptr)):
        number = bags.ids[bags.indptr[row]]
        stands_for = lists.ids[lists.indptr[number] : lists.indptr[number + 1]]
        if len(stands_for):  # not of a word whose bytes are no UTF-8
            vectors[row] = classifier.params.U[stands_for, :H].mean(axis=0)
    return FrequentWords(words, dictionary.counts[numbers], vectors)


def token_vectors(classifier: FastTextClassifier) -> F32:
    """Return the vectors (M * 256, H) of the visual tokens; that of codeword c at place m is row 256 m + c."""
    first, places = classifier.dictionary.rows, width(classifier.sizes, Codes)
    return np.asarray(classifier.params.U[first : first + places * CODEWORDS, : classifier.config.dim])
