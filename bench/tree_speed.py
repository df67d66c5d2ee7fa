"""Finding the best of 312,116 tags in the tree of hierarchical softmax, against computing the logits of all.

python -m bench.tree_speed --docs 200000 --json

Trained weights: `text` with hierarchical softmax, dim 100, fitted for 5 epochs on texts of the training benchmark with
three tags each of a Zipf law over 312,116, after documents in which every tag occurs once. Random weights are normal:
`random` as large as makes the score of a node vary by 1 between test documents, `wild` by 10, where an unlikely tag
may lie below a likely node. Zero weights are those of a classifier that has learnt nothing.

Processor seconds of one thread per test document, words encoded, the least of the rounds: `top` finds the 5 best tags,
`scored` also rank and log loss of the document's own tags, `above` all tags of probability 1e-6 and more, by which at
worst a threshold is tuned. The last line is {"ratios": {...}}: the full scan's time over that of the search.
"""

import argparse
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import pyarrow as pa

from bench.corpus import ROWS, VOCABULARY, label_lists, texts
from bench.train_speed import TAGS
from fuseline.models import scoring
from fuseline.models.blocks import cut
from fuseline.models.columns import Text
from fuseline.models.features import TEXT, Block
from fuseline.models.ranked import LogitMatrix, RankedClasses
from fuseline.models.registry import MODELS

DIM, K, TAGS_EACH = 100, 5, 3
SCANNED = 30  # test documents of the full scan; it takes a tenth of a second each


@dataclass
class Captions:
    """Documents in memory."""

    shards: list[Block]

    @property
    def n_rows(self) -> int:
        """Documents."""
        return sum(map(len, self.shards))

    def blocks(self) -> Iterator[Block]:
        """Yield the documents."""
        yield from self.shards


def captions(documents: int, test: int, *, classes: int) -> tuple[Captions, Block]:
    """Return training documents, every class in at least one, and `test` more."""
    rng = np.random.default_rng(0)
    words = pa.array([f"w{i:x}" for i in range(VOCABULARY)])
    zipf = np.cumsum(1.0 / np.arange(1, VOCABULARY + 1))
    frequency = np.cumsum(1.0 / np.arange(10, classes + 10))
    drawn = np.searchsorted(frequency, rng.random((documents + test, TAGS_EACH)) * frequency[-1])
    every = np.resize(np.arange(classes), (-(-classes // TAGS_EACH), TAGS_EACH))
    parts = np.split(every, range(ROWS, len(every), ROWS)) + np.split(drawn[:-test], range(ROWS, documents, ROWS))
    blocks = []
    for y in [*parts, drawn[-test:]]:
        text = Text(texts(rng, words, zipf, y, len(y)).cast(pa.string()))
        blocks.append(Block(pa.array(np.arange(len(y))).cast(pa.string()), label_lists(y), {TEXT: text}))
    return Captions(blocks[:-1]), blocks[-1]


def seconds(work: Callable[[Block], object], block: Block, rounds: int) -> float:
    """Return the processor seconds that a document takes, the least of the rounds."""
    spent = []
    for _ in range(rounds):
        started = time.process_time()
        work(block)
        spent.append((time.process_time() - started) / len(block))
    return min(spent)


def used(ranked: Callable[[Block], RankedClasses], use: Callable[[RankedClasses, Block], object], block: Block) -> None:
    """Rank the classes of a block, and use them."""
    use(ranked(block), block)


def measure(model: scoring.Classifier, test: Block, rounds: int) -> dict[str, float]:
    """Return seconds per document of full scan and search, and their ratios; both must find the same."""
    names = pa.array(model.labels, pa.string())

    def scanned(block: Block) -> RankedClasses:
        logits = model.predict_logits(block)
        return LogitMatrix(logits, model.probabilities(logits))

    def scored(ranked: RankedClasses, block: Block) -> None:
        ranked.top(K)
        scoring.own(names, block.labels, ranked)

    uses = {"top": lambda ranked, _: ranked.top(K), "scored": scored, "above": lambda ranked, _: ranked.at_least(1e-6)}
    works = {"scan": scanned, "search": model.ranker()}
    times: dict[str, float] = {}
    for name, ranked in works.items():
        block = cut(test, 0, SCANNED) if name == "scan" else test
        for what, use in uses.items():
            times[f"{name}, {what}"] = seconds(partial(used, ranked, use), block, rounds)
    few = cut(test, 0, SCANNED)
    if not np.array_equal(scanned(few).top(K)[0], works["search"](few).top(K)[0]):
        raise SystemExit("search and full scan differ")
    return times


def main() -> None:
    """Parse the command line and print the times, then the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--docs", type=int, default=200_000)
    parser.add_argument("--test", type=int, default=500)
    parser.add_argument("--classes", type=int, default=TAGS)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true", help="the last line is JSON in any case")
    arguments = parser.parse_args()
    train, test = captions(arguments.docs, arguments.test, classes=arguments.classes)
    config = MODELS["text"].Config(
        preset="fasttext", dim=DIM, epochs=5, lr=0.25, loss="hs", task="single", threads=1, lowercase=False
    )
    model = MODELS["text"](config).fit(train, None, seed=0)
    ranked = model.ranker()(test)
    best = np.array(model.labels, object)[ranked.top(1)[0][:, 0]]
    right = float(np.mean([label in own for label, own in zip(best, test.labels.to_pylist(), strict=True)]))
    print(f"{len(model.labels):,} tags, dim {DIM}, trained on {train.n_rows:,} documents, P@1 {right:.3f}")
    rng = np.random.default_rng(1)
    W, spread = model.params.W.copy(), float(np.sqrt(np.square(ranked.Z).sum(axis=1).mean()))
    random = (rng.normal(size=W.shape) / spread).astype(np.float32)
    weights = {"trained": W, "random": random, "wild": 10 * random, "zero": 0 * W}
    ratios: dict[str, float] = {}
    for name, values in weights.items():
        model.params.W[:] = values
        times = measure(model, test, arguments.rounds)
        for what in ("top", "scored", "above"):
            ratios[f"{name}_{what}"] = round(times[f"scan, {what}"] / times[f"search, {what}"], 1)
        print(f"{name:8s}" + "".join(f"  {what} {1e3 * value:.4g} ms" for what, value in times.items()), flush=True)
    print(json.dumps({"ratios": ratios}))


if __name__ == "__main__":
    main()
