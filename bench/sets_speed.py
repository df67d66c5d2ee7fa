"""How fast sets of elements are beside padded ones, and what it costs to tell which element decided: ratios.

    python -m bench.sets_speed [--documents 1500] [--rounds 5] [--json]

Documents have one vector, and 0 to 50 elements of each of two kinds, as many documents of each number. The ratio
`deep_sets_vs_padded` is how many times faster an epoch of `deep_sets` is than one of the same network over elements
padded to the most of any document and masked, on one thread, in processor seconds; `..._predict` the same for scoring.
Both give the same logits from the same weights, which is checked. `importance_share` is what scores that tell of every
element cost on top of scores that do not, as a share of these. `mmae_epoch` is an epoch of the autoencoder of three
inputs over that of a bare torch loop. Rounds follow each other in turn; medians count.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any, cast

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bench.codes_epoch import mmae_epoch
from bench.torch_speed import Documents, unit
from fuseline.models.classifiers.deep_sets import DeepSets, DeepSetsConfig
from fuseline.models.columns import Column, Dense, Ragged
from fuseline.models.features import Block
from fuseline.models.set_layers import SetNetwork, lengths_name
from fuseline.models.training import Gather

F32 = NDArray[np.float32]
CLASSES, MOST = 20, 50
WIDTHS = {"embed/image": 512, "crops/faces": 256, "crops/objects": 512}
OPTIONS: dict[str, Any] = {
    "vectors": ["image"],
    "elements": ["faces", "objects"],
    "dim": 256,
    "lr": 0.001,
    "threads": 1,
}


class Padded(nn.Module):
    """The same encoders and head over elements (n, most, D) with a mask; the largest value of each dimension."""

    def __init__(self, network: SetNetwork) -> None:
        """Take the modules of a network over sets."""
        super().__init__()
        self.branches, self.layers, self.last = network.branches, network.layers, network.last

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """Return logits (n, C)."""
        encoded = torch.cat([branch(batch[name]) for name, branch in self.branches.items()], dim=1)
        has = torch.cat([batch[lengths_name(name)] for name in self.branches], dim=1)
        largest = encoded.masked_fill(~has[:, :, None], -torch.inf).amax(dim=1)
        pooled = torch.where(has.any(dim=1)[:, None], largest, 0)
        logits: Tensor = self.last(self.layers(pooled))
        return logits


class PaddedSets(DeepSets):
    """Deep sets by padding: arrays of a fixed number of places per input."""

    def module(self, sizes: dict[str, Any], C: int) -> nn.Module:
        """Return the padded network."""
        return Padded(cast(SetNetwork, super().module(sizes, C)))

    def gather(self, block: Block) -> Gather:
        """Return what pads the elements of a batch to the most of any document."""
        arrays: dict[str, NDArray[Any]] = {}
        for name, held in self.held(block).items():
            lengths = held.column.lengths
            most = 1 if held.single else MOST
            padded = np.zeros((len(block), most, held.column.values.shape[1]), np.float32)
            has = np.arange(most) < lengths[:, None]
            padded[has] = held.column.values
            arrays |= {name: padded, lengths_name(name): has}
        return lambda rows: {name: array[rows] for name, array in arrays.items()}


def documents(n: int) -> Documents:
    """Return documents of random elements."""
    rng = np.random.default_rng(0)
    columns: dict[str, Column] = {}
    for name, width in WIDTHS.items():
        lengths = np.ones(n, np.int64) if name == "embed/image" else rng.permutation(np.arange(n) % (MOST + 1))
        values = unit(rng.standard_normal((int(lengths.sum()), width), np.float32))
        if name == "embed/image":
            columns[name] = Dense(values, np.ones(n, np.bool_))
        else:
            columns[name] = Ragged(np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)]), values, lengths > 0)
    labels = pa.array([[f"c{c}"] for c in rng.integers(0, CLASSES, n)])
    return Documents(Block(pa.array([str(i) for i in range(n)]), labels, columns), n)


def fit(kind: type[DeepSets], features: Documents, epochs: int) -> DeepSets:
    """Return a fitted model, without dropout so that both learn the same."""
    return kind(DeepSetsConfig(**OPTIONS, epochs=epochs, dropout=0)).fit(features, None, seed=0)


def seconds(work: Callable[[], object]) -> float:
    """Return processor seconds."""
    started = time.process_time()
    work()
    return time.process_time() - started


def epoch(kind: type[DeepSets], features: Documents) -> float:
    """Return seconds of an epoch: the time of two epochs more than one, halved, so that preparation is out."""
    one, three = (seconds(lambda n=n: fit(kind, features, n)) for n in (1, 3))  # type: ignore[misc]
    return (three - one) / 2


def ratios(args: argparse.Namespace) -> dict[str, float]:
    """Return all ratios."""
    torch.set_num_threads(1)
    features = documents(args.documents)
    sets, padded = fit(DeepSets, features, 1), fit(PaddedSets, features, 1)
    np.testing.assert_allclose(sets.predict_logits(features.block), padded.predict_logits(features.block), atol=1e-4)
    block = features.block
    measured: dict[str, list[float]] = {"epoch": [], "predict": [], "importance": []}
    for _ in range(args.rounds):
        measured["epoch"].append(epoch(PaddedSets, features) / epoch(DeepSets, features))
        plain = seconds(lambda: sets.predict_logits(block))
        measured["predict"].append(seconds(lambda: padded.predict_logits(block)) / plain)
        measured["importance"].append(seconds(lambda: sets.explained(block)) / plain - 1)
    medians = {name: statistics.median(values) for name, values in measured.items()}
    return {
        "mmae_epoch": mmae_epoch(2 * args.documents, args.rounds),
        "deep_sets_vs_padded": medians["epoch"],
        "deep_sets_vs_padded_predict": medians["predict"],
        "importance_share": medians["importance"],
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=1500)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true", help="print the last line alone")
    args = parser.parse_args()
    found = {name: round(value, 3) for name, value in ratios(args).items()}
    sys.stdout.write(json.dumps({"ratios": found}) + "\n")


if __name__ == "__main__":
    main()
