"""How fast the common training loop is, beside a bare torch loop over tensors in memory: ratios.

    python -m bench.torch_speed [--documents 10000] [--epochs 2] [--rounds 5] [--only text_cnn_epoch ...] [--json]

Both loops train the same network on the same documents with the same optimiser and batch, on one thread; rounds follow
each other in turn. `*_epoch` is the median of an epoch of ours over that of the bare loop, in processor seconds, which
other programs disturb less. Of the network over words a fifth of the documents are taken. `towers_vs_files` is how many
times faster an epoch of `towers` is over the feature store than over image files; see picture_files.py.
`policy_seconds` is no ratio: the processor seconds of a whole fit of `policy` with its defaults, over the logits that
two models have of five times as many documents (50,000 by default); half as many others tune it.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from bench.picture_files import towers_vs_files
from fuseline.models.classifiers.gmu import GMU, GMUConfig
from fuseline.models.classifiers.policy import Policy, PolicyConfig
from fuseline.models.classifiers.text_cnn import TextCNN, TextCNNConfig
from fuseline.models.columns import Column, Dense, Logits, Sequence
from fuseline.models.features import Block, embedding_name, logits_name
from fuseline.models.layers import Concat, GatedUnit, Panel, WordFilters
from fuseline.models.network import NetworkClassifier

F32 = NDArray[np.float32]
BATCH, IMAGE, TEXT, CLASSES, HIDDEN, LR = 128, 512, 384, 20, 128, 0.005
VOCABULARY, WORDS = 20_000, 40  # of the network over words


@dataclass(frozen=True)
class Documents:
    """One block of documents."""

    block: Block
    n_rows: int

    def blocks(self) -> Iterator[Block]:
        """Yield the block."""
        yield self.block


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=10_000)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", nargs="*", choices=sorted(MEASURED), default=list(MEASURED))
    parser.add_argument("--json", action="store_true", help="print the last line alone")
    args = parser.parse_args()
    torch.set_num_threads(1)
    ratios = {name: round(MEASURED[name](args), 3) for name in args.only}
    sys.stdout.write(json.dumps({"ratios": ratios}) + "\n")


def gmu_epoch(args: argparse.Namespace) -> float:
    """Return the ratio for the gated unit over two vectors."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, CLASSES, args.documents)
    Xv, Xt = (unit(rng.standard_normal((args.documents, D), np.float32)) for D in (IMAGE, TEXT))
    present = np.ones(len(y), np.bool_)
    columns = {embedding_name("image"): Dense(Xv, present), embedding_name("text"): Dense(Xt, present)}
    bounds = torch.tensor([0.0, 1.0]).reshape(1, 2, 1).expand(len(y), 2, 1).contiguous()
    tensors = {"image": torch.from_numpy(Xv), "text": torch.from_numpy(Xt), "bounds": bounds}

    def ours(epochs: int) -> GMU:
        return GMU(GMUConfig(dim=HIDDEN, batch=BATCH, epochs=epochs, lr=LR, threads=1))

    return compared(
        "gmu", args, columns, y, ours, lambda: GatedUnit(IMAGE, TEXT, HIDDEN, CLASSES), tensors, (BATCH, LR)
    )


def text_cnn_epoch(args: argparse.Namespace) -> float:
    """Return the ratio for the network over words with the sizes of paper Z, over texts of 1 to 40 words."""
    rng, n = np.random.default_rng(0), args.documents // 5
    y = rng.integers(0, CLASSES, n)
    lengths = rng.integers(1, WORDS + 1, n)
    values = rng.integers(0, VOCABULARY + 1, lengths.sum()).astype(np.int32)
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
    column = Sequence(offsets, values, np.ones(n, np.bool_), VOCABULARY)

    def ours(epochs: int) -> TextCNN:
        return TextCNN(TextCNNConfig(epochs=epochs, lr=0.001, threads=1))

    def network() -> torch.nn.Module:
        words = WordFilters(VOCABULARY, 100, (3, 4, 5), 128)
        return Panel({"words": words}, Concat([words.width], 0, 0, dropout=0.0), CLASSES, dropout=0.5)

    tensors = {"words": torch.from_numpy(column.padded())}
    return compared("text_cnn", args, {embedding_name("words"): column}, y, ours, network, tensors, (64, 0.001))


def policy_seconds(args: argparse.Namespace) -> float:
    """Return the median seconds of a fit of a policy over two models' logits of CLASSES classes."""
    fitting, tuning = (scored(size, seed) for seed, size in enumerate((5 * args.documents, 5 * args.documents // 2)))
    seconds = []
    for _ in range(args.rounds):
        started = time.process_time()
        Policy(PolicyConfig(threads=1)).fit(fitting, tuning, seed=0)
        seconds.append(time.process_time() - started)
    if not args.json:
        sys.stdout.write(f"policy: {statistics.median(seconds):.2f} s for {fitting.n_rows} documents\n")
    return statistics.median(seconds)


def scored(n: int, seed: int) -> Documents:
    """Return documents with the logits of two models, one better than the other."""
    rng = np.random.default_rng(seed)
    y, present = rng.integers(0, CLASSES, n), np.ones(n, np.bool_)
    columns: dict[str, Column] = {}
    for name, strength in (("text", 3.0), ("image", 2.5)):
        logits = rng.standard_normal((n, CLASSES), np.float32)
        logits[np.arange(n), y] += strength
        columns[logits_name(name)] = Logits(logits, present, tuple(f"c{c}" for c in range(CLASSES)))
    ids = pa.array([f"{seed}-{i}" for i in range(n)])
    return Documents(Block(ids, pa.array([[f"c{c}"] for c in y]), columns), n)


def compared(
    name: str,
    args: argparse.Namespace,
    columns: dict[str, Column],
    y: NDArray[np.int64],
    ours: Callable[[int], NetworkClassifier],
    network: Callable[[], torch.nn.Module],
    tensors: dict[str, torch.Tensor],
    steps: tuple[int, float],
) -> float:
    """Return the median of epochs of ours over that of a bare loop.

    Args:
        name: what is measured.
        args: rounds, and epochs of each.
        columns: of the documents.
        y: classes (n,).
        ours: epochs -> classifier.
        network: makes what it trains.
        tensors: what that reads, (n, ...) by name.
        steps: documents per step, and the learning rate.
    """
    features = Documents(
        Block(pa.array([str(i) for i in range(len(y))]), pa.array([[f"c{c}"] for c in y]), columns), len(y)
    )
    target, theirs, own = torch.from_numpy(y), list[float](), list[float]()
    for _ in range(args.rounds):
        theirs.append(bare_epoch(network, tensors, target, args.epochs, *steps))
        own.append(epoch(ours, features, args.epochs))
    medians = statistics.median(own), statistics.median(theirs)
    if not args.json:
        sys.stdout.write(f"{name}: an epoch {medians[0]:.3f} s, bare loop {medians[1]:.3f} s\n")
    return medians[0] / medians[1]


def unit(X: F32) -> F32:
    """Return X (n, D) with rows of length 1."""
    return np.asarray(X / np.linalg.norm(X, axis=1, keepdims=True), np.float32)


def epoch(ours: Callable[[int], NetworkClassifier], features: Documents, epochs: int) -> float:
    """Return seconds of an epoch of ours: the time of `epochs` more epochs than one, so that preparation is out."""
    seconds = {}
    for count in (1, 1 + epochs):
        started = time.process_time()
        ours(count).fit(features, None, seed=0)
        seconds[count] = time.process_time() - started
    return (seconds[1 + epochs] - seconds[1]) / epochs


def bare_epoch(
    make: Callable[[], torch.nn.Module],
    tensors: dict[str, torch.Tensor],
    target: torch.Tensor,
    epochs: int,
    size: int,
    lr: float,
) -> float:
    """Return seconds of an epoch of a plain loop."""
    torch.manual_seed(0)
    network = make()
    optimizer = torch.optim.Adam(network.parameters(), lr=lr)
    started = time.process_time()
    for _ in range(epochs):
        order = torch.randperm(len(target))
        for lo in range(0, len(target), size):
            rows = order[lo : lo + size]
            logits = network({name: X[rows] for name, X in tensors.items()})
            loss = torch.nn.functional.cross_entropy(logits, target[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return (time.process_time() - started) / epochs


MEASURED = {
    "gmu_epoch": gmu_epoch,
    "text_cnn_epoch": text_cnn_epoch,
    "towers_vs_files": towers_vs_files,
    "policy_seconds": policy_seconds,
}

if __name__ == "__main__":
    main()
