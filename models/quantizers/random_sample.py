"""Random sample product quantization (Kiela 2018, K-20): PQ repeated on random permutations of the dimensions."""

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from fuseline.models.config import FrozenConfig
from fuseline.models.quantizers.product import PQ, PQConfig


class RSPQConfig(PQConfig):
    """Random sample product quantization: `repeats` times `parts` codes per vector."""

    repeats: int = Field(4, ge=1, description="Random permutations of the dimensions, each quantized in parts")


class RSPQ(PQ):
    """A fitted random sample product quantizer; code m belongs to repeat m // parts, part m % parts.

    `permutations` (repeats, D) int32 are drawn once when it is fitted and saved with the codebook.
    """

    kind: ClassVar[str] = "rspq"
    summary: ClassVar[str] = "PQ repeated on random permutations of the dimensions (Kiela 2018)"
    Config: ClassVar[type[FrozenConfig]] = RSPQConfig
    repeated: ClassVar[bool] = True
    config: RSPQConfig

    @property
    def repeats(self) -> int:
        """How often a vector is cut into parts, each time in another order."""
        return self.config.repeats

    def draw_permutations(self, dim: int, seed: int) -> NDArray[np.int32]:
        """Return `repeats` random orders (repeats, D) int32 of the dimensions."""
        generator = np.random.default_rng([seed, dim])
        return np.stack([generator.permutation(dim) for _ in range(self.config.repeats)]).astype(np.int32)
