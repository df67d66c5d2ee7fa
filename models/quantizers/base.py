"""What every quantizer is: embeddings in, a few uint8 codes per row out."""

from pathlib import Path
from typing import ClassVar, NamedTuple, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from fuseline.models.config import FrozenConfig
from fuseline.models.dense import F32


class QuantizedRows(NamedTuple):
    """Quantized rows."""

    codes: NDArray[np.uint8]  # (n, M); 0 where present is False
    present: NDArray[np.bool_]  # (n,); False where the row was absent, not finite or (with unit) zero


class QuantizerOptions(Protocol):
    """Options that every quantizer has."""

    @property
    def parts(self) -> int:
        """Codes per vector, of each repeat."""

    @property
    def sample(self) -> int:
        """Vectors that it learns from at most."""

    @property
    def unit(self) -> bool:
        """Whether every vector is scaled to length 1 first."""


class Quantizer(Protocol):
    """A codebook that is fitted once; equal rows and seeds give equal bytes. Its options are `QuantizerOptions`."""

    kind: ClassVar[str]  # its name in the registry
    summary: ClassVar[str]  # one line for `fuseline list`
    Config: ClassVar[type[FrozenConfig]]
    repeated: ClassVar[bool]  # whether tokens are named by their repeat too
    usage: NDArray[np.int64]  # (M, Ks) rows of the sample per codeword
    train_error: float  # mean squared error of the sample

    def __init__(self, config: FrozenConfig | None = None) -> None: ...

    @property
    def tokens(self) -> int:
        """M, the codes per vector: repeats times parts."""

    @property
    def parts(self) -> int:
        """Codes per vector of each repeat."""

    def fit(self, X: F32, *, seed: int) -> Self:
        """Learn from rows X (N, D) float32; raises ValueError when D or N does not suit."""

    def encode(self, X: F32, present: NDArray[np.bool_] | None = None) -> QuantizedRows:
        """Return the codes (n, M) uint8 of X (n, D) float32, and which rows have any."""

    def decode(self, codes: NDArray[np.uint8]) -> F32:
        """Return vectors (n, D) float32 of codes (n, M) uint8."""

    def errors(self, X: F32, codes: NDArray[np.uint8]) -> F32:
        """Return the squared error (n,) float32 between X (n, D), scaled as for encoding, and its decoded codes."""

    def part_errors(self, X: F32, codes: NDArray[np.uint8]) -> F32:
        """Return the squared error (n, M) float32 of every code of X (n, D)."""

    def save(self, folder: Path) -> None:
        """Write the codebook into an existing empty folder."""

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote; raises CheckpointError for anything else."""
