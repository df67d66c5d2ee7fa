"""The nine classifiers of Kiela 2018, by the paper's rows (SYSTEMS.md K-11 to K-21)."""

from typing import Any, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from fuseline.models.automatic import automatic
from fuseline.models.config import FrozenConfig, Names
from fuseline.models.fasttext import arrays
from fuseline.models.fasttext.classifier import FastTextClassifier
from fuseline.models.fasttext.config import FastTextConfig
from fuseline.models.fasttext.corpus import Reads
from fuseline.models.fasttext.dense_inputs import Scaling
from fuseline.models.features import TEXT, codes_name, embedding_name


class TextConfig(FastTextConfig):
    """W U x_t: the fastText classifier."""


class ImageConfig(FastTextConfig):
    """Models that read a dense embedding."""

    image: Names = Field(
        ("image",),
        min_length=1,
        description="Names of the dense inputs in `embed`: an image, a text as sentence vector, a table; "
        "each has its own V, and their V x add up",
    )
    scaling: Scaling = automatic(
        "unit",
        choices=("unit", "standard"),
        description="unit: every dense input has length 1, as in the paper; standard: mean 0 and deviation 1 over the "
        "training documents",
    )
    # Length of x_v, 1 in the paper. A step on V moves v by length^2 as much, one on U moves t by 1 / words: long texts
    # want a high lr, at which images of length 1 diverge.
    image_length: float = automatic(
        1.0,
        choices=(0.03, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0),
        gt=0,
        le=100,
        description="Length that image vectors are scaled to, 1 in the paper; long texts want a high lr, "
        "and that a shorter image",
    )

    @field_validator("image", mode="before")
    @classmethod
    def _one_or_several(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value


class ImageAloneConfig(ImageConfig):
    """The model that reads nothing else."""

    @model_validator(mode="after")
    def _no_words(self) -> "ImageAloneConfig":
        if self.pretrained_vectors is not None:
            got = str(self.pretrained_vectors)
            raise ValueError(f"pretrained_vectors: expected none for a model without text, got {got!r}; leave it out")
        return self


class GatedConfig(ImageConfig):
    """Models in which one modality passes through the sigmoid."""

    gate: Literal["text", "image"] = automatic(
        "text", choices=("text", "image"), description="Modality that passes through the sigmoid"
    )


class PQTokensConfig(FastTextConfig):
    """Models that read visual tokens."""

    codes: str = Field("pq", description="Name of the codebook in `quantize`")
    alpha: float = automatic(
        0.2,
        choices=(0.05, 0.1, 0.2, 0.5, 1.0),
        gt=0,
        description="Weight of the bag of visual tokens beside the bag of words",
    )


class RSPQTokensConfig(PQTokensConfig):
    """Visual tokens of a random sample product quantizer."""

    codes: str = Field("rspq", description="Name of the codebook in `quantize`")


class TextAlone(FastTextClassifier):
    """W U x_t (K-11); x_t is the mean of a document's words, n-grams and subwords."""

    kind: ClassVar[str] = "text"
    summary: ClassVar[str] = "fastText: mean of word vectors, linear classes"
    Config: ClassVar[type[FrozenConfig]] = TextConfig


class _WithImage(FastTextClassifier):
    Config: ClassVar[type[FrozenConfig]] = ImageConfig
    config: ImageConfig

    @classmethod
    def reads(cls, config: ImageConfig) -> Reads:
        dense = tuple(embedding_name(name) for name in config.image)
        return Reads(TEXT, dense, length=config.image_length, scaling=config.scaling)


class ImageAlone(_WithImage):
    """W V x_v (K-12); x_v has length `image_length`."""

    kind: ClassVar[str] = "image"
    summary: ClassVar[str] = "linear map of a unit-length image embedding"
    Config: ClassVar[type[FrozenConfig]] = ImageAloneConfig

    @classmethod
    def reads(cls, config: ImageConfig) -> Reads:
        return super().reads(config)._replace(text=None)


class Additive(_WithImage):
    """W (U x_t + V x_v) (K-13); a missing modality drops its term."""

    kind: ClassVar[str] = "additive"
    summary: ClassVar[str] = "sum of text and image vector"


class Max(_WithImage):
    """W max(U x_t, V x_v) (K-14); with one modality missing, W of the other."""

    kind: ClassVar[str] = "max"
    summary: ClassVar[str] = "element-wise maximum of text and image vector"
    linear: ClassVar[bool] = False

    def fusion(self) -> int:
        return arrays.MAX


class Gated(_WithImage):
    """W (s(U x_t) * V x_v) for gate=text (K-15), W (U x_t * s(V x_v)) for gate=image (K-16); one modality: no gate."""

    kind: ClassVar[str] = "gated"
    summary: ClassVar[str] = "sigmoid of one vector times the other"
    Config: ClassVar[type[FrozenConfig]] = GatedConfig
    config: GatedConfig
    linear: ClassVar[bool] = False

    def fusion(self) -> int:
        return arrays.GATE_TEXT if self.config.gate == "text" else arrays.GATE_IMAGE


class Bilinear(_WithImage):
    """W (U x_t (x) V x_v) with W (C, H * H) (K-17); a missing vector is replaced by the constant one of length 1."""

    kind: ClassVar[str] = "bilinear"
    summary: ClassVar[str] = "outer product of text and image vector"
    linear: ClassVar[bool] = False

    def fusion(self) -> int:
        return arrays.BILINEAR


class BilinearGated(Gated):
    """Bilinear with the gate's side through the sigmoid (K-18); no gate on one modality."""

    kind: ClassVar[str] = "bilinear_gated"
    summary: ClassVar[str] = "outer product with one side through the sigmoid"

    def fusion(self) -> int:
        return arrays.BILINEAR_GATE_TEXT if self.config.gate == "text" else arrays.BILINEAR_GATE_IMAGE


class PQTokens(FastTextClassifier):
    """W (U x_t + alpha U x_d) (K-21): codes are words of the same U, their bag averaged apart from the text's."""

    kind: ClassVar[str] = "pq"
    summary: ClassVar[str] = "fastText with the image as product-quantized words"
    Config: ClassVar[type[FrozenConfig]] = PQTokensConfig
    config: PQTokensConfig

    @classmethod
    def reads(cls, config: PQTokensConfig) -> Reads:
        return Reads(TEXT, codes=codes_name(config.codes))

    def alpha(self) -> float:
        return self.config.alpha


class RSPQTokens(PQTokens):
    """PQ's classifier over the codes of a random sample product quantizer; a token names repeat and part (K-20)."""

    kind: ClassVar[str] = "rspq"
    summary: ClassVar[str] = "fastText with the image as randomly sampled PQ words"
    Config: ClassVar[type[FrozenConfig]] = RSPQTokensConfig


CLASSIFIERS = (TextAlone, ImageAlone, Additive, Max, Gated, Bilinear, BilinearGated, PQTokens, RSPQTokens)
