"""Every classifier by name: the only place where a new one is listed."""

from typing import Any, NamedTuple

from fuseline.models.classifiers import kiela
from fuseline.models.classifiers.averaging import AvgProbs, AvgProbsConfig
from fuseline.models.classifiers.boosting import Boosting, BoostingConfig
from fuseline.models.classifiers.gmu import GMU, GMUConfig
from fuseline.models.classifiers.tfidf_linear import TfidfLinear, TfidfLinearConfig
from fuseline.models.config import FrozenConfig


class Entry(NamedTuple):
    """One classifier: its class (a Classifier), its config, one line for people, and what it reads."""

    classifier: type[Any]
    config: type[FrozenConfig]
    summary: str
    reads: tuple[str, ...]  # of text, dense, codes
    embeddings: tuple[str, ...] = ("image",)  # options that name embeddings, one or several each
    codebooks: tuple[str, ...] = ("codes",)  # options that name codebooks

    def inputs(self, options: FrozenConfig) -> tuple[bool, tuple[str, ...], tuple[str, ...]]:
        """Return what a model with these options reads: text or not, names of embeddings, names of codebooks."""
        dense = _named(options, self.embeddings) if "dense" in self.reads else ()
        codes = _named(options, self.codebooks) if "codes" in self.reads else ()
        return "text" in self.reads, dense, codes


TEXT_DENSE, TEXT_CODES = ("text", "dense"), ("text", "codes")
MODELS: dict[str, Entry] = {
    "text": Entry(kiela.Text, kiela.TextConfig, "fastText: mean of word vectors, linear classes", ("text",)),
    "image": Entry(kiela.Image, kiela.ImageAloneConfig, "linear map of a unit-length image embedding", ("dense",)),
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
    "lightgbm": Entry(
        Boosting,
        BoostingConfig,
        "gradient boosted trees over embeddings and codes",
        ("dense", "codes"),
        embeddings=("embeddings",),
    ),
    "tfidf_linear": Entry(
        TfidfLinear, TfidfLinearConfig, "TF-IDF of words and word pairs, logistic regression", ("text",)
    ),
    "avg_probs": Entry(AvgProbs, AvgProbsConfig, "mean of the probabilities of `text` and `image`", TEXT_DENSE),
    "gmu": Entry(
        GMU,
        GMUConfig,
        "gated multimodal unit over an image and a text embedding",
        ("dense",),
        embeddings=("image", "text_embedding"),
    ),
}


def registry_rows() -> list[dict[str, str]]:
    """Return name, summary and weights ("" = trained here) of every classifier, for people and machines."""
    return [{"name": name, "summary": entry.summary, "weights": ""} for name, entry in sorted(MODELS.items())]


def _named(options: Any, fields: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names that these options hold, each once."""
    values = [getattr(options, field) for field in fields]
    return tuple(dict.fromkeys(name for value in values for name in ([value] if isinstance(value, str) else value)))
