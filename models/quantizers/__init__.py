"""Quantizers: dense embeddings to a few uint8 codes; the only place where a new one of ours is listed."""

from fuseline.models.quantizers.base import Quantizer
from fuseline.models.quantizers.product import PQ, PQConfig
from fuseline.models.quantizers.random_sample import RSPQ, RSPQConfig
from fuseline.plugins import Registry

OURS: tuple[type[Quantizer], ...] = (PQ, RSPQ)
QUANTIZERS: Registry[type[Quantizer]] = Registry("quantizer", {quantizer.kind: quantizer for quantizer in OURS})

__all__ = ["PQ", "QUANTIZERS", "RSPQ", "PQConfig", "Quantizer", "RSPQConfig"]
