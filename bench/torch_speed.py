"""How fast the common training loop is, beside a bare torch loop over tensors in memory: ratios.

    python -m bench.torch_speed [--documents 10000] [--epochs 2] [--rounds 5] [--json]

Both loops train the same network on the same documents with the same optimiser and batch, on one thread; rounds follow
each other in turn. `*_epoch` is the median of an epoch of ours over that of the bare loop, in processor seconds, which
other programs disturb less.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from fuseline.models.classifiers.gmu import GMU, GMUConfig
from fuseline.models.columns import Dense
from fuseline.models.features import Block, embedding_name
from fuseline.models.layers import GatedUnit

F32 = NDArray[np.float32]
BATCH, IMAGE, TEXT, CLASSES, HIDDEN, LR = 128, 512, 384, 20, 128, 0.005


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
    parser.add_argument("--json", action="store_true", help="print the last line alone")
    args = parser.parse_args()
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    y = rng.integers(0, CLASSES, args.documents)
    Xv, Xt = (unit(rng.standard_normal((args.documents, D), np.float32)) for D in (IMAGE, TEXT))
    ours, bare = list[float](), list[float]()
    for _ in range(args.rounds):
        bare.append(bare_epoch(Xv, Xt, y, args.epochs))
        ours.append(epoch(Xv, Xt, y, args.epochs))
    medians = statistics.median(ours), statistics.median(bare)
    if not args.json:
        sys.stdout.write(f"gmu: an epoch {medians[0]:.3f} s, bare loop {medians[1]:.3f} s\n")
    sys.stdout.write(json.dumps({"ratios": {"gmu_epoch": round(medians[0] / medians[1], 3)}}) + "\n")


def unit(X: F32) -> F32:
    """Return X (n, D) with rows of length 1."""
    return np.asarray(X / np.linalg.norm(X, axis=1, keepdims=True), np.float32)


def epoch(Xv: F32, Xt: F32, y: NDArray[np.int64], epochs: int) -> float:
    """Return seconds of an epoch of ours: the time of `epochs` more epochs than one, so that preparation is out."""
    present = np.ones(len(y), np.bool_)
    columns = {embedding_name("image"): Dense(Xv, present), embedding_name("text"): Dense(Xt, present)}
    ids = pa.array([str(i) for i in range(len(y))])
    features = Documents(Block(ids, pa.array([[f"c{c}"] for c in y]), columns), len(y))
    seconds = {}
    for count in (1, 1 + epochs):
        started = time.process_time()
        config = GMUConfig(dim=HIDDEN, batch=BATCH, epochs=count, lr=LR, threads=1)
        GMU(config).fit(features, None, seed=0)
        seconds[count] = time.process_time() - started
    return (seconds[1 + epochs] - seconds[1]) / epochs


def bare_epoch(Xv: F32, Xt: F32, y: NDArray[np.int64], epochs: int) -> float:
    """Return seconds of an epoch of a plain loop."""
    torch.manual_seed(0)
    network = GatedUnit(IMAGE, TEXT, HIDDEN, CLASSES)
    optimizer = torch.optim.Adam(network.parameters(), lr=LR)
    image, text, target = torch.from_numpy(Xv), torch.from_numpy(Xt), torch.from_numpy(y)
    bounds = torch.tensor([0.0, 1.0]).reshape(1, 2, 1).expand(len(y), 2, 1).contiguous()
    started = time.process_time()
    for _ in range(epochs):
        order = torch.randperm(len(y))
        for lo in range(0, len(y), BATCH):
            rows = order[lo : lo + BATCH]
            logits = network({"image": image[rows], "text": text[rows], "bounds": bounds[rows]})
            loss = torch.nn.functional.cross_entropy(logits, target[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return (time.process_time() - started) / epochs


if __name__ == "__main__":
    main()
