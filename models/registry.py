"""Every classifier by name: the only place where a new one is listed."""

from typing import Any, NamedTuple

from models import kiela
from models.config import FrozenConfig


class Entry(NamedTuple):
    """One classifier: its class (models.features.Classifier), its config, one line for people, and what it reads."""

    classifier: type[Any]
    config: type[FrozenConfig]
    summary: str
    reads: tuple[str, ...]  # of text, dense, codes


TEXT_DENSE, TEXT_CODES = ("text", "dense"), ("text", "codes")
MODELS: dict[str, Entry] = {
    "text": Entry(kiela.Text, kiela.TextConfig, "fastText: mean of word vectors, linear classes", ("text",)),
    "image": Entry(kiela.Image, kiela.ImageConfig, "linear map of a unit-length image embedding", ("dense",)),
    "additive": Entry(kiela.Additive, kiela.ImageConfig, "sum of text and image vector", TEXT_DENSE),
    "max": Entry(kiela.Max, kiela.ImageConfig, "element-wise maximum of text and image vector", TEXT_DENSE),
    "gated": Entry(kiela.Gated, kiela.GatedConfig, "sigmoid of one vector times the other", TEXT_DENSE),
    "bilinear": Entry(kiela.Bilinear, kiela.ImageConfig, "outer product of text and image vector", TEXT_DENSE),
    "bilinear_gated": Entry(
        kiela.BilinearGated, kiela.GatedConfig, "outer product with one side through the sigmoid", TEXT_DENSE
    ),
    "pq": Entry(kiela.PQTokens, kiela.PQTokensConfig, "fastText with the image as product-quantized words", TEXT_CODES),
    "rspq": Entry(
        kiela.RSPQTokens, kiela.RSPQTokensConfig, "fastText with the image as randomly sampled PQ words", TEXT_CODES
    ),
}


def registry_rows() -> list[dict[str, str]]:
    """Return name, summary and weights ("" = trained here) of every classifier, for people and machines."""
    return [{"name": name, "summary": entry.summary, "weights": ""} for name, entry in sorted(MODELS.items())]
