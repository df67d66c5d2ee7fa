"""How alike two inputs of a document are: canonical correlation analysis projects both into one space (P-17)."""

from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import ClassVar, NamedTuple, Self, cast

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator

from fuseline.models.checkpoint import load_checkpoint, restoring, save_checkpoint
from fuseline.models.columns import Dense
from fuseline.models.config import FrozenConfig, Names, key_values
from fuseline.models.dense import usable
from fuseline.models.features import Block, Features, vectors_name
from fuseline.plain import JsonObject

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
WIDEST = 8192  # numbers of an input: the analysis holds the square of them


class SharedSpaceConfig(FrozenConfig):
    """Which inputs are compared, and the space in which they are."""

    inputs: Names = Field(("image", "text"), description="Embeddings, or stages that make vectors")
    dimensions: int = Field(64, ge=1, le=4096, description="Numbers of the shared space, those that agree most")
    ridge: float = Field(
        1.0,
        gt=0,
        le=10,
        description="What is added to the variances, as a share of their mean: more of it where documents are few",
    )

    @field_validator("inputs")
    @classmethod
    def _has_two(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if len(value) < 2:
            raise ValueError(f"expected at least two inputs, got {list(value)}; name another one")
        return value

    @property
    def pairs(self) -> tuple[tuple[str, str], ...]:
        """The datasets of every two inputs."""
        return tuple(combinations(map(vectors_name, self.inputs), 2))


class Projection(NamedTuple):
    """What takes two inputs into their shared space."""

    means: tuple[F64, F64]  # (Da,), (Db,)
    maps: tuple[F64, F64]  # (Da, k), (Db, k)
    correlations: F64  # (k,) of the training documents, falling


class SharedSpace:
    """Projections of every two inputs, fitted on documents that have both; no label is looked at."""

    kind: ClassVar[str] = "shared_space"

    def __init__(self, config: SharedSpaceConfig, projections: dict[tuple[str, str], Projection] | None = None) -> None:
        self.config, self.projections = config, projections or {}

    @property
    def correlations(self) -> dict[str, list[float]]:
        """The correlations of each pair in the shared space, on training documents."""
        return {" ".join(pair): one.correlations.tolist() for pair, one in self.projections.items()}

    def fit(self, train: Features) -> Self:
        """Fit on the documents of `train`.

        Raises ValueError when fewer than three documents have both inputs of a pair, or an input is too wide.
        """
        sums = {pair: _Sums() for pair in self.config.pairs}
        for block in train.blocks():
            for pair, kept in sums.items():
                kept.add(*_both(block, pair)[:2])
        self.projections = {pair: self._solved(pair, kept) for pair, kept in sums.items()}
        return self

    def similarities(self, block: Block) -> F32:
        """Return the cosine of every pair in its shared space (n, pairs), NaN where a document lacks an input."""
        found = np.full((len(block), len(self.config.pairs)), np.nan, np.float32)
        for at, (pair, one) in enumerate(self.projections.items()):
            A, B, rows = _both(block, pair)
            u, v = ((X - mean) @ W for X, mean, W in zip((A, B), one.means, one.maps, strict=True))
            lengths = np.linalg.norm(u, axis=1) * np.linalg.norm(v, axis=1)
            found[rows, at] = np.einsum("nk,nk->n", u, v) / np.where(lengths > 0, lengths, 1.0)
        return found

    def save(self, folder: Path) -> None:
        """Write a checkpoint into an existing folder."""
        meta: JsonObject = {"config": key_values(self.config), "sizes": self._sizes()}
        arrays: dict[str, NDArray[np.generic]] = {}
        for number, one in enumerate(self.projections.values()):
            for side in (0, 1):
                arrays |= {f"{number}.mean{side}": one.means[side], f"{number}.map{side}": one.maps[side]}
            arrays[f"{number}.correlations"] = one.correlations
        save_checkpoint(folder, self.kind, meta=meta, arrays=arrays)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote; raises CheckpointError."""
        saved = load_checkpoint(folder, cls.kind)
        with restoring(cls.kind, "config and projections"):
            config = SharedSpaceConfig.model_validate(saved.meta["config"])
            projections, sizes = {}, cast("dict[str, int]", saved.meta["sizes"])
            if sizes.keys() != set(map(vectors_name, config.inputs)):
                raise ValueError(f"sizes of {config.inputs}, got {sorted(sizes)}")
            for number, pair in enumerate(config.pairs):
                correlations = saved.array(f"{number}.correlations", np.float64, None)
                means = [saved.array(f"{number}.mean{side}", np.float64, sizes[pair[side]]) for side in (0, 1)]
                maps = [
                    saved.array(f"{number}.map{side}", np.float64, len(means[side]), len(correlations))
                    for side in (0, 1)
                ]
                projections[pair] = Projection(
                    cast("tuple[F64, F64]", tuple(means)), cast("tuple[F64, F64]", tuple(maps)), correlations
                )
            return cls(config, projections)

    def _sizes(self) -> dict[str, int]:
        """Return how many numbers each input has."""
        return {
            name: len(mean)
            for pair, one in self.projections.items()
            for name, mean in zip(pair, one.means, strict=True)
        }

    def _solved(self, pair: tuple[str, str], kept: "_Sums") -> Projection:
        if kept.n < 3:
            expected, cure = f"3 training documents with both {pair[0]} and {pair[1]}", "name others"
            raise ValueError(f"inputs: expected {expected}, got {kept.n}; {cure}")
        means, (aa, bb, ab) = kept.moments()
        white = [_whitening(moment, self.config.ridge) for moment in (aa, bb)]
        left, correlations, right = np.linalg.svd(white[0].T @ ab @ white[1], full_matrices=False)
        k = min(self.config.dimensions, len(correlations))
        maps = white[0] @ left[:, :k], white[1] @ right[:k].T
        return Projection(means, maps, correlations[:k])


class _Sums:
    """Sums over documents that have both inputs, and over products of their numbers."""

    def __init__(self) -> None:
        self.n = 0
        self.totals: list[F64] = []

    def add(self, A: F64, B: F64) -> None:
        """Take in numbers (m, Da) and (m, Db) of the same documents."""
        own = [A.sum(axis=0), B.sum(axis=0), A.T @ A, B.T @ B, A.T @ B]
        self.totals = own if not self.totals else [total + part for total, part in zip(self.totals, own, strict=True)]
        self.n += len(A)

    def moments(self) -> tuple[tuple[F64, F64], tuple[F64, F64, F64]]:
        """Return both means, and the covariances of either with itself and of both."""
        a, b, aa, bb, ab = (total / self.n for total in self.totals)
        return (a, b), (aa - np.outer(a, a), bb - np.outer(b, b), ab - np.outer(a, b))


def _whitening(covariance: F64, ridge: float) -> F64:
    """Return what makes numbers (D,) uncorrelated and of variance 1, but for the ridge."""
    D = len(covariance)
    added = ridge * max(float(np.trace(covariance)) / D, 1e-12)
    values, vectors = np.linalg.eigh(covariance + added * np.eye(D))
    return np.asarray(vectors / np.sqrt(np.maximum(values, added)))


def _both(block: Block, pair: tuple[str, str]) -> tuple[F64, F64, NDArray[np.int64]]:
    """Return the numbers (m, Da) and (m, Db) of documents that have both inputs, and their rows (m,)."""
    columns = [block.column(name, Dense) for name in pair]
    for name, column in zip(pair, columns, strict=True):
        if column.values.shape[1] > WIDEST:
            got = column.values.shape[1]
            raise ValueError(f"inputs: expected at most {WIDEST} numbers, got {got} of {name}; learn codes of it first")
    known = [usable(column.values, column.present, unit=False) for column in columns]
    rows = np.flatnonzero(known[0] & known[1])
    A, B = (np.asarray(column.values[rows], np.float64) for column in columns)
    return A, B, rows


def pair_names(config: SharedSpaceConfig) -> Iterator[str]:
    """Yield what each number of a similarity tells: "embed/image embed/text"."""
    yield from map(" ".join, config.pairs)
