"""Words, word n-grams and subwords of a text classifier, and Arrow strings to token ids (CSR)."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Self, TypedDict, Unpack

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from fuseline.models.fasttext.arrays import Table, empty_table
from fuseline.models.labels import Bags

EOS = b"</s>"
SLICE = 1 << 23  # bytes of text per call: bounds the buffer of ids to 16 MB


class Subwords(TypedDict):
    """Which word n-grams and subwords are tokens beside the words, and how many rows they share."""

    word_ngrams: int
    minn: int
    maxn: int
    buckets: int


class WordShape(Subwords):
    """How texts become tokens."""

    lowercase: bool


class WordCounter:
    """Cuts texts into words and numbers these in the order in which they come."""

    def __init__(self, *, lowercase: bool) -> None:
        self.lowercase = lowercase
        self.table = empty_table()
        scan(np.frombuffer(EOS, np.uint8), np.array([0, len(EOS)], np.int64), self, eos=False)
        self.table.counts[0] = 0

    def add(self, text: pa.Array) -> Bags:
        """Return the word numbers of a (n,) string array; nulls are empty."""
        parts = [scan(data, offsets, self, eos=True) for data, offsets in utf8_slices(text, lowercase=self.lowercase)]
        return join(parts)

    def add_words(self, words: pa.Array) -> None:
        """Count each of (n,) strings as one word, whatever is in it."""
        starts, arena, hashes = hashed(words)
        self._merge(starts, arena, hashes, np.ones(len(words), np.int64))

    def drop(self, *, below: int) -> None:
        """Forget how often words came that came less often."""
        counts = self.table.counts[: self.size]
        counts[counts < below] = 0

    def merge(self, other: "WordCounter") -> None:
        """Add the words and counts of another counter."""
        table = other.table
        self._merge(table.starts, table.arena, table.hashes, table.counts[: other.size])

    def _merge(
        self,
        starts: NDArray[np.int64],
        arena: NDArray[np.uint8],
        hashes: NDArray[np.uint32],
        counts: NDArray[np.int64],
    ) -> None:
        from fuseline.models.fasttext.kernels import tokenizer as tokens

        ids = np.empty(len(counts), np.int32)
        merged = tokens.merge(starts, arena, hashes, counts, len(counts), *self.table, ids)
        self.table = Table._make((*merged, self.table.size))

    @property
    def size(self) -> int:
        """Different words so far, the end of a text included."""
        return int(self.table.size[0])


@dataclass(frozen=True)
class Dictionary:
    """The frozen vocabulary of a classifier: tokens are words 0..W-1, then W + bucket for n-grams and subwords.

    Words are sorted by falling count; word i is arena[starts[i]:starts[i + 1]].
    """

    arena: NDArray[np.uint8]
    starts: NDArray[np.int64]  # (W + 1,)
    counts: NDArray[np.int64]  # (W,)
    lowercase: bool
    word_ngrams: int
    minn: int
    maxn: int
    buckets: int
    idf: NDArray[np.float32] | None = None  # (rows,) of the training documents; None: all tokens weigh alike

    @classmethod
    def freeze(cls, counter: WordCounter, *, min_count: int, **shape: Unpack[Subwords]) -> Self:
        """Keep the words that came at least min_count times; `shape` is word_ngrams, minn, maxn, buckets."""
        table, size = counter.table, counter.size
        order = np.argsort(-table.counts[:size], kind="stable")
        order = order[table.counts[order] >= min_count]
        buffers = [None, pa.py_buffer(table.starts[: size + 1]), pa.py_buffer(table.arena)]
        kept = pa.Array.from_buffers(pa.large_binary(), size, buffers).take(pa.array(order))
        starts = np.frombuffer(kept.buffers()[1], np.int64)[: len(kept) + 1].copy()
        arena = np.frombuffer(kept.buffers()[2], np.uint8)[: starts[-1]].copy() if len(kept) else np.zeros(0, np.uint8)
        return cls.of(arena, starts, table.counts[order], lowercase=counter.lowercase, **shape)

    @classmethod
    def of(
        cls,
        arena: NDArray[np.uint8],
        starts: NDArray[np.int64],
        counts: NDArray[np.int64],
        **shape: Unpack[WordShape],
    ) -> Self:
        """Build from the words' bytes, their bounds (W + 1,) and counts (W,); raises ValueError for wild bounds."""
        if len(starts) != len(counts) + 1 or starts[0] != 0 or starts[-1] > len(arena) or (np.diff(starts) < 1).any():
            raise ValueError(
                f"bounds of words: expected {len(counts) + 1!r} rising ones within {len(arena)!r} bytes, "
                f"got {len(starts)!r} up to {int(starts.max(initial=0))!r}; train again"
            )
        return cls(arena, starts, counts, **shape)

    @cached_property
    def slots(self) -> NDArray[np.uint64]:
        """The hash table over the words, built for the first text: reading a model's metadata compiles nothing."""
        from fuseline.models.fasttext.kernels import tokenizer as tokens

        n = len(self.counts)
        hashes, slots = np.zeros(n, np.uint32), np.zeros(1 << max(4, (2 * n).bit_length()), np.uint64)
        tokens.hash_words(self.starts, self.arena, n, hashes)
        tokens.rehash(hashes, n, slots)
        return slots

    @property
    def rows(self) -> int:
        """Token ids in use: words and buckets."""
        return len(self.counts) + self.buckets

    def words(self) -> list[str]:
        """Return the words in the order of their ids."""
        raw, starts = self.arena.tobytes(), self.starts.tolist()
        return [raw[a:b].decode("utf-8", "replace") for a, b in pairwise(starts)]

    def find(self, words: pa.Array) -> NDArray[np.int32]:
        """Return the id of each of (n,) strings as one word, -1 where it is unknown."""
        from fuseline.models.fasttext.kernels import tokenizer as tokens

        starts, arena, hashes = hashed(words)
        ids = np.empty(len(words), np.int32)
        tokens.find(starts, hashes, arena, len(words), self.slots, self.starts, self.arena, ids)
        return ids

    def encode(self, text: pa.Array) -> Bags:
        """Return the token ids of a (n,) string array; unknown words give their n-grams and subwords only."""
        counter = WordCounter(lowercase=self.lowercase)
        return self.expand(counter.add(text), self.lists(counter), counter.table)

    def lists(self, counter: WordCounter) -> Bags:
        """Return, for every word of `counter`, the tokens that it stands for here."""
        from fuseline.models.fasttext.kernels import tokenizer as tokens

        table, n = counter.table, counter.size
        ids = np.empty(n, np.int32)
        tokens.find(table.starts, table.hashes, table.arena, n, self.slots, self.starts, self.arena, ids)
        room = n + (int(table.starts[n]) + 2 * n) * self.maxn
        indptr, out = np.zeros(n + 1, np.int64), np.empty(room, np.int32)
        tokens.subword_lists(
            table.starts, table.arena, n, ids, self.minn, self.maxn, self.buckets, len(self.counts), indptr, out
        )
        return Bags(indptr, out[: indptr[-1]].copy())

    def expand(self, bags: Bags, lists: Bags, table: Table) -> Bags:
        """Return `bags` of a counter's word numbers as bags of token ids, with word n-grams."""
        from fuseline.models.fasttext.kernels import tokenizer as tokens

        if self.word_ngrams == 1 and np.array_equal(lists.indptr, np.arange(len(lists.indptr))):
            return Bags(bags.indptr, lists.ids[bags.ids])  # each word stands for one token
        indptr, out = np.zeros_like(bags.indptr), np.empty(0, np.int32)
        for write in (False, True):
            tokens.expand(
                bags.indptr, bags.ids, lists.indptr, lists.ids, table.hashes, self.word_ngrams, self.buckets,
                len(self.counts), write, indptr, out,
            )  # fmt: skip
            out = out if write else np.empty(int(indptr[-1]), np.int32)
        return Bags(indptr, out)


def hashed(words: pa.Array) -> tuple[NDArray[np.int64], NDArray[np.uint8], NDArray[np.uint32]]:
    """Return bounds (n + 1,), bytes and hashes (n,) of strings."""
    from fuseline.models.fasttext.kernels import tokenizer as tokens

    words = words.cast(pa.large_string())
    _, bounds, data = words.buffers()
    starts = np.frombuffer(bounds, np.int64)[words.offset : words.offset + len(words) + 1].copy()
    # A copy that may be written to, as arenas are: one type to the kernels.
    arena = np.zeros(0, np.uint8) if data is None else np.frombuffer(data, np.uint8)[: starts[-1]].copy()
    hashes = np.zeros(len(words), np.uint32)
    tokens.hash_words(starts, arena, len(words), hashes)
    return starts, arena, hashes


def scan(data: NDArray[np.uint8], offsets: NDArray[np.int64], counter: WordCounter, *, eos: bool) -> Bags:
    """Cut one slice of texts into the counter's word numbers."""
    from fuseline.models.fasttext.kernels import tokenizer as tokens

    ids = np.empty(int(offsets[-1] - offsets[0]) // 2 + 2 * len(offsets), np.int32)
    indptr = np.zeros(len(offsets), np.int64)
    table = counter.table
    counter.table = Table._make((*tokens.scan(data, offsets, eos, *table, ids, indptr), table.size))
    return Bags(indptr, ids[: indptr[-1]].copy())


def utf8_slices(text: pa.Array, *, lowercase: bool) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.int64]]]:
    """Yield (bytes, offsets) of consecutive texts, about SLICE bytes each."""
    text = pc.fill_null(text.cast(pa.large_string()), "")
    text = pc.utf8_lower(text) if lowercase else text
    _, offset_buffer, data_buffer = text.buffers()
    offsets = np.frombuffer(offset_buffer, np.int64)[text.offset : text.offset + len(text) + 1]
    data = np.zeros(0, np.uint8) if data_buffer is None else np.frombuffer(data_buffer, np.uint8)
    data.flags.writeable = False  # one type, so that the kernel is compiled once
    lo = 0
    while lo < len(text):
        hi = max(lo + 1, int(np.searchsorted(offsets, offsets[lo] + SLICE, side="right")) - 1)
        yield data, offsets[lo : hi + 1].copy()
        lo = hi


def join(parts: list[Bags]) -> Bags:
    """Return the texts of several bags, one after the other."""
    if len(parts) == 1:
        return parts[0]
    starts = np.cumsum([0, *(len(part.ids) for part in parts)])
    indptr = [np.zeros(1, np.int64), *(part.indptr[1:] + start for part, start in zip(parts, starts, strict=False))]
    return Bags(np.concatenate(indptr), np.concatenate([np.empty(0, np.int32), *(part.ids for part in parts)]))
