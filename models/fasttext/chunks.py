"""Where encoded documents wait for their next epoch: in memory as long as there is room, then in files."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fuseline.models.fasttext.arrays import Chunk

ROWS = 512  # images scaled at a time: what lies in the cache
PAGE = 4096  # bytes

F32 = NDArray[np.float32]


@dataclass
class ImageVectors:
    """Vectors of a chunk's images as they were read, and how they are wanted: of one length, zeros where missing."""

    parts: list[NDArray[Any]]  # one after the other (n, D)
    present: NDArray[np.bool_]  # (n,); `scaled` clears it where a vector is not finite or zero
    length: float

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return len(self.present), self.parts[0].shape[1]

    @property
    def nbytes(self) -> int:
        """Bytes as float32."""
        return 4 * self.shape[0] * self.shape[1]

    def scaled(self) -> Iterator[F32]:
        """Yield the wanted rows, some at a time, in one buffer that is used again: it stays in the cache."""
        from fuseline.models.fasttext.kernels import model as kernels

        buffer, at = np.empty((ROWS, self.shape[1]), np.float32), 0
        for part in self.parts:
            for lo in range(0, len(part), ROWS):
                raw = np.ascontiguousarray(part[lo : lo + ROWS], np.float32).view()
                raw.flags.writeable = False  # one type, so that the kernel is compiled once
                out = buffer[: len(raw)]
                kernels.unit_images(raw, out, self.present[at : at + len(raw)])
                if self.length != 1.0:
                    out *= np.float32(self.length)
                yield out
                at += len(raw)

    def into(self, chunk: Chunk) -> Chunk:
        """Return the chunk with these images."""
        dense, at = np.empty(self.shape, np.float32), 0
        for rows in self.scaled():
            dense[at : at + len(rows)] = rows
            at += len(rows)
        return chunk._replace(dense=dense, has_image=self.present.astype(np.uint8))

    def write(self, path: Path) -> None:
        """Write the wanted rows as an .npy file."""
        with path.open("wb", buffering=0) as file:
            header = {"descr": "<f4", "fortran_order": False, "shape": self.shape}
            np.lib.format.write_array_header_1_0(file, header)
            for rows in self.scaled():
                rows.tofile(file)


@dataclass
class ChunkStore:
    """A list of chunks: the first `memory` bytes stay in memory, later ones in files of a temporary folder."""

    memory: int
    used: int = 0
    words: int = 0  # tokens plus documents
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

    def put(self, i: int, chunk: Chunk, images: ImageVectors | None) -> Chunk | None:
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
