"""Which options of the family do best on valid documents: trials over a part of the training set, encoded once."""

import logging
from collections.abc import Hashable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, ClassVar, NamedTuple, Never, Protocol, cast

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from fuseline.models.automatic import Chosen, choices
from fuseline.models.errors import TrainingError
from fuseline.models.fasttext import arrays
from fuseline.models.fasttext import corpus as corpora
from fuseline.models.fasttext.arrays import Chunk
from fuseline.models.fasttext.chunk_parts import joined, picked, scaled, sliced, take
from fuseline.models.fasttext.chunks import ChunkStore
from fuseline.models.fasttext.config import FastTextConfig
from fuseline.models.fasttext.corpus import Corpus, Reads
from fuseline.models.fasttext.weighting import weigh, weighted
from fuseline.models.features import Features, SharedCache
from fuseline.models.halving import FINALISTS, Dimension, search
from fuseline.models.labels import Bags, label_pairs
from fuseline.models.progress import note, note_doing
from fuseline.models.subset import deciding_parts
from fuseline.models.threads import thread_limit

TRAIN, VALID = 50_000, 10_000  # documents that choose, at most
FIRST, REFINED = 27, 24  # trials of the first step, and of the last
FEWER = 4  # instead of REFINED where not all training documents choose: they are many, and so is what a trial costs
LEAST = 1000  # documents below which a trial says too little
FEW, SEEDS = 10_000, 3  # training documents up to which the best options are tried from so many seeds
COST = 2e9  # of a trial: see `_cost`
STEP = 1.0  # at most, see `_step`: beyond, most fits diverge
QUICK = {"dim": 20, "epochs": 5}
NUMBERS = 1 << 24  # logits at a time
VISITS = 25_000_000  # documents times epochs: more epochs are not tried on large training sets
BUCKETS_PER_WORD = 16  # subwords and word pairs that a word brings, about


class Family(Protocol):
    """What a classifier gives to the choice of its options."""

    kind: ClassVar[str]

    def __init__(self, config: FastTextConfig) -> None: ...

    @classmethod
    def reads(cls, config: Never) -> Reads:
        """Return which columns of a block are read."""

    def fusion(self) -> int:
        """Return the fusion kind of `kernels`."""

    def fit_corpus(self, corpus: Corpus, seed: int, *, restarts: int, level: int) -> None:
        """Train on an encoded corpus."""

    def chunk_logits(self, chunk: Chunk) -> NDArray[np.float32]:
        """Return logits (n, C) of encoded documents."""

    def probabilities(self, logits: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return probabilities (n, C)."""


class Encoded(NamedTuple):
    """Documents that options are tried on, in numbers."""

    corpus: Corpus  # of one chunk, in the order in which trials take them
    valid: Chunk
    truth: Bags  # labels of the valid documents that are classes


def choose(kind: type[Family], config: FastTextConfig, train: Features, valid: Features | None) -> Chosen:
    """Return the options that `config` leaves open, those with the best precision at 1 on valid documents.

    Without valid documents a tenth of the training documents takes their place, drawn by a hash of the ids. Every trial
    runs on one thread from one seed, so that equal documents give equal options.
    """
    key: Hashable = ("options", kind.kind, config.model_dump_json(exclude={"threads", "memory_mb"}))
    if isinstance(train, SharedCache):
        with train.get_or_create(key, lambda: Trials(kind, config, train, valid).choose()) as chosen:
            return chosen
    return Trials(kind, config, train, valid).choose()


@dataclass
class Trials:
    """The trials of one choice."""

    kind: type[Family]
    config: FastTextConfig
    train: Features
    valid: Features | None
    encoded: dict[Hashable, Encoded] = field(default_factory=dict)
    done: int = 0

    def __post_init__(self) -> None:
        self.tried, self.held_out = deciding_parts(self.train, self.valid, most=TRAIN, most_valid=VALID)

    def choose(self) -> Chosen:
        """Try, and return the best."""
        if self.tried.is_empty():
            return Chosen({}, {})  # the fit says that there are no labels
        dimensions, n, held_out = self._dimensions(), self._start.corpus.documents, len(self._start.valid.has_image)
        if not dimensions or not held_out:
            return Chosen(self._sized({}), {})
        sizes = sorted({max(n // share, min(n, LEAST)) for share in (9, 3, 1)})
        with ThreadPoolExecutor(self.config.threads or thread_limit()) as pool:

            def run(options: list[dict[str, Any]], size: int, seed: int) -> list[tuple[float, float]]:
                configs = [self._given(**one) for one in options]
                for one in configs:
                    self._encoded(one)
                return list(pool.map(lambda one: self._score(one, size, seed), configs))

            found = search(
                dimensions,
                sizes,
                run,
                allowed=self._allowed,
                first=FIRST,
                refined=self._refined,
                seeds=self._seeds,
            )
        note_doing("")
        return Chosen(self._sized(found.best.options), {**found.as_dict(), "valid": held_out})

    @cached_property
    def _start(self) -> Encoded:
        """The documents as options are before anything is chosen."""
        return self._encoded(self.config.chosen())

    @property
    def _refined(self) -> int:
        return REFINED if self.train.n_rows <= TRAIN else FEWER

    @property
    def _seeds(self) -> int:
        return SEEDS if self.train.n_rows <= FEW else 1

    @cached_property
    def _most(self) -> float:
        """What a trial may cost; four times what the quickest options cost is always allowed."""
        quick = {name: value for name, value in QUICK.items() if name in self.config.automatic}
        return max(COST, 4 * self._cost(self.config.chosen(**quick)))

    def _allowed(self, options: dict[str, Any]) -> bool:
        config = self._given(**options)
        return self._step(config) <= self._largest and self._cost(config) <= self._most

    @cached_property
    def _largest(self) -> float:
        """How large a step may be; four times that at the least rate is always allowed."""
        lr = min(choices(self.config, "lr") or ()) if "lr" in self.config.automatic else self.config.lr
        return max(STEP, 4 * self._step(self.config.chosen(lr=lr)))

    def _step(self, config: FastTextConfig) -> float:
        """Return the rate times the squared length of an input: how far a document moves its own scores."""
        reads = self.kind.reads(cast(Never, config))
        text = 1.0 if reads.text is not None and config.weighting == "tfidf" else 0.0
        return config.lr * max(text, reads.length if reads.dense else 0.0) ** 2

    def _cost(self, config: FastTextConfig) -> float:
        """Return about how many numbers a fit multiplies one by one; those of matrix products count an eighth."""
        corpus = self._encoded(config).corpus
        n, C, H = corpus.documents, len(corpus.labels), config.dim
        Z = H * H if self.kind(config).fusion() >= arrays.BILINEAR else H
        return config.epochs * (corpus.words * H + n * (corpus.shape.dim * H + Z * C) / 8)

    def _dimensions(self) -> list[Dimension]:
        """Return what is left open; lengths of subwords are chosen together, buckets follow from the words."""
        open_, dimensions = self.config.automatic, []
        most = max(5, VISITS // max(1, self.train.n_rows))
        for name in open_:
            values = list(choices(self.config, name) or ())
            if name == "minn" or (
                name in ("minn", "maxn", "word_ngrams", "weighting")
                and not self.kind.reads(cast(Never, self.config)).text
            ):
                continue
            if name == "maxn":
                lengths = choices(self.config, "minn") or []
                dimensions.append(
                    Dimension(tuple({"minn": a, "maxn": b} for a, b in zip(lengths, values, strict=True)))
                )
            elif values:
                values = [value for value in values if name != "epochs" or value <= most]
                start = values.index(getattr(self.config, name)) if getattr(self.config, name) in values else 0
                dimensions.append(Dimension(tuple({name: value} for value in values), start))
        return dimensions

    def _given(self, **options: Any) -> FastTextConfig:
        return self.config.chosen(**self._sized(options), deterministic=True)

    def _sized(self, options: dict[str, Any]) -> dict[str, Any]:
        return {**options, "buckets": self._buckets()} if "buckets" in self.config.automatic else options

    def _buckets(self) -> int:
        return max(1, min(self.config.buckets, BUCKETS_PER_WORD * len(self._start.corpus.dictionary.counts)))

    def _encoded(self, config: FastTextConfig) -> Encoded:
        """Return the documents in the words and at the scaling of a configuration; dense rows have length 1."""
        reads = self.kind.reads(cast(Never, config))._replace(length=1.0)
        key = reads.scaling, config.weighting, config.word_ngrams, config.minn, config.maxn, config.hashed_rows
        if key not in self.encoded:
            note_doing("encoding documents to choose options")
            if config.weighting == "tfidf":
                self.encoded[key] = weighed(self._encoded(config.chosen(weighting="mean")))
                return self.encoded[key]
            config = config.chosen(deterministic=True, threads=None, memory_mb=1 << 20)
            self.encoded[key] = encode(self.tried, self.held_out, reads, config)
        return self.encoded[key]

    def _score(self, config: FastTextConfig, size: int, seed: int) -> tuple[float, float]:
        """Return precision at 1 and the mean probability of the best right label, on valid."""
        encoded = self._encoded(config)
        classifier = self.kind(config)
        length = self.kind.reads(cast(Never, config)).length
        try:
            classifier.fit_corpus(first_documents(encoded.corpus, size, length), seed, restarts=0, level=logging.DEBUG)
        except TrainingError:
            return -np.inf, 0.0
        self.done += 1
        note_doing("choosing options")
        note(self.done, FIRST + FIRST // 3 + FIRST // 9 + self._refined + FINALISTS * (self._seeds - 1))
        n, right, sureness = len(encoded.valid.has_image), 0, 0.0
        step = max(1, NUMBERS // len(encoded.corpus.labels))
        for lo in range(0, n, step):
            logits = classifier.chunk_logits(scaled(sliced(encoded.valid, lo, lo + step), length))
            probabilities, best = classifier.probabilities(logits), logits.argmax(axis=1)
            own = picked(encoded.truth, np.arange(lo, lo + len(best)))
            rows = np.repeat(np.arange(len(best)), np.diff(own.indptr))
            right += int(np.count_nonzero(best[rows] == own.ids))
            surest = np.zeros(len(best))
            np.maximum.at(surest, rows, probabilities[rows, own.ids])
            sureness += float(surest.sum())
        return right / n, sureness / n


def encode(train: Features, valid: Features, reads: Reads, config: FastTextConfig) -> Encoded:
    """Encode training documents in random order, and valid ones that have a label."""
    corpus = corpora.build(train, reads, config)
    chunk = joined([corpus.chunks[i] for i in range(len(corpus.chunks))])
    order = np.random.default_rng(0).permutation(len(chunk.has_image))
    names = pa.array(corpus.labels, pa.string())
    chunks, counts, classes = [], [np.zeros(1, np.int64)], [np.zeros(0, np.int32)]
    for block in valid.blocks():
        chunks.append(corpora.encode(block, reads, corpus.dictionary, corpus.shape, corpus.scale))
        rows, ids, _ = label_pairs(block.labels, names)
        counts.append(np.bincount(rows, minlength=len(block)))
        classes.append(ids.astype(np.int32))
    held_out = joined(chunks) if chunks else take(chunk, order[:0])
    truth = Bags(np.cumsum(np.concatenate(counts)), np.concatenate(classes))
    return Encoded(alone(corpus, take(chunk, order)), held_out, truth)


def weighed(encoded: Encoded) -> Encoded:
    """Return documents whose tokens weigh alike with the weights that they have under tfidf."""
    corpus = encoded.corpus
    store = ChunkStore(1 << 62, documents=corpus.documents, chunks=[corpus.chunks[0]])
    dictionary = weigh(store, corpus.dictionary)
    corpus = alone(replace(corpus, dictionary=dictionary), store[0])
    return Encoded(corpus, weighted(encoded.valid, dictionary), encoded.truth)


def alone(corpus: Corpus, chunk: Chunk) -> Corpus:
    """Return a corpus of one chunk, in the words and classes of another."""
    n = len(chunk.has_image)
    return replace(corpus, chunks=ChunkStore(1 << 62, chunks=[chunk]), words=len(chunk.ids) + n, documents=n)


def first_documents(corpus: Corpus, size: int, length: float) -> Corpus:
    """Return the first documents of a corpus of one chunk, images scaled to a length."""
    chunk = corpus.chunks[0]
    if size < corpus.documents:
        chunk = take(chunk, np.arange(size))
    return alone(corpus, scaled(chunk, length))
