"""Every encoder by name: the only place where a new one of ours is listed."""

import difflib
from functools import lru_cache
from typing import Never, cast

from fuseline.models.config import FrozenConfig
from fuseline.models.encoders.backbones import BACKBONES
from fuseline.models.encoders.base import ColumnEncoder, Described, Encoder, Item, Modality
from fuseline.models.encoders.class_index import ClassIndex
from fuseline.models.encoders.efficientnet_lite import EfficientNetLite, EfficientNetLite0
from fuseline.models.encoders.face_nets import DlibFace, FaceRes
from fuseline.models.encoders.sentences import TEXT_MODELS, Sentences
from fuseline.models.encoders.tabular import Tabular
from fuseline.models.encoders.word_pieces import WordPieces
from fuseline.plugins import Registry

OURS: tuple[type[Described], ...] = (
    EfficientNetLite0, EfficientNetLite, *TEXT_MODELS, WordPieces, *BACKBONES, Sentences, Tabular, ClassIndex, DlibFace,
    FaceRes,
)  # fmt: skip
ENCODERS: Registry[type[Described]] = Registry("encoder", {encoder.kind: encoder for encoder in OURS})


def encoder_config(name: str, *modalities: Modality) -> type[FrozenConfig]:
    """Return the type of an encoder's options; raises ValueError with the nearest valid name of these modalities."""
    known = sorted(key for key, encoder in ENCODERS.items() if encoder.modality in modalities)
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        cure = f"did you mean {near[0]!r}?" if near else "see `fuseline list encoders`"
        raise ValueError(f"encoder: expected one of {known}, got {name!r}; {cure}")
    return ENCODERS[name].Config


def new_encoder(name: str, options: FrozenConfig) -> Encoder[Item]:
    """Return a new encoder of images, texts or faces; those of columns and values are fitted instead.

    Its `modality` says what its items are.
    """
    return cast("type[Encoder[Item]]", ENCODERS[name])(options)


def column_encoder(name: str) -> type[ColumnEncoder]:
    """Return the class of an encoder of columns, which is fitted."""
    return cast("type[ColumnEncoder]", ENCODERS[name])


def get_encoder(name: str, options: FrozenConfig) -> Encoder[Item]:
    """Return the encoder of this process for a name, options and weights: built once, loaded at its first use.

    Weights that were replaced meanwhile, as under a server that stays, make another one: its digest and its network
    must be those of the same files.
    """
    digest = cast("type[Encoder[Item]]", ENCODERS[name])(options).digest
    return cast("Encoder[Item]", _kept(name, options, digest))


@lru_cache(maxsize=32)  # more than one pass over images holds, or each shard would load them all again
def _kept(name: str, options: FrozenConfig, _digest: str) -> Encoder[Never]:
    encoder: Encoder[Never] = new_encoder(name, options)
    _ = encoder.digest  # computed once and kept: the files may change later
    return encoder


def registry_rows() -> list[dict[str, str]]:
    """Return name, summary and weights of every encoder, for `fuseline list encoders`."""
    return [{"name": name, "summary": one.summary, "weights": one.origin} for name, one in ENCODERS.items()]
