"""Tabular columns -> vectors or indices, by scales, bins and vocabularies fitted on training rows alone."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal, Self, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic import Field

from fuseline.models.checkpoint import Checkpoint, checked_texts, load_checkpoint, refuse, restoring, save_checkpoint
from fuseline.models.config import FrozenConfig
from fuseline.models.encoders.base import Modality
from fuseline.plain import JsonObject

_KIND = "tabular"
NUMERIC, CATEGORY = "num_", "cat_"


class TabularConfig(FrozenConfig):
    """How columns become numbers; no label is ever looked at."""

    columns: tuple[str, ...] | None = Field(
        None, description="Columns to encode, num_* and cat_*; default: every one that training rows fill"
    )
    numeric: Literal["minmax", "quantile", "uniform"] = Field(
        "minmax",
        description="Numbers scaled to 0..1 (minmax), or one-hot bins: equally filled (quantile) or "
        "equally wide (uniform)",
    )
    bins: int = Field(10, ge=2, le=255, description="Bins per number, for quantile and uniform")
    categories: int = Field(256, ge=1, description="Most frequent values kept per column; others count as unknown")
    min_count: int = Field(1, ge=1, description="Training rows that a value must have; rarer ones count as unknown")
    flag_missing: bool = Field(
        True, description="One more dimension per column, 1 where its value is missing or unknown"
    )
    sample: int = Field(200_000, ge=100, description="Values per column that quantiles are taken from")


@dataclass(frozen=True)
class FittedColumn:
    """One fitted column: `edges` of a numeric one (minmax: low and high), or `values` of a category."""

    name: str
    edges: tuple[float, ...] = ()
    values: tuple[str, ...] = ()

    def width(self, config: TabularConfig) -> int:
        """Return how many dimensions the column fills."""
        own = len(self.values) if not self.edges else 1 if config.numeric == "minmax" else len(self.edges) - 1
        return own + config.flag_missing


class Tabular:
    """Encoder of tabular columns.

    Attributes:
        config: how columns become numbers.
        columns: the fitted columns, in the order of their dimensions.
    """

    kind: ClassVar[str] = "tabular"
    summary: ClassVar[str] = (
        "columns as one-hot, min-max, quantile or uniform bins, fitted on training rows; or as class indices"
    )
    origin: ClassVar[str] = ""
    modality: ClassVar[Modality] = "tabular"
    Config: ClassVar[type[FrozenConfig]] = TabularConfig

    def __init__(self, config: TabularConfig, columns: tuple[FittedColumn, ...]) -> None:
        self.config, self.columns = config, columns

    @property
    def dim(self) -> int:
        """Length of a vector."""
        return sum(column.width(self.config) for column in self.columns)

    @property
    def vocabulary(self) -> int:
        """The highest index that any column may have."""
        return max((one.width(self.config) - self.config.flag_missing for one in self.columns), default=0)

    @classmethod
    def fit(cls, tables: Iterable[pa.Table], config: TabularConfig, *, seed: int) -> Self:
        """Fit on tables of training rows, one at a time.

        Quantiles come from at most `sample` values per column, drawn by the seed; low and high from all of them.
        Raises ValueError when a configured column is in no table.
        """
        rng, numbers, counts = np.random.default_rng(seed), dict[str, _Numbers](), dict[str, Counter[str]]()
        for table in tables:
            for name in _columns(table, config):
                if name.startswith(NUMERIC):
                    numbers.setdefault(name, _Numbers(config.sample)).add(_floats(table[name]), rng)
                else:
                    counts.setdefault(name, Counter()).update(v for v in table[name].to_pylist() if v is not None)
        absent = set(config.columns or ()) - {*numbers, *counts}
        if absent:
            raise ValueError(f"tabular columns: expected {sorted(absent)} in the training rows, got none of that name; "
                             "name columns num_* or cat_* that the source has")  # fmt: skip
        fitted = [FittedColumn(name, edges=one.edges(config)) for name, one in numbers.items() if one.count]
        fitted += [FittedColumn(name, values=_vocabulary(count, config)) for name, count in counts.items() if count]
        return cls(config, tuple(sorted(fitted, key=lambda column: column.name)))

    def encode(self, table: pa.Table, *, missing: float = 0.0) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Return vectors (n, dim) float32 and present (n,): at least one column has a known value.

        A column without a known value holds `missing`, except its flag.
        """
        vectors = np.zeros((table.num_rows, self.dim), np.float32)
        indices, rows, at = self.indices(table), np.arange(table.num_rows), 0
        for number, column in enumerate(self.columns):
            index, known = indices[:, number], indices[:, number] > 0
            if column.edges and self.config.numeric == "minmax":
                low, high = column.edges
                scaled = (_floats_of(table, column.name) - low) / ((high - low) or 1.0)
                vectors[known, at] = np.clip(np.nan_to_num(scaled[known]), 0.0, 1.0)
            else:
                vectors[rows[known], at + index[known] - 1] = 1.0
            end = at + column.width(self.config)
            vectors[~known, at:end] = missing
            if self.config.flag_missing:
                vectors[:, end - 1] = ~known
            at = end
        return vectors, np.any(indices > 0, axis=1)

    def indices(self, table: pa.Table) -> NDArray[np.int32]:
        """Return class indices (n, columns) int32, what index embeddings read: 0 is missing or unknown.

        A category's values count from 1 by falling frequency, bins from 1 upwards; a min-max column is 1 where known.
        """
        indices = np.zeros((table.num_rows, len(self.columns)), np.int32)
        for number, column in enumerate(self.columns):
            if column.edges:
                values = _floats_of(table, column.name)
                inner = column.edges[1:-1] if self.config.numeric != "minmax" else ()
                place = np.searchsorted(np.array(inner), values, side="right") + 1
                indices[:, number] = np.where(np.isnan(values), 0, place)
            elif column.name in table.column_names:
                place = pc.index_in(table[column.name], value_set=pa.array(column.values, pa.string()))
                indices[:, number] = np.asarray(pc.fill_null(place, -1)) + 1
        return indices

    def names(self) -> list[str]:
        """Return what each dimension means, "cat_breed=beagle", in order."""
        names: list[str] = []
        for column in self.columns:
            if not column.edges:
                names += [f"{column.name}={value}" for value in column.values]
            elif self.config.numeric == "minmax":
                names.append(column.name)
            else:
                ends = zip(column.edges, column.edges[1:], strict=False)
                names += [f"{column.name} {low:g}..{high:g}" for low, high in ends]
            names += [f"{column.name} missing"] * self.config.flag_missing
        return names

    def save(self, folder: Path) -> None:
        """Write a checkpoint into an existing folder."""
        columns = [{"name": column.name, "values": list(column.values)} for column in self.columns]
        arrays = {column.name: np.array(column.edges) for column in self.columns if column.edges}
        meta: JsonObject = {"config": self.config.model_dump(mode="json"), "columns": columns}
        save_checkpoint(folder, _KIND, meta=meta, arrays=arrays)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote; raises CheckpointError."""
        saved = load_checkpoint(folder, _KIND)
        with restoring(_KIND, "config and columns"):
            config = TabularConfig.model_validate(saved.meta["config"])
            heads = cast("list[JsonObject]", saved.meta["columns"])
            columns = tuple(_restored(head, saved, config) for head in heads)
            checked_texts("names of columns", [column.name for column in columns])
            return cls(config, columns)


def _restored(head: JsonObject, saved: Checkpoint, config: TabularConfig) -> FittedColumn:
    """Return a column of a checkpoint: rising edges of a numeric one, values of a category."""
    name, values = str(head["name"]), checked_texts("values", head["values"])
    if not name.startswith(NUMERIC):
        return FittedColumn(name, values=tuple(values))
    edges = saved.array(name, np.float64, 2 if config.numeric == "minmax" else None)
    # A column of one value has two equal edges.
    if values or len(edges) < 2 or not np.isfinite(edges).all() or (np.diff(edges) < 0).any():
        refuse(f"edges of {name}", "rising numbers", edges.tolist())
    return FittedColumn(name, edges=tuple(edges.tolist()))


class _Numbers:
    """Low, high and a reservoir of the values of one column."""

    def __init__(self, size: int) -> None:
        self.kept, self.count, self.low, self.high = np.zeros(size), 0, np.inf, -np.inf

    def add(self, values: NDArray[np.float64], rng: np.random.Generator) -> None:
        values = values[np.isfinite(values)]
        if not len(values):
            return
        self.low, self.high = min(self.low, float(values.min())), max(self.high, float(values.max()))
        room = max(0, min(len(self.kept) - self.count, len(values)))
        self.kept[self.count : self.count + room] = values[:room]
        rest = values[room:]
        # Algorithm R of reservoir sampling, a table at a time.
        places = rng.integers(0, self.count + room + 1 + np.arange(len(rest)))
        inside = places < len(self.kept)
        self.kept[places[inside]] = rest[inside]
        self.count += len(values)

    def edges(self, config: TabularConfig) -> tuple[float, ...]:
        if config.numeric == "minmax":
            return self.low, self.high
        if config.numeric == "uniform":
            edges = np.linspace(self.low, self.high, config.bins + 1)
        else:
            edges = np.quantile(self.kept[: self.count], np.linspace(0, 1, config.bins + 1))
            edges[0], edges[-1] = self.low, self.high
        unique = np.unique(edges)
        return tuple(unique.tolist()) if len(unique) > 1 else (self.low, self.low)


def _columns(table: pa.Table, config: TabularConfig) -> list[str]:
    names = [name for name in table.column_names if name.startswith((NUMERIC, CATEGORY))]
    return names if config.columns is None else [name for name in names if name in config.columns]


def _vocabulary(counts: Counter[str], config: TabularConfig) -> tuple[str, ...]:
    """Return the values to keep, the most frequent first, equally frequent ones by name."""
    frequent = [value for value, count in counts.items() if count >= config.min_count]
    return tuple(sorted(frequent, key=lambda value: (-counts[value], value))[: config.categories])


def _floats_of(table: pa.Table, name: str) -> NDArray[np.float64]:
    return _floats(table[name]) if name in table.column_names else np.full(table.num_rows, np.nan)


def _floats(column: pa.ChunkedArray) -> NDArray[np.float64]:
    """Return a numeric column as float64 with NaN for missing and infinite values."""
    values = np.asarray(pc.fill_null(column.cast(pa.float64()), np.nan), np.float64)
    return np.where(np.isfinite(values), values, np.nan)
