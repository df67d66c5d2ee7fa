"""Dense inputs of a document side by side: how each is scaled, and the rows that training reads."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fuseline.models.columns import Dense
from fuseline.models.fasttext.arrays import Chunk
from fuseline.models.features import Block, Features

ROWS = 512  # documents scaled at a time: what lies in the cache

F32 = NDArray[np.float32]
Scaling = Literal["unit", "standard"]


class Scale(NamedTuple):
    """What makes one row of several dense inputs; its length is about `length`.

    Under `unit` every input has length 1; under `standard` every number has the mean 0 over the training documents, and
    the deviation 1 / sqrt(width of its input). Then all is multiplied by `length`.
    """

    widths: tuple[int, ...]  # of the inputs
    length: float = 1.0
    mean: F32 | None = None  # (sum of widths,), None under `unit`
    factor: F32 | None = None  # (sum of widths,), 0 where the training documents do not differ

    @property
    def columns(self) -> list[slice]:
        """Places of every input in a row."""
        ends = np.cumsum(self.widths).tolist()
        return [slice(end - width, end) for width, end in zip(self.widths, ends, strict=True)]


def fitted_scale(features: Features, names: tuple[str, ...], scaling: Scaling) -> Scale:
    """Return the scale of the named inputs; under `standard` by mean and deviation of the documents that have each."""
    sums: list[NDArray[np.float64]] = []
    squares: list[NDArray[np.float64]] = []
    counts = [0] * len(names)
    widths: tuple[int, ...] = (0,) * len(names)
    for block in features.blocks():
        columns = [block.column(name, Dense) for name in names]
        if not sums:
            widths = tuple(column.values.shape[1] for column in columns)
            if scaling == "unit":
                break
            sums, squares = ([np.zeros(width) for width in widths] for _ in range(2))
        for k, column in enumerate(columns):
            X = np.asarray(column.values, np.float64)
            X = X[column.present & np.isfinite(X).all(axis=1)]
            sums[k] += X.sum(axis=0)
            squares[k] += np.square(X).sum(axis=0)
            counts[k] += len(X)
    if scaling == "unit" or not sums:
        return Scale(widths)
    means = [total / max(1, n) for total, n in zip(sums, counts, strict=True)]
    factors = []
    for square, mean, n, width in zip(squares, means, counts, widths, strict=True):
        deviation = np.sqrt(np.maximum(square / max(1, n) - mean**2, 0))
        flat = deviation <= 1e-6 * np.maximum(1, np.abs(mean))
        factors.append(np.where(flat, 0, 1 / (np.where(flat, 1, deviation) * np.sqrt(width))))
    return Scale(widths, 1.0, np.concatenate(means).astype(np.float32), np.concatenate(factors).astype(np.float32))


@dataclass
class DenseRows:
    """Dense inputs of a chunk's documents as they were read, and how they are wanted: zeros where one is missing."""

    parts: list[tuple[NDArray[Any], ...]]  # of consecutive blocks, each input (n, its width)
    given: NDArray[np.bool_]  # (n, inputs); `scaled` clears it where a vector is not finite, or has no length
    scale: Scale

    @classmethod
    def of(cls, blocks: list[Block], names: tuple[str, ...], scale: Scale) -> "DenseRows":
        """Return the named inputs of consecutive blocks.

        Raises ValueError when one is of another width than those that the scale was fitted on.
        """
        columns = [[block.column(name, Dense) for name in names] for block in blocks]
        widths = tuple(column.values.shape[1] for column in columns[0])
        if widths != scale.widths:
            cure = "use the encoder it was trained with"
            raise ValueError(f"features: expected widths {scale.widths!r} of {names!r}, got {widths!r}; {cure}")
        given = np.concatenate([np.stack([one.present for one in row], axis=1) for row in columns]).astype(np.bool_)
        return cls([tuple(one.values for one in row) for row in columns], given, scale)

    @property
    def present(self) -> NDArray[np.bool_]:
        """Which documents (n,) have any input."""
        return np.asarray(self.given.any(axis=1))

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return len(self.given), sum(self.scale.widths)

    @property
    def nbytes(self) -> int:
        """Bytes as float32."""
        return 4 * self.shape[0] * self.shape[1]

    def scaled(self) -> Iterator[F32]:
        """Yield the wanted rows, some at a time, in one buffer that is used again: it stays in the cache."""
        buffer, at = np.empty((ROWS, self.shape[1]), np.float32), 0
        for inputs in self.parts:
            for lo in range(0, len(inputs[0]), ROWS):
                n = min(ROWS, len(inputs[0]) - lo)
                given = self.given[at : at + n]
                for k, columns in enumerate(self.scale.columns):
                    raw = np.ascontiguousarray(inputs[k][lo : lo + n], np.float32)
                    self._scale(raw, buffer[:n, columns], given[:, k], columns)
                if self.scale.length != 1.0:
                    buffer[:n] *= np.float32(self.scale.length)
                yield buffer[:n]
                at += n

    def into(self, chunk: Chunk) -> Chunk:
        """Return the chunk with these rows."""
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

    def _scale(self, raw: F32, out: F32, given: NDArray[np.bool_], columns: slice) -> None:
        """Set out (n, width) to one input's rows, scaled, and clear `given` (n,) where they cannot be used."""
        from fuseline.models.fasttext.kernels import model as kernels

        if self.scale.mean is None or self.scale.factor is None:
            raw.flags.writeable = False  # one type, so that the kernel is compiled once
            whole = out.flags.c_contiguous
            rows, present = out if whole else np.empty_like(raw), np.ascontiguousarray(given)
            kernels.unit_images(raw, rows, present)
            if not whole:
                out[:] = rows
            given[:] = present
            return
        given &= np.isfinite(raw).all(axis=1)
        np.subtract(raw, self.scale.mean[columns], out=out)
        out *= self.scale.factor[columns]
        out[~given] = 0
