"""Compiling the kernels before anything is timed."""

import time
from collections.abc import Iterator
from threading import Lock

import numpy as np
import pyarrow as pa

from fuseline.models.columns import Codes, Dense, Text
from fuseline.models.fasttext import arrays, hogwild
from fuseline.models.fasttext.arrays import Spec
from fuseline.models.fasttext.config import FastTextConfig
from fuseline.models.fasttext.corpus import Reads, build
from fuseline.models.fasttext.output_tables import huffman, lookups
from fuseline.models.fasttext.ranked_leaves import RankedLeaves
from fuseline.models.features import Block
from fuseline.models.progress import note_doing

_LOCK, _DONE = Lock(), [False]


def warm_up() -> float:
    """Have every kernel of the family compiled, or read from the disk cache, once per process; return the seconds."""
    started = time.perf_counter()
    with _LOCK:
        if not _DONE[0]:
            _run()
            _DONE[0] = True
    return time.perf_counter() - started


class _Two:
    """Two documents that read everything there is."""

    def __init__(self) -> None:
        present = np.ones(2, np.bool_)
        columns = {
            "text": Text(pa.array(["a b", "b"])),
            "image": Dense(np.ones((2, 1), np.float32), present),
            "codes": Codes(np.zeros((2, 1), np.uint8), present),
        }
        self.block = Block(pa.array(["1", "2"]), pa.array([["x"], ["y"]], pa.list_(pa.string())), columns)
        self.n_rows = 2

    def blocks(self) -> Iterator[Block]:
        yield self.block


def _run() -> None:
    """Encode, train and predict two documents; which fusion and loss is a number to the kernels, not a type."""
    from fuseline.models.fasttext.kernels import model as kernels
    from fuseline.models.fasttext.kernels.jit import is_compiled

    if not is_compiled(kernels.train_range):
        note_doing("compiling kernels, once on this machine")
    two, loss = _Two(), "hs"
    config = FastTextConfig(dim=1, word_ngrams=2, minn=1, maxn=2, buckets=8, threads=2)  # two have words to merge
    corpus = build(two, Reads("text", ("image",), "codes"), config)
    generator = np.random.default_rng(0)
    rows, dense, classes = corpus.dictionary.rows + 256, corpus.shape.dim, len(corpus.labels)
    params = hogwild.init_params(rows, dense, classes, dim=1, bilinear=False, generator=generator)
    spec = Spec(arrays.SUM, arrays.HIERARCHICAL, arrays.SAMPLE, 1, corpus.dictionary.rows, 256, 1.0, 1, 1, classes)
    paths, chunk = lookups(corpus.label_counts, loss), corpus.chunks[0]
    shared, order, stats = hogwild.working(params, 1), generator.permutation(2), np.zeros((1, 4))
    scratch = hogwild.new_scratch(shared, 1, 0)
    kernels.train_range(shared, chunk, spec, paths, scratch, order, 0, 2, config.lr, 0.0, 1, 1.0, stats[0])
    corpus.dictionary.encode(two.block.column("text", Text).values)
    Z, T, A = (np.zeros((2, 8), np.float32) for _ in range(3))
    kernels.hidden(params, chunk, spec, Z, T, A)
    logits, tree = np.zeros((2, classes), np.float32), huffman(corpus.label_counts)
    kernels.scores(params.W, Z, logits)
    kernels.leaf_log_probabilities(Z, tree.parent, tree.right, logits)
    ranked, numbers = RankedLeaves(params.W, Z, tree), np.zeros(2, np.int64)
    ranked.top(1)
    ranked.ranks(numbers, numbers)
    ranked.at_least(0.5)
    corpus.close()
    note_doing("")
