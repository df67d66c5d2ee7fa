"""Product quantization (Kiela 2018, K-19): a vector in equal parts, one k-means codebook per part."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from fuseline.models.checkpoint import checked_number, load_checkpoint, refuse, restoring, save_checkpoint
from fuseline.models.config import FrozenConfig, own_config
from fuseline.models.dense import F32, unit_rows, usable
from fuseline.models.quantizers import kmeans
from fuseline.models.quantizers.base import QuantizedRows
from fuseline.models.threads import thread_limit
from fuseline.plain import JsonObject


class PQConfig(FrozenConfig):
    """Product quantization: `parts` codes per vector, each one of `codewords`."""

    parts: int = Field(4, ge=1, le=65536, description="Parts of a vector: codes per vector, one each")
    codewords: int = Field(256, ge=2, le=256, description="Codewords per part")
    iterations: int = Field(25, ge=1, description="Rounds of k-means")
    sample: int = Field(65536, ge=2, description="Training vectors that the codebook is learned from at most")
    unit: bool = Field(
        True, description="Scale every vector to length 1 first, as the paper does with its image features"
    )


class PQ:
    """A fitted product quantizer.

    `centroids` (M, Ks, Ds) float32; `usage` (M, Ks) int64 counts of the training sample per codeword and
    `train_error` its mean squared error: what later data are compared with.
    """

    kind: ClassVar[str] = "pq"
    summary: ClassVar[str] = "product quantization: the vector in equal parts, k-means per part (Kiela 2018)"
    Config: ClassVar[type[FrozenConfig]] = PQConfig
    repeated: ClassVar[bool] = False
    config: PQConfig
    centroids: F32
    permutations: NDArray[np.int32]  # (repeats, D): one row, the identity
    usage: NDArray[np.int64]
    train_error: float
    seed: int

    def __init__(self, config: FrozenConfig | None = None) -> None:
        self.config = own_config(self.Config, config, PQConfig)

    @property
    def parts(self) -> int:
        """Codes per vector of each repeat."""
        return self.config.parts

    @property
    def repeats(self) -> int:
        """How often a vector is cut into parts."""
        return 1

    @property
    def dim(self) -> int:
        """D, the dimensions of a vector."""
        return int(self.permutations.shape[1])

    @property
    def tokens(self) -> int:
        """M, the codes per vector."""
        return int(self.centroids.shape[0])

    def draw_permutations(self, dim: int, seed: int) -> NDArray[np.int32]:
        """Return the orders (repeats, D) int32 in which the dimensions are cut into parts."""
        return np.arange(dim, dtype=np.int32)[None]

    def fit(self, X: F32, *, seed: int, permutations: NDArray[np.int32] | None = None) -> Self:
        """Learn the codebook from X (N, D) float32 and remember `seed`.

        Rows that are not finite are left out; at most config.sample rows are drawn. `permutations` (repeats, D)
        replaces the drawn ones. Raises ValueError when D is not a multiple of parts or rows are too few.
        """
        X = np.asarray(X, dtype=np.float32)
        check_dim(X.shape[1], self.config.parts)
        self.permutations = self.draw_permutations(X.shape[1], seed) if permutations is None else permutations
        self.seed = seed
        X = self._sampled(X)
        self.centroids = self._learned(X)
        codes = self._assign(X)
        self.usage = np.stack([np.bincount(column, minlength=self.config.codewords) for column in codes.T])
        self.train_error = float(np.mean(self._squared_errors(X, codes), dtype=np.float64))
        return self

    def encode(self, X: F32, present: NDArray[np.bool_] | None = None) -> QuantizedRows:
        """Return the codes (n, M) uint8 of X (n, D) float32, and which rows have any.

        A row that is absent or not finite gets no code at all: look at `present` before using code 0.
        """
        X = self._checked(X)
        good = usable(X, present, unit=self.config.unit)
        codes = np.zeros((len(X), self.tokens), dtype=np.uint8)
        codes[good] = self._assign(self._scaled(X[good]))
        return QuantizedRows(codes, good)

    def decode(self, codes: NDArray[np.uint8]) -> F32:
        """Return vectors (n, D) float32 of codes (n, M) uint8; several repeats are averaged."""
        total = np.zeros((len(codes), self.dim), dtype=np.float32)
        for repeat, order in enumerate(self.permutations):
            columns = range(repeat * self.config.parts, (repeat + 1) * self.config.parts)
            total[:, order] += np.concatenate([self.centroids[m][codes[:, m]] for m in columns], axis=1)
        total /= len(self.permutations)
        return total

    def errors(self, X: F32, codes: NDArray[np.uint8]) -> F32:
        """Return the squared error (n,) float32 between X (n, D), scaled as for encoding, and its decoded codes."""
        return self._squared_errors(self._scaled(self._checked(X)), codes)

    def part_errors(self, X: F32, codes: NDArray[np.uint8]) -> F32:
        """Return the squared error (n, M) float32 of every part of X (n, D), scaled as for encoding."""
        X = self._scaled(self._checked(X))
        columns = zip(self._parts(X), self.centroids, codes.T, strict=True)
        return np.stack([squared_error(part, book[column]) for part, book, column in columns], axis=1)

    def save(self, folder: Path) -> None:
        """Write the codebook with its permutations into an existing folder."""
        config = self.config.model_dump(mode="json")
        meta: JsonObject = {"config": config, "seed": self.seed, "train_error": self.train_error}
        arrays: dict[str, NDArray[np.generic]] = {
            "centroids": self.centroids,
            "permutations": self.permutations,
            "usage": self.usage,
        }
        save_checkpoint(folder, f"quantizer/{self.kind}", meta=meta, arrays=arrays)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote; raises CheckpointError for anything else."""
        saved = load_checkpoint(folder, f"quantizer/{cls.kind}")
        with restoring(f"quantizer/{cls.kind}", "config, centroids and permutations"):
            self = cls(cls.Config.model_validate(saved.meta["config"]))
            self.seed = int(checked_number("seed", saved.meta["seed"]))
            self.train_error = checked_number("train_error", saved.meta["train_error"])
            parts, Ks, repeats = self.config.parts, self.config.codewords, self.repeats
            self.centroids = saved.array("centroids", np.float32, repeats * parts, Ks, None)
            D = parts * self.centroids.shape[2]
            self.permutations = saved.array("permutations", np.int32, repeats, D)
            if (np.sort(self.permutations, axis=1) != np.arange(D)).any():
                refuse("permutations", f"orders of 0..{D - 1}", "others")
            self.usage = saved.counts("usage", repeats * parts, Ks)
        return self

    def _learned(self, X: F32) -> F32:
        """Return the centroids (M, Ks, Ds) of the scaled rows X (N, D); the parts side by side, one per thread."""

        def learn(numbered: tuple[int, NDArray[np.int32]]) -> F32:
            number, columns = numbered
            seed, part = stream(self.seed, number), np.take(X, columns, axis=1)
            return kmeans.learn(part, self.config.codewords, iterations=self.config.iterations, seed=seed)

        with ThreadPoolExecutor(thread_limit()) as threads:
            return np.stack(list(threads.map(learn, enumerate(self._columns()))))

    def _columns(self) -> list[NDArray[np.int32]]:
        """Return for each code the dimensions (Ds,) that it is of."""
        return [part for order in self.permutations for part in np.split(order, self.config.parts)]

    def _parts(self, X: F32) -> Iterator[F32]:
        """Yield what each code is of, (n, Ds) float32, one after the other, so that one copy is in memory."""
        return (np.take(X, columns, axis=1) for columns in self._columns())

    def _assign(self, X: F32) -> NDArray[np.uint8]:
        columns = [kmeans.assign(part, book) for part, book in zip(self._parts(X), self.centroids, strict=True)]
        return np.stack(columns, axis=1)

    def _squared_errors(self, X: F32, codes: NDArray[np.uint8]) -> F32:
        """Return |x - decoded|^2 of scaled rows, (n,) float32, a block at a time."""
        blocks = [slice(lo, lo + kmeans.ROWS) for lo in range(0, len(X), kmeans.ROWS)]
        errors = [squared_error(X[block], self.decode(codes[block])) for block in blocks]
        return np.concatenate([np.empty(0, np.float32), *errors])

    def _scaled(self, X: F32) -> F32:
        return unit_rows(X) if self.config.unit else np.asarray(X, dtype=np.float32)

    def _checked(self, X: F32) -> F32:
        if X.ndim != 2 or X.shape[1] != self.dim:
            raise ValueError(f"vectors: expected (n, {self.dim}), got {X.shape!r}; give what it was fitted on")
        return X

    def _sampled(self, X: F32) -> F32:
        good = usable(X, None, unit=self.config.unit)
        X = self._scaled(X if good.all() else X[good])
        if len(X) < self.config.codewords:
            raise ValueError(
                f"codebook rows: expected at least codewords={self.config.codewords!r}, got {len(X)!r}; "
                "lower codewords, or give more rows whose vector is present"
            )
        if len(X) <= self.config.sample:
            return X
        rows = np.random.default_rng(self.seed).choice(len(X), self.config.sample, replace=False)
        return np.asarray(X[np.sort(rows)])


def check_dim(dim: int, parts: int) -> None:
    """Raise ValueError, naming the divisors, when vectors of `dim` cannot be cut into equal parts."""
    if dim % parts:
        divisors = [n for n in range(1, dim + 1) if dim % n == 0]
        raise ValueError(f"parts: expected a divisor of the dimension {dim!r}, got {parts!r}; choose one of {divisors}")


def squared_error(X: F32, decoded: F32) -> F32:
    """Return |x - decoded|^2 per row, (n,) float32."""
    gap = X - decoded
    return np.asarray(np.einsum("ij,ij->i", gap, gap), dtype=np.float32)


def stream(seed: int, number: int) -> int:
    """Return the seed of sub-codebook `number`: independent streams of one seed, 31 bits as faiss wants."""
    return int(np.random.SeedSequence([seed, number]).generate_state(1)[0] >> 1)
