"""Files of the fastText program: a text model as .bin or .vec, documents as `__label__` lines."""

import re
import struct
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from fuseline.models.columns import CODEWORDS, Codes, token_text
from fuseline.models.fasttext.classifier import FastTextClassifier
from fuseline.models.fasttext.corpus import Reads
from fuseline.models.fasttext.dictionary import EOS, WordCounter
from fuseline.models.features import TEXT, Block, Features

MAGIC, VERSION = 793712314, 12
SUPERVISED, WORD, LABEL = 3, 0, 1
LOSSES = {"hs": 1, "ns": 2, "softmax": 3, "ova": 4}
NOT_PRUNED = -1
UPDATE_RATE = 100  # words between two looks at the learning rate; only training asks
PREFIX = "__label__"
ROWS = 1 << 14  # words written at a time
SPACE = re.compile(r"[\s\0]+")
TOKEN_LIKE = re.compile(r"(?<!\S)_(?=q-_)")  # ... or a visual token
LABEL_LIKE = re.compile(rf"(?<!\S)_(?={PREFIX[1:]})")  # the first letter of a word of text that would be a label


def export_bin(classifier: FastTextClassifier, path: Path) -> None:
    """Write a text model as the fastText program does (format 12, not quantized); its probabilities are the same.

    The program keeps capitals, so give it texts in lower case if the classifier lowercases. Raises ValueError for a
    classifier that reads anything but text, or weighs its words.
    """
    _text_only(classifier)
    if classifier.config.weighting != "mean":
        got = classifier.config.weighting
        raise ValueError(f"weighting: expected 'mean', the only one of the program, got {got!r}; train with it")
    H, params = classifier.config.dim, classifier.params
    with path.open("wb") as file:
        file.write(struct.pack("<ii", MAGIC, VERSION))
        _write_settings(classifier, file)
        _write_dictionary(classifier, file)
        for matrix in (params.U[: classifier.dictionary.rows], params.W):
            file.write(struct.pack("<?qq", False, len(matrix), H))
            for lo in range(0, len(matrix), ROWS):
                file.write(np.ascontiguousarray(matrix[lo : lo + ROWS, :H], "<f4").tobytes())


def export_vec(classifier: FastTextClassifier, path: Path) -> None:
    """Write the vectors of all words as text: a line with their number and length, then a word and its H numbers each.

    Numbers read back as the same float32. Raises ValueError for a classifier that reads anything but text.
    """
    _text_only(classifier)
    words = classifier.dictionary.words()
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.write(f"{len(words)} {classifier.config.dim}\n")
        for lo in range(0, len(words), ROWS):
            own = words[lo : lo + ROWS]
            for word, vector in zip(own, word_vectors(classifier, own), strict=True):
                file.write(f"{word} {' '.join(map(str, vector))}\n")


def word_vectors(classifier: FastTextClassifier, words: list[str]) -> NDArray[np.float32]:
    """Return a vector (n, H) per word: the mean of its own row of U and its subwords' rows; zeros if it has none."""
    counter = WordCounter(lowercase=classifier.config.lowercase)
    bags = counter.add(pa.array(words, pa.string()))
    lists = classifier.dictionary.lists(counter)
    vectors = np.zeros((len(words), classifier.config.dim), np.float32)
    for vector, number in zip(vectors, bags.ids[bags.indptr[:-1]], strict=True):
        tokens = lists.ids[lists.indptr[number] : lists.indptr[number + 1]]
        if len(tokens):
            vector[:] = classifier.params.U[tokens, : len(vector)].mean(axis=0)
    return vectors


class CodeNames(NamedTuple):
    """Which codes are written as visual tokens, and how these are named."""

    column: str
    parts: int  # of the codebook
    repeated: bool  # whether a token's name includes its repeat


def write_labelled(features: Features, path: Path, *, codes: CodeNames | None = None) -> int:
    """Write every document as a line of `__label__` labels and its text, for fastText to train from; return how many.

    White space becomes `_` in labels and one space in texts; a word of text that looks like a label loses its first
    underscore, and `</s>`, with which the program ends a text, is left out. With `codes` the visual tokens of a
    document that has an image follow its text, `_q-_0_253`, and a word that looks like one loses its first underscore.
    """
    rows = 0
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for block in features.blocks():
            tokens = _visual_tokens(block, codes) if codes is not None else [""] * len(block)
            for text, labels, seen in zip(block.text.to_pylist(), block.labels.to_pylist(), tokens, strict=True):
                marked = [PREFIX + SPACE.sub("_", label) for label in labels or []]
                words = LABEL_LIKE.sub("", SPACE.sub(" ", text or ""))
                own = (words if codes is None else TOKEN_LIKE.sub("", words)).split()
                file.write(" ".join([*marked, *(word for word in own if word != EOS.decode()), *seen.split()]) + "\n")
            rows += len(block)
    return rows


def _visual_tokens(block: Block, codes: CodeNames) -> list[str]:
    """Return the visual tokens of every document (n,), "" where there are none."""
    column = block.column(codes.column, Codes)
    numbers = column.values + CODEWORDS * np.arange(column.values.shape[1])
    rows = zip(numbers.tolist(), column.present.tolist(), strict=True)

    def named(row: list[int]) -> str:
        return " ".join(token_text(token, parts=codes.parts, repeated=codes.repeated) for token in row)

    return [named(row) if present else "" for row, present in rows]


def _write_settings(classifier: FastTextClassifier, file: BinaryIO) -> None:
    config = classifier.config
    window = 5  # of the unsupervised models; here only a place in the file
    numbers = (config.dim, window, config.epochs, config.min_count, config.negatives, config.word_ngrams)
    kinds = (LOSSES[config.loss], SUPERVISED)
    hashed = (classifier.dictionary.buckets, config.minn, config.maxn, UPDATE_RATE)
    subsampling = 1e-4  # as well
    file.write(struct.pack("<12id", *numbers, *kinds, *hashed, subsampling))


def _write_dictionary(classifier: FastTextClassifier, file: BinaryIO) -> None:
    words, labels = classifier.dictionary, classifier.labels
    W, C = len(words.counts), len(labels)
    file.write(struct.pack("<iiiqq", W + C, W, C, int(words.counts.sum()), NOT_PRUNED))
    raw, starts = words.arena.tobytes(), words.starts.tolist()
    for i, count in enumerate(words.counts.tolist()):
        file.write(raw[starts[i] : starts[i + 1]] + struct.pack("<xqb", count, WORD))
    for label, count in zip(labels, classifier.label_counts.tolist(), strict=True):
        file.write((PREFIX + SPACE.sub("_", label)).encode() + struct.pack("<xqb", count, LABEL))


def _text_only(classifier: FastTextClassifier) -> None:
    if classifier.own_reads != Reads(TEXT):
        raise ValueError(f"classifier: expected one that reads only text, got {classifier.kind!r}; export kind text")
