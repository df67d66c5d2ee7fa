"""Words, n-grams and subwords: against str.split and the fastText package."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fuseline.models.fasttext import dictionary as module
from fuseline.models.fasttext.dictionary import Dictionary, WordCounter

# The package (0.9.3) sets a tenth of its matrix per thread, up to ten; what is left unset may hold NaN. So ten threads,
# and rows * dim a multiple of ten.
THREADS = 10

NOTHING_HASHED = {"word_ngrams": 1, "minn": 0, "maxn": 0, "buckets": 0}
SEPARATORS = " \t\n\r\v\f\0"


def counted(texts: list[str | None], *, lowercase: bool = False) -> tuple[WordCounter, list[list[str]]]:
    """Return a counter and the words that it cut each text into."""
    counter = WordCounter(lowercase=lowercase)
    bags = counter.add(pa.array(texts, pa.string()))
    raw, starts = counter.table.arena.tobytes(), counter.table.starts
    words = [raw[starts[i] : starts[i + 1]].decode() for i in bags.ids]
    return counter, [words[lo:hi] for lo, hi in zip(bags.indptr[:-1], bags.indptr[1:], strict=True)]


def split(text: str | None) -> list[str]:
    for separator in SEPARATORS:
        text = (text or "").replace(separator, " ")
    words = [word for word in text.split(" ") if word]
    return [*words, "</s>"] if words else []


@settings(max_examples=60, deadline=None)
@given(st.lists(st.one_of(st.none(), st.text(st.sampled_from("aAbé€𝄞" + SEPARATORS), max_size=12)), max_size=6))
def test_words_are_what_lies_between_separators(texts: list[str | None]) -> None:
    assert counted(texts)[1] == [split(text) for text in texts]


def test_a_growing_vocabulary_keeps_every_word(monkeypatch: pytest.MonkeyPatch) -> None:
    # More words than the first table holds, cut into many slices, in a sliced large_string array.
    monkeypatch.setattr(module, "SLICE", 1000)
    texts = [f"w{i % 9000} x{i}" for i in range(12000)]
    counter = WordCounter(lowercase=False)
    counter.add(pa.array(texts, pa.large_string())[100:])
    frozen = Dictionary.freeze(counter, min_count=1, **NOTHING_HASHED)
    assert sorted(frozen.words()) == sorted({word for text in texts[100:] for word in text.split()} | {"</s>"})
    assert dict(zip(frozen.words(), frozen.counts, strict=True))["w50"] == 1
    assert dict(zip(frozen.words(), frozen.counts, strict=True))["w500"] == 2
    ids = frozen.encode(pa.array(["w500 x700 nothing", "x11999"])).ids
    assert [frozen.words()[i] for i in ids] == ["w500", "x700", "</s>", "x11999", "</s>"]


def test_words_are_sorted_by_count_and_rare_ones_left_out() -> None:
    counter, _ = counted(["b a a", "a c b"])
    frozen = Dictionary.freeze(counter, min_count=2, **NOTHING_HASHED)
    assert frozen.words() == ["a", "</s>", "b"]
    assert frozen.counts.tolist() == [3, 2, 2]


def test_lower_case_covers_unicode() -> None:
    assert counted(["ÉCOLE École"], lowercase=True)[1] == [["école", "école", "</s>"]]


def test_nothing_to_read_is_an_empty_bag() -> None:
    frozen = Dictionary.freeze(counted([])[0], min_count=1, **NOTHING_HASHED)
    bags = frozen.encode(pa.array(["", None, " \n"], pa.string()))
    assert bags.indptr.tolist() == [0, 0, 0, 0]


@pytest.fixture(scope="module")
def oracle(tmp_path_factory: pytest.TempPathFactory) -> Any:
    fasttext = pytest.importorskip("fasttext")
    file: Path = tmp_path_factory.mktemp("oracle") / "train.txt"
    file.write_text("".join(f"__label__{i % 2} été größe word{i % 3} xy\n" for i in range(30)))
    return fasttext.train_supervised(
        str(file), dim=2, epoch=1, minn=2, maxn=4, wordNgrams=3, bucket=5003, thread=THREADS, verbose=0
    )


def test_subwords_and_their_buckets_are_those_of_fasttext(oracle: Any) -> None:
    counter = counted(["été größe word0 xy", "word1 word2"])[0]
    ours = Dictionary.freeze(counter, min_count=1, word_ngrams=1, minn=2, maxn=4, buckets=5003)
    lists = ours.lists(counter)
    raw, starts = counter.table.arena.tobytes(), counter.table.starts
    words = len(oracle.get_words())
    for i in range(counter.size):
        word = raw[starts[i] : starts[i + 1]].decode()
        theirs = sorted(n - words for n in oracle.get_subwords(word)[1][1:].tolist())
        found = lists.ids[lists.indptr[i] + 1 : lists.indptr[i + 1]]
        assert sorted(n - len(ours.counts) for n in found.tolist()) == theirs


def test_word_n_grams_fall_into_the_buckets_of_fasttext(tmp_path: Path) -> None:
    # The package does not tell the buckets of word n-grams; the rows that training moved do.
    fasttext = pytest.importorskip("fasttext")
    (tmp_path / "t").write_text("__label__a été größe word xy\n__label__b xy\n" * 20)
    options = {"wordNgrams": 3, "dim": 2, "bucket": 95, "thread": THREADS, "verbose": 0}
    model = fasttext.train_supervised(str(tmp_path / "t"), epoch=50, lr=0.5, **options)
    start = fasttext.train_supervised(str(tmp_path / "t"), epoch=1, lr=1e-9, **options)
    moved = np.abs(model.get_input_matrix() - start.get_input_matrix()).max(axis=1) > 1e-4
    rows = set((np.flatnonzero(moved[len(model.get_words()) :])).tolist())
    counter = counted(["été größe word xy", "xy"])[0]
    ours = Dictionary.freeze(counter, min_count=1, word_ngrams=3, minn=0, maxn=0, buckets=95)
    ids = ours.encode(pa.array(["été größe word xy", "xy"])).ids
    assert {int(i) - len(ours.counts) for i in ids if i >= len(ours.counts)} == rows
    assert len(ids) == (5 + 4 + 3) + (2 + 1)
