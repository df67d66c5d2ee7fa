"""The vectors of a text's first words, one behind the other, as a language model has them before it reads (P-03)."""

from collections.abc import Sequence
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from fuseline.models.config import FrozenConfig
from fuseline.models.encoders.base import files_digest
from fuseline.models.encoders.sentences import PRESETS, Sentences, SentencesConfig, TextModelPreset

_VERSION = "word-pieces-1"  # raise it when a vector changes


class WordPiecesConfig(SentencesConfig):
    """Which model's vectors, and of how many word pieces."""

    max_tokens: int | None = Field(100, ge=1, le=512, description="Word pieces of a text at most: the first")

    @model_validator(mode="after")
    def _has_no_pooling(self) -> Self:
        if self.pooling != "own" or self.max_tokens is None:
            got = f"pooling {self.pooling}, max_tokens {self.max_tokens}"
            raise ValueError(f"pooling: expected none and a number of word pieces, got {got}; take `sentences`")
        return self


class WordPieces(Sentences):
    """Vectors (max_tokens x width) of the first word pieces, zeros behind the end of a text; they are never trained.

    What an autoencoder of texts decodes: fixed vectors of words, which no pooling has mixed.
    """

    kind: ClassVar[str] = "minilm_words"
    summary: ClassVar[str] = "the first 100 word pieces of a text as 384-d vectors of all-MiniLM-L6-v2, 38,400-d"
    origin: ClassVar[str] = PRESETS["minilm"].origin
    Config: ClassVar[type[FrozenConfig]] = WordPiecesConfig
    preset: ClassVar[TextModelPreset | None] = PRESETS["minilm"]

    @property
    def digest(self) -> str:
        """Weights, vocabulary and length."""
        return files_digest(sorted(self.folder.glob("*.safetensors")), salt=f"{_VERSION} {super().digest}")

    @property
    def dim(self) -> int:
        """Numbers of all vectors of a text."""
        return super().dim * (self.max_tokens or 0)

    def _embed(self, items: Sequence[str]) -> NDArray[np.float32]:
        reader = self._model[0]
        table = reader.auto_model.get_input_embeddings().weight.detach().cpu().numpy()
        found = np.zeros((len(items), self.max_tokens or 0, table.shape[1]), np.float32)
        given = reader.tokenizer(
            list(items), add_special_tokens=False, truncation=True, max_length=self.max_tokens, padding=False
        )
        for row, ids in enumerate(given["input_ids"]):
            found[row, : len(ids)] = table[ids]
        return found.reshape(len(items), -1)
