"""Find images that look the same: a difference hash of 64 bits (paper R removes duplicate ads before its folds)."""

from typing import Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from PIL import Image
from pydantic import Field

from fuseline.models.config import FrozenConfig
from fuseline.tasks.engine.images import ImageError, ImageLimits, ImageReference, decode, open_image

SIDE = 8


class DuplicatesConfig(FrozenConfig):
    """Which documents with an id, or an image, that came before are left out; they are listed in the quarantine."""

    ids: Literal["first", "last", "error"] = Field("first", description="Which is kept; last reads the source twice")
    images: bool = Field(False, description="Also leave out documents whose image was shown by an earlier one")
    distance: int = Field(0, ge=0, le=16, description="Bits of 64 that may differ; above 0 every pair is compared")


class ImageDuplicates:
    """The image hashes of the documents that were kept, each with the hash of its document's id."""

    def __init__(self, config: DuplicatesConfig, root: str) -> None:
        self.config, self._root, self._limits = config, root, ImageLimits()
        self._documents: dict[int, int] = {}
        self._hashes = np.zeros(0, np.uint64)

    def remember(self, hashes: pa.ChunkedArray, ids: NDArray[np.uint64]) -> None:
        """Note documents that were kept earlier."""
        for value, document in zip(hashes.to_pylist(), ids.tolist(), strict=True):
            if value is not None:
                self._documents.setdefault(int(value, 16), document)
        self._hashes = np.array(list(self._documents), np.uint64)

    def hashes(self, images: pa.ChunkedArray) -> pa.Array:
        """Return the hash of each image as 16 hex digits, (n,) string; null where there is none to see."""
        return pa.array([self._hash(image) for image in images.to_pylist()], pa.string())

    def repeats(self, hashes: pa.Array, ids: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """Return which documents repeat the image of an earlier document, (n,) bool; the others are remembered."""
        repeated = np.zeros(len(hashes), bool)
        for row, (value, document) in enumerate(zip(hashes.to_pylist(), ids.tolist(), strict=True)):
            if value is None:
                continue
            number = int(value, 16)
            seen = self._like(number)
            if seen is None:
                self._documents[number] = document
                self._hashes = np.append(self._hashes, np.uint64(number)) if self.config.distance else self._hashes
            repeated[row] = seen is not None and seen != document
        return repeated

    def _like(self, number: int) -> int | None:
        if number in self._documents or not self.config.distance or not len(self._hashes):
            return self._documents.get(number)
        distances = np.bitwise_count(self._hashes ^ np.uint64(number))
        nearest = int(distances.argmin())
        return self._documents[int(self._hashes[nearest])] if distances[nearest] <= self.config.distance else None

    def _hash(self, image: ImageReference | None) -> str | None:
        if image is None:
            return None
        try:
            pixels = decode(open_image(image, self._root, self._limits), limits=self._limits, min_side=64)
        except ImageError:
            return None
        return f"{difference_hash(pixels):016x}"


def difference_hash(pixels: NDArray[np.uint8]) -> int:
    """Return 64 bits: whether each of 8 x 8 cells is brighter than its right neighbour; pixels (h, w, 3) uint8."""
    grey = Image.fromarray(pixels).convert("L").resize((SIDE + 1, SIDE), Image.Resampling.BOX)
    cells = np.asarray(grey, dtype=np.int16)
    bits = (cells[:, :-1] > cells[:, 1:]).reshape(-1)
    return int(np.packbits(bits).view(">u8")[0])
