"""A torch family in one file, as a user would write it: logits W x + b of an image embedding, after dropout."""

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import torch

from fuseline.models.columns import Dense, Size
from fuseline.models.config import FrozenConfig
from fuseline.models.features import Block, Input, embedding_name
from fuseline.models.network import NetworkClassifier, NetworkConfig
from fuseline.models.training import Gather
from tests.models.synthetic import Blocks, make_block

IMAGE = embedding_name("image")


class LinearConfig(NetworkConfig):
    dropout: float = 0.0


class Linear(NetworkClassifier):
    kind: ClassVar[str] = "linear_test"
    summary: ClassVar[str] = "a linear map"
    Config: ClassVar[type[FrozenConfig]] = LinearConfig
    bias: ClassVar[str] = "1.bias"
    config: LinearConfig

    @classmethod
    def inputs(cls, config: Any) -> tuple[Input, ...]:
        return (Input(IMAGE, Dense),)

    def module(self, sizes: dict[str, Size], C: int) -> torch.nn.Module:
        return Named(torch.nn.Dropout(self.config.dropout), torch.nn.Linear(sizes[IMAGE].width, C))

    def gather(self, block: Block) -> Gather:
        X = np.asarray(block.column(IMAGE, Dense).values, np.float32)
        return lambda rows: {"x": X[rows]}


class Named(torch.nn.Sequential):
    def forward(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        return super().forward(batch["x"])  # type: ignore[no-any-return]


def data(n: int = 60, *, seed: int = 0, several: bool = False, classes: int = 3, dim: int = 4) -> Block:
    """Return documents whose class is where their vector points; classes are of falling frequency."""
    rng = np.random.default_rng(seed)
    y = np.minimum(rng.geometric(0.45, n) - 1, classes - 1)
    y[:classes] = range(classes)
    centres = np.random.default_rng(7).normal(size=(classes, dim))
    X = (2 * centres[y] + rng.normal(size=(n, dim))).astype(np.float32)
    labels = [[f"c{c}", *(["even"] if several and c % 2 == 0 else [])] for c in y]
    ids = pa.array([f"d{i}" for i in range(n)])
    return make_block(ids, pa.array([""] * n), pa.array(labels, pa.list_(pa.string())), {"image": X})


def fit(
    block: Block, *, valid: Block | None = None, seed: int = 0, rows: int = 10_000, scratch: Path | None = None,
    **options: Any,
) -> Linear:  # fmt: skip
    """Return a fitted classifier."""
    config = LinearConfig(**{"epochs": 3, "batch": 16, "lr": 0.05, **options})
    held_out = None if valid is None else Blocks(valid, rows)
    return Linear(config).fit(Blocks(block, rows), held_out, seed=seed, scratch=scratch)


def bits(model: Linear) -> dict[str, Any]:
    """Return what was learnt, to compare to the bit."""
    return {**{name: array.tobytes() for name, array in model._arrays().items()}, "facts": model.facts}
