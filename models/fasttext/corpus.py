"""Documents as arrays of numbers: encoded once, kept in chunks, read again every epoch."""

from collections import deque
from collections.abc import Hashable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fuseline.models.blocks import gathered, joined
from fuseline.models.columns import Codes, Dense
from fuseline.models.fasttext import pretrained
from fuseline.models.fasttext.arrays import Chunk
from fuseline.models.fasttext.chunks import ChunkStore
from fuseline.models.fasttext.config import FastTextConfig
from fuseline.models.fasttext.dense_inputs import DenseRows, Scale, Scaling, fitted_scale
from fuseline.models.fasttext.dictionary import Dictionary, WordCounter
from fuseline.models.fasttext.weighting import weigh, weighted
from fuseline.models.features import Block, Features, SharedCache
from fuseline.models.labels import Bags, LabelCounter
from fuseline.models.subset import HashedPart
from fuseline.models.weights import file_sha256

SCALED = 50_000  # training documents that mean and deviation are taken of, at most


class Reads(NamedTuple):
    """Which columns of a block a classifier reads, by dataset; None = none of this kind."""

    text: str | None = None
    dense: tuple[str, ...] = ()
    codes: str | None = None
    length: float = 1.0  # that dense vectors are scaled to
    scaling: Scaling = "unit"


class Shape(NamedTuple):
    """Widths of what was read: D of the embedding, M of the codes; 0 when not read."""

    dim: int
    tokens: int


@dataclass
class Corpus:
    """An encoded training set."""

    chunks: ChunkStore
    dictionary: Dictionary
    labels: list[str]
    label_counts: NDArray[np.int64]
    most_labels: int  # of one document
    shape: Shape
    scale: Scale  # of the dense inputs
    words: int  # tokens plus documents: what an epoch's learning rate decays with
    documents: int

    def labelled(self) -> int:
        """Return how many documents have a label; only of these an epoch learns."""
        chunks = (self.chunks[i] for i in range(len(self.chunks)))
        return sum(int(np.count_nonzero(np.diff(chunk.label_ptr))) for chunk in chunks)

    @property
    def nbytes(self) -> int:
        """Bytes of memory that the chunks take."""
        return sum(array.nbytes for chunk in self.chunks.chunks if chunk is not None for array in chunk)

    def close(self) -> None:
        """Remove the chunks that lie in files."""
        self.chunks.close()


class Counters:
    """The vocabularies of one reading thread: chunk i is counted by counters i modulo their number."""

    def __init__(self, config: FastTextConfig) -> None:
        self.words, self.labels = WordCounter(lowercase=config.lowercase), LabelCounter()
        self.thread = ThreadPoolExecutor(1)

    def encode(self, number: int, blocks: list[Block], reads: Reads, scale: Scale, store: ChunkStore) -> Chunk | None:
        """Return blocks as chunk `number` in this thread's own numbers; None when it went into files of the store."""
        images = images_of(blocks, reads, scale)
        others = {name for name in (reads.text, reads.codes) if name is not None}
        block = joined([block.only(others) for block in blocks])
        text = no_bags(len(block)) if reads.text is None else self.words.add(block.text)
        return store.put(number, chunk_of(block, reads, text=text, labels=self.labels.add(block.labels)), images)


@contextmanager
def encoding(train: Features, reads: Reads, config: FastTextConfig) -> Iterator[Corpus]:
    """Yield all documents of `train`, encoded for this block alone, or kept in its cache for all that ask."""
    if isinstance(train, SharedCache):
        with train.get_or_create(
            encoding_key(reads, config, train.n_rows), lambda: build(train, reads, config)
        ) as corpus:
            yield corpus
        return
    with closing(build(train, reads, config)) as corpus:
        yield corpus


def encoding_key(reads: Reads, config: FastTextConfig, rows: int) -> Hashable:
    """Return everything but the documents, of which there are `rows`, that decides an encoded corpus."""
    shape = (config.weighting, config.min_count, config.word_ngrams, config.minn, config.maxn, config.hashed_rows)
    vectors = None if reads.text is None else config.pretrained_vectors
    added = None if vectors is None else file_sha256(vectors)
    return ("corpus", reads, config.lowercase, *shape, added, config.training_threads(rows))


def build(train: Features, reads: Reads, config: FastTextConfig) -> Corpus:
    """Encode all documents of `train` in one pass over its blocks and one over the chunks.

    Every thread numbers words on its own; the second pass gives them their common ids.
    """
    counters = [Counters(config) for _ in range(config.training_threads(train.n_rows))]
    store = ChunkStore(config.memory_mb << 20)
    try:
        scale = scale_of(train, reads)
        store.chunks.extend(encoded(train, reads, scale, counters, store))
        words, labels = counters[0].words, counters[0].labels  # the others' words follow its own
        for counter in counters[1:]:
            words.merge(counter.words)
            labels.merge(counter.labels)
        names, counts = labels.freeze()
        dictionary = Dictionary.freeze(
            words,
            min_count=least(words, reads, config),
            word_ngrams=config.word_ngrams,
            minn=config.minn,
            maxn=config.maxn,
            buckets=0 if reads.text is None else config.hashed_rows,
        )
        renumber(store, counters, dictionary, names)
        if reads.text is not None and config.weighting == "tfidf":
            dictionary = weigh(store, dictionary)
    finally:
        for counter in counters:
            counter.thread.shutdown()
    shape = Shape(store[0].dense.shape[1], store[0].codes.shape[1]) if len(store) else Shape(0, 0)
    return Corpus(store, dictionary, names, counts, labels.most, shape, scale, store.words, store.documents)


def least(words: WordCounter, reads: Reads, config: FastTextConfig) -> int:
    """Add the words of pretrained vectors, and return how often a word must have come to be kept.

    As in the fastText program the words of the texts are sifted by min_count before; then every line of the file counts
    as one more occurrence of its word.
    """
    if config.pretrained_vectors is None or reads.text is None:
        return config.min_count
    words.drop(below=config.min_count)
    words.merge(pretrained.known_words(config.pretrained_vectors, config.dim, lowercase=config.lowercase))
    return 1


def scale_of(train: Features, reads: Reads) -> Scale:
    """Return how dense inputs are scaled, by at most `SCALED` of the training documents."""
    if not reads.dense:
        return Scale(())
    unit = fitted_scale(train, reads.dense, "unit")  # widths alone
    part = HashedPart(train, 0.0, min(1.0, SCALED / max(1, train.n_rows)))
    scale = unit if reads.scaling == "unit" else fitted_scale(part, reads.dense, reads.scaling)
    return (unit if scale.mean is None else scale)._replace(length=reads.length)


def encoded(
    train: Features, reads: Reads, scale: Scale, counters: list[Counters], store: ChunkStore
) -> Iterator[Chunk | None]:
    """Yield the chunks in order, a few being encoded while the next blocks are read; None for one in files."""
    waiting: deque[Future[Chunk | None]] = deque()
    for number, blocks in enumerate(gathered(only(block, reads) for block in train.blocks())):
        counter = counters[number % len(counters)]
        waiting.append(counter.thread.submit(counter.encode, number, blocks, reads, scale, store))
        if len(waiting) > len(counters):
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def renumber(store: ChunkStore, counters: list[Counters], dictionary: Dictionary, names: list[str]) -> None:
    """Give the tokens and labels of every chunk their final ids, in each counter's own thread."""

    def work(t: int) -> tuple[int, int]:
        counter, words, documents = counters[t], 0, 0
        lists, classes = dictionary.lists(counter.words), counter.labels.renumber(names)
        for i in range(t, len(store), len(counters)):
            chunk = store[i]
            bags = dictionary.expand(Bags(chunk.indptr, chunk.ids), lists, counter.words.table)
            chunk = chunk._replace(indptr=bags.indptr, ids=bags.ids, labels=classes[chunk.labels])
            store.replace(i, chunk, ("indptr", "ids", "labels"))
            words, documents = words + len(chunk.ids) + len(chunk.has_image), documents + len(chunk.has_image)
        return words, documents

    jobs = [counter.thread.submit(work, t) for t, counter in enumerate(counters)]
    store.words, store.documents = (sum(counts) for counts in zip(*(job.result() for job in jobs), strict=True))


def only(block: Block, reads: Reads) -> Block:
    """Return the block with nothing but what is read: joining small blocks then copies no more."""
    read = {name for name in (reads.text, *reads.dense, reads.codes) if name is not None}
    for name in reads.dense:
        block.column(name, Dense)
    if reads.codes is not None:
        block.column(reads.codes, Codes)
    return block.only(read)


def encode(block: Block, reads: Reads, dictionary: Dictionary, shape: Shape, scale: Scale) -> Chunk:
    """Encode documents for prediction; raises ValueError when the widths differ from the training set's."""
    text = no_bags(len(block)) if reads.text is None else dictionary.encode(block.text)
    images = images_of([block], reads, scale)
    chunk = weighted(chunk_of(block, reads, text=text, labels=no_bags(len(block))), dictionary)
    chunk = chunk if images is None else images.into(chunk)
    widths = Shape(chunk.dense.shape[1], chunk.codes.shape[1])
    if widths != shape:
        raise ValueError(f"features: expected widths {shape!r}, got {widths!r}; use the encoder it was trained with")
    return chunk


def chunk_of(block: Block, reads: Reads, *, text: Bags, labels: Bags) -> Chunk:
    """Return the arrays of a block but for its images."""
    n = len(block)
    codes, has_image = np.zeros((n, 0), np.uint8), np.zeros(n, np.uint8)
    if reads.codes is not None:
        column = block.column(reads.codes, Codes)
        codes, has_image = np.array(column.values, np.uint8), column.present.astype(np.uint8)
    dense, weights = np.zeros((n, 0), np.float32), np.zeros(0, np.float32)
    return Chunk(text.indptr, text.ids, labels.indptr, labels.ids, dense, codes, has_image, weights)


def images_of(blocks: list[Block], reads: Reads, scale: Scale) -> DenseRows | None:
    """Return the dense inputs of consecutive blocks, if any are read."""
    return DenseRows.of(blocks, reads.dense, scale) if reads.dense else None


def no_bags(n: int) -> Bags:
    """Return n empty bags."""
    return Bags(np.zeros(n + 1, np.int64), np.zeros(0, np.int32))
