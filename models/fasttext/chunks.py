"""Where encoded documents wait for their next epoch: in memory as long as there is room, then in files."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock
from typing import Any

import numpy as np

from fuseline.models.fasttext.arrays import Chunk
from fuseline.models.fasttext.dense_inputs import DenseRows

PAGE = 4096  # bytes


@dataclass
class ChunkStore:
    """A list of chunks: the first `memory` bytes stay in memory, later ones in files of a temporary folder."""

    memory: int
    used: int = 0
    words: int = 0  # tokens plus documents
    documents: int = 0
    chunks: list[Chunk | None] = field(default_factory=list)
    folder: TemporaryDirectory[str] | None = None
    lock: Any = field(default_factory=Lock)

    def __len__(self) -> int:
        return len(self.chunks)

    def __getitem__(self, i: int) -> Chunk:
        kept = self.chunks[i]
        if kept is not None:
            return kept
        arrays = {name: np.load(self._file(i, name), allow_pickle=False) for name in Chunk._fields if name != "dense"}
        # A private map, since one for reading alone would be another type to the kernels, compiled once more.
        return Chunk(dense=np.asarray(np.load(self._file(i, "dense"), "c", allow_pickle=False)), **arrays)

    def put(self, i: int, chunk: Chunk, images: DenseRows | None) -> Chunk | None:
        """Return chunk i with its images, or None after writing it into files when the memory is used up."""
        nbytes = sum(array.nbytes for array in chunk) + (0 if images is None else images.nbytes)
        with self.lock:
            self.used += nbytes
            fits = self._fits()
        if fits:
            return chunk if images is None else images.into(chunk)
        if images is not None:
            images.write(self._file(i, "dense"))
            chunk = chunk._replace(has_image=images.present.astype(np.uint8))
        self._save(i, chunk, [name for name in Chunk._fields if name != "dense" or images is None])
        return None

    def replace(self, i: int, chunk: Chunk, fields: Sequence[str]) -> None:
        """Replace the named arrays of chunk i."""
        if self.chunks[i] is None:
            self._save(i, chunk, fields)
        else:
            self.chunks[i] = chunk

    def ordered(self, order: Sequence[int]) -> Iterator[Chunk]:
        """Yield chunks in this order, reading the next one from disk while one is used."""
        with ThreadPoolExecutor(1) as reader:
            ahead = reader.submit(self._read, order[0]) if len(order) else None
            for following in [*order[1:], None]:
                if ahead is None:
                    return
                current = ahead.result()
                ahead = None if following is None else reader.submit(self._read, following)
                yield current

    def close(self) -> None:
        """Remove the temporary folder."""
        if self.folder is not None:
            self.folder.cleanup()

    def _read(self, i: int) -> Chunk:
        chunk = self[i]
        if self.chunks[i] is None:
            chunk.dense.reshape(-1).view(np.uint8)[::PAGE].max(initial=0)  # so that no other thread waits for a page
        return chunk

    def _fits(self) -> bool:
        return self.used <= self.memory

    def _save(self, i: int, chunk: Chunk, fields: Sequence[str]) -> None:
        for name in fields:
            np.save(self._file(i, name), getattr(chunk, name), allow_pickle=False)

    def _file(self, i: int, name: str) -> Path:
        with self.lock:
            if self.folder is None:
                self.folder = TemporaryDirectory(prefix="fuseline-train-")
        return Path(self.folder.name) / f"{i}.{name}.npy"
