"""Values -> class indices, by a vocabulary fitted on training rows alone: what index embeddings look up (R-15)."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from fuseline.models.checkpoint import checked_texts, load_checkpoint, restoring, save_checkpoint
from fuseline.models.config import FrozenConfig
from fuseline.models.encoders.base import Modality
from fuseline.plain import JsonObject

_KIND = "vocabulary"
_ROOM = 64  # values counted at most, as a multiple of those kept
_CHARACTERS = 100  # of a value: longer ones are not words


class ClassIndexConfig(FrozenConfig):
    """Which values get an index of their own; no label of a document is ever looked at."""

    size: int = Field(65_536, ge=1, description="Most frequent values that get an index; others are unknown")
    min_count: int = Field(1, ge=1, description="Training occurrences that a value must have; rarer ones are unknown")
    lower: bool = Field(True, description="Take Dog and dog for one value")


class ClassIndex:
    """Encoder of lists of values.

    Attributes:
        config: which values are known.
        values: the known values by falling frequency, equally frequent ones by name; the first has index 1.
    """

    kind: ClassVar[str] = "vocabulary"
    summary: ClassVar[str] = (
        "class indices of words, of words in images or of detected objects, fitted on training rows"
    )
    origin: ClassVar[str] = ""
    modality: ClassVar[Modality] = "indices"
    Config: ClassVar[type[FrozenConfig]] = ClassIndexConfig

    def __init__(self, config: ClassIndexConfig, values: tuple[str, ...]) -> None:
        self.config, self.values = config, values

    @classmethod
    def fit(cls, lists: Iterable[pa.ListArray], config: ClassIndexConfig) -> Self:
        """Fit on list<string> arrays of training rows, one at a time."""
        counts: Counter[str] = Counter()
        for array in lists:
            counts.update(_plain(array.flatten(), config).to_pylist())
            if len(counts) > _ROOM * config.size:  # a corpus has ever more values: the rarest seen so far go
                counts = Counter(dict(counts.most_common(_ROOM // 4 * config.size)))
        frequent = [value for value, count in counts.items() if count >= config.min_count]
        return cls(config, tuple(sorted(frequent, key=lambda value: (-counts[value], value))[: config.size]))

    def encode(self, lists: pa.ListArray) -> pa.ListArray:
        """Return class indices, list<int32> (n,): one per value, in their order; 0 is an unknown value."""
        known = pa.array(self.values, pa.string())
        positions = pc.fill_null(pc.index_in(_plain(lists.flatten(), self.config), value_set=known), -1)
        indices = pa.array(np.asarray(positions, np.int32) + 1, pa.int32())
        lengths = np.asarray(pc.fill_null(pc.list_value_length(lists), 0))
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
        return pa.ListArray.from_arrays(pa.array(offsets), indices)

    def save(self, folder: Path) -> None:
        """Write a checkpoint into an existing folder."""
        meta: JsonObject = {"config": self.config.model_dump(mode="json"), "values": list(self.values)}
        save_checkpoint(folder, _KIND, meta=meta, arrays={})

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote; raises CheckpointError."""
        meta = load_checkpoint(folder, _KIND).meta
        with restoring(_KIND, "config and values"):
            values = checked_texts("values", meta["values"])
            return cls(ClassIndexConfig.model_validate(meta["config"]), tuple(values))


def _plain(values: pa.Array, config: ClassIndexConfig) -> pa.Array:
    cut = pc.utf8_slice_codeunits(values, 0, _CHARACTERS)
    return pc.utf8_lower(cut) if config.lower else cut
