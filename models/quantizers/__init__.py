"""Quantizers: dense embeddings to a few uint8 codes; the only place where a new one is listed."""

from typing import NamedTuple

from fuseline.models.config import FrozenConfig
from fuseline.models.quantizers.product import PQ, PQConfig
from fuseline.models.quantizers.random_sample import RSPQ, RSPQConfig


class Entry(NamedTuple):
    """One line of the registry."""

    quantizer: type[PQ] | type[RSPQ]
    config: type[FrozenConfig]
    summary: str


QUANTIZERS: dict[str, Entry] = {
    "pq": Entry(PQ, PQConfig, "product quantization: the vector in equal parts, k-means per part (Kiela 2018)"),
    "rspq": Entry(RSPQ, RSPQConfig, "PQ repeated on random permutations of the dimensions (Kiela 2018)"),
}

__all__ = ["PQ", "QUANTIZERS", "RSPQ", "Entry", "PQConfig", "RSPQConfig"]
