"""Any sentence-transformers or transformers text model: a folder, or a name in the local hub cache."""

import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from models.config import FrozenConfig, knob
from models.encoders.base import Modality, files_digest, package
from models.errors import MissingWeights
from models.threads import thread_limit

_VERSION = "sentences-1"
_CHARACTERS_PER_TOKEN = 80  # no ordinary token is longer: the rest of a huge text is never tokenised
_READ = ("*.json", "*.txt", "*.model", "*.safetensors", "*/config.json", "*/*.safetensors")


class SentencesConfig(FrozenConfig):
    """Which text model, and what is made of its last layer."""

    model: str = ""  # a folder with safetensors, or a name such as "roberta-base" that lies in the hub cache
    pooling: Literal["own", "mean", "cls"] = "own"  # own: what the folder says, mean where it says nothing
    max_tokens: int | None = Field(None, ge=1)  # None: what the folder says
    device: str = knob("cpu")
    threads: int | None = knob(None, ge=1)


class Sentences:
    """Text encoder by sentence-transformers.

    Args:
        config: model and pooling.
        model, pooling, max_tokens: what a preset takes where the config says nothing.
    """

    modality: ClassVar[Modality] = "text"
    min_side: int | None = None

    def __init__(
        self, config: SentencesConfig, *, model: str = "", pooling: str = "own", max_tokens: int | None = None
    ) -> None:
        self.config = config
        self.name = config.model or model
        self.pooling = config.pooling if config.pooling != "own" else pooling
        self.max_tokens = max_tokens if config.max_tokens is None else config.max_tokens

    @cached_property
    def folder(self) -> Path:
        """Folder with weights and vocabulary; raises MissingWeights."""
        cure = (
            f"download the repository {self.name or 'of your model'} (config.json, tokenizer files, *.safetensors) "
            "on a machine with access and set options.model to its folder"
        )
        if not self.name:
            raise MissingWeights(f"sentences: expected options.model, got none; {cure}")
        folder = Path(self.name) if Path(self.name).is_dir() else _from_cache(self.name, cure)
        if not list(folder.glob("*.safetensors")) and not list(folder.glob("*/*.safetensors")):
            raise MissingWeights(f"{self.name}: expected *.safetensors in {str(folder)!r}, got none; {cure}")
        return folder

    @cached_property
    def digest(self) -> str:
        """Weights, vocabulary, pooling and length."""
        files = sorted({file for pattern in _READ for file in self.folder.glob(pattern)})
        return files_digest(files, salt=f"{_VERSION} {self.pooling} {self.max_tokens}")

    @cached_property
    def dim(self) -> int:
        """Length of an embedding, as the model's configuration says."""
        return int(self._model.get_embedding_dimension())

    def prepare(self, item: str) -> str:
        """Return the part of a text that the network may read."""
        return item[: _CHARACTERS_PER_TOKEN * (self.max_tokens or 512)]

    def encode(self, items: Sequence[str]) -> NDArray[np.float32]:
        """Return embeddings (n, dim) of n texts."""
        vectors = self._model.encode(list(items), batch_size=len(items), convert_to_numpy=True, show_progress_bar=False)
        return np.asarray(vectors, np.float32)

    @cached_property
    def _model(self) -> Any:
        os.environ.setdefault("HF_HUB_OFFLINE", "1")
        sentence_transformers = package("sentence_transformers", pip="sentence-transformers")
        import torch

        package("transformers.utils.logging", pip="transformers").disable_progress_bar()
        torch.set_num_threads(self.config.threads or thread_limit())
        parts = None
        if self.pooling != "own":
            modules = package("sentence_transformers.sentence_transformer.modules", pip="sentence-transformers")
            reader = modules.Transformer(str(self._network_folder()))
            parts = [reader, modules.Pooling(reader.get_embedding_dimension(), pooling_mode=self.pooling)]
        model = sentence_transformers.SentenceTransformer(
            None if parts else str(self.folder), modules=parts, device=self.config.device
        )
        if self.max_tokens is not None:
            model.max_seq_length = self.max_tokens
        return model.eval()

    def _network_folder(self) -> Path:
        return self.folder if (self.folder / "config.json").exists() else self.folder / "0_Transformer"


def _from_cache(name: str, cure: str) -> Path:
    hub = package("huggingface_hub", pip="huggingface_hub")
    try:
        return Path(hub.snapshot_download(name, local_files_only=True))
    except (OSError, ValueError) as error:
        raise MissingWeights(f"{name}: is no folder and not in the local hub cache; {cure}") from error
