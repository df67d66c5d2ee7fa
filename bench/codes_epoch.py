"""How fast an autoencoder of three inputs is trained, beside a bare torch loop over tensors in memory."""

import statistics
import time
from collections.abc import Callable

import numpy as np
import pyarrow as pa
import torch

from bench.torch_speed import Documents
from fuseline.models.columns import Dense
from fuseline.models.encoders.autoencoder import Autoencoder, AutoencoderConfig
from fuseline.models.encoders.autoencoder_layers import Autoencoders
from fuseline.models.features import Block, embedding_name

WIDTHS = {"image": 1280, "table": 120, "text": 384}
BATCH, LR = 32, 0.001


def mmae_epoch(documents: int, rounds: int) -> float:
    """Return the median processor seconds of an epoch of ours over that of the bare loop, in rounds in turn."""
    rng = np.random.default_rng(0)
    arrays = {name: rng.standard_normal((documents, width), np.float32) for name, width in WIDTHS.items()}
    here = np.ones(documents, np.bool_)
    columns = {embedding_name(name): Dense(X, here) for name, X in arrays.items()}
    labels = pa.array([[]] * documents, pa.list_(pa.string()))
    features = Documents(Block(pa.array([str(i) for i in range(documents)]), labels, columns), documents)

    def ours(epochs: int) -> object:
        config = AutoencoderConfig(inputs=tuple(WIDTHS), epochs=epochs, threads=1)
        return Autoencoder(config).fit(features, seed=0)

    tensors = {name: torch.from_numpy(X) for name, X in arrays.items()}
    known = torch.ones(documents, 1, dtype=torch.bool)

    def bare(epochs: int) -> object:
        torch.manual_seed(0)
        network = Autoencoders(
            WIDTHS, hidden=512, inner=64, code=64, layout="inner", pooled=32, weights=dict.fromkeys(WIDTHS, 1.0)
        )
        optimizer = torch.optim.RMSprop(network.parameters(), lr=LR)
        for _ in range(epochs):
            order = torch.randperm(documents)
            for lo in range(0, documents, BATCH):
                rows = order[lo : lo + BATCH]
                batch = {name: X[rows] for name, X in tensors.items()}
                batch |= {f"{name}_known": known[rows] for name in tensors}
                loss = network(batch).mean()
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
        return network

    ratios = [_epoch(ours) / _epoch(bare) for _ in range(rounds)]
    return statistics.median(ratios)


def _epoch(fit: Callable[[int], object]) -> float:
    """Return processor seconds of an epoch: half of what three epochs take more than one."""
    seconds = []
    for epochs in (1, 3):
        started = time.process_time()
        fit(epochs)
        seconds.append(time.process_time() - started)
    return (seconds[1] - seconds[0]) / 2
