"""Maps of embeddings and of hidden layers, how well these tell classes apart, and which classes they confuse."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic import Field

from fuseline.models.columns import Dense
from fuseline.models.config import FrozenConfig, Names
from fuseline.models.dense import unit_rows
from fuseline.models.maps import coordinates, purity, silhouette
from fuseline.models.neighbours import nearest
from fuseline.stores.errors import mismatch
from fuseline.stores.score_schemas import CLASS_NEIGHBOURS, MAPS
from fuseline.tasks.engine.nodes import Context, Ingest, Read, Shards, ShardStage, Summary
from fuseline.tasks.evaluation.evaluate import scored_rows
from fuseline.tasks.splits import hashed

ROLE = "maps"
TABLES = ("maps", "class_neighbours")
F32 = NDArray[np.float32]


class MapsConfig(FrozenConfig):
    """What is mapped."""

    embeddings: Names = Field((), description="Embeddings in `embed` or `stages` that are mapped")
    hidden: Names = Field((), description="Models whose last hidden layer is mapped")
    splits: tuple[str, ...] = Field(("valid", "test"), min_length=1, description="Splits whose documents are mapped")
    classes: int = Field(10, ge=2, le=20, description="Classes that are mapped, drawn by the seed")
    documents: int = Field(2000, ge=1, le=20_000, description="Documents that are mapped at most, drawn by their ids")
    neighbours: int = Field(10, ge=1, le=1000, description="Nearest documents, or classes, that are looked at")
    seed: int = Field(0, description="Seed of the map, and of what is drawn")


class VectorMapConfig(FrozenConfig):
    """The map of one dataset of vectors."""

    vectors: str
    maps: MapsConfig


class Vectors:
    """Labelled documents that have a vector: sums of every class, and the documents that may come onto the map.

    Classes and documents are drawn by hashes of their names, so that whoever is not among the first so far never will
    be: no more than `classes` times `documents` vectors are kept.
    """

    def __init__(self, config: MapsConfig) -> None:
        self.config = config
        self.sums: dict[str, Any] = {}  # label -> sum of unit vectors, (D,)
        self.sizes: dict[str, int] = {}
        self._rows: pa.Table | None = None  # id, split, label and hash of documents of the classes drawn so far
        self._units: F32 = np.zeros((0, 0), np.float32)  # their vectors

    def add(self, documents: pa.Table, vectors: pa.Table) -> None:
        """Take in one shard."""
        column = Dense.of(vectors, "embedding")
        for split, mask in scored_rows(documents, self.config.splits):
            places = np.flatnonzero(np.asarray(mask) & column.present)
            own, unit = documents.take(pa.array(places)), unit_rows(column.values[places])
            label, ids = pc.list_element(own["labels"].combine_chunks(), 0), own["id"].combine_chunks()
            for name in pc.unique(label).to_pylist():
                mine = np.asarray(pc.equal(label, name))
                self.sums[name] = self.sums.get(name, 0.0) + unit[mine].sum(axis=0, dtype=np.float64)
                self.sizes[name] = self.sizes.get(name, 0) + int(mine.sum())
            columns = {"id": ids, "split": pa.repeat(split, len(own)), "label": label}
            self._keep(pa.table({**columns, "hash": hashed(ids, seed=self.config.seed)}), unit)

    def drawn(self) -> tuple[pa.Table, F32]:
        """Return id, split and label of the documents on the map, in the order they are drawn, and vectors (n, D)."""
        if self._rows is None:
            raise ValueError(mismatch("documents of a map", "at least 1", 0, "map splits that are not empty"))
        order = np.argsort(np.asarray(self._rows["hash"]), kind="stable")[: self.config.documents]
        return self._rows.take(pa.array(order)).drop_columns(["hash"]), self._units[order]

    def _keep(self, rows: pa.Table, units: F32) -> None:
        """Keep rows of the classes that are drawn so far, and the first of each."""
        if self._rows is not None:
            rows, units = pa.concat_tables([self._rows, rows]), np.concatenate([self._units, units])
        names = pa.array(sorted(self.sizes), pa.string())
        chosen = names.take(pa.array(np.argsort(hashed(names, seed=self.config.seed))[: self.config.classes]))
        label = np.asarray(pc.fill_null(pc.index_in(rows["label"], value_set=chosen), -1))
        order = np.lexsort((np.asarray(rows["hash"]), label))
        starts = np.searchsorted(label[order], label[order])
        first = np.arange(len(order)) - starts < self.config.documents
        kept = order[first & (label[order] >= 0)]
        self._rows, self._units = rows.take(pa.array(kept)), units[kept]

    def neighbours(self) -> Iterator[dict[str, Any]]:
        """Yield CLASS_NEIGHBOURS rows of every class, without the dataset."""
        names = sorted(self.sums)
        k = min(self.config.neighbours, len(names) - 1)
        if k < 1:
            return
        means = np.stack([self.sums[name] for name in names]).astype(np.float32)
        found = nearest(means, means, k=k + 1)
        for row, name in enumerate(names):
            pairs = zip(found.rows[row].tolist(), found.cosine[row].tolist(), strict=True)
            others = [(names[other], cosine) for other, cosine in pairs if other != row][:k]
            for place, (other, cosine) in enumerate(others, 1):
                documents = self.sizes[name]
                yield {"label": name, "documents": documents, "place": place, "other": other, "cosine": cosine}


def map_vectors(shards: Shards, config: VectorMapConfig, context: Context) -> dict[str, pa.Table]:
    """Return MAPS and CLASS_NEIGHBOURS rows of a dataset of vectors; none where no labelled document has a vector."""
    vectors = Vectors(config.maps)
    for documents, table in shards():
        vectors.add(documents, table)
    if not vectors.sizes:
        return {"maps": MAPS.empty_table(), "class_neighbours": CLASS_NEIGHBOURS.empty_table()}
    table, X = vectors.drawn()
    _, numbers = np.unique(np.asarray(table["label"].to_pylist(), object).astype(str), return_inverse=True)
    places, n = coordinates(X, seed=config.maps.seed), len(table)
    columns = {
        "vectors": pa.repeat(config.vectors, n),
        **{name: table[name] for name in ("id", "split", "label")},
        "x": places[:, 0],
        "y": places[:, 1],
        "purity": pa.array(purity(X, numbers, k=config.maps.neighbours), from_pandas=True),
        "silhouette": pa.array(silhouette(X, numbers), from_pandas=True),
        "seed": pa.repeat(config.maps.seed, n),
    }
    rows = [{"vectors": config.vectors, **row} for row in vectors.neighbours()]
    return {
        "maps": pa.table(columns).cast(MAPS),
        "class_neighbours": pa.Table.from_pylist(rows, schema=CLASS_NEIGHBOURS),
    }


def stage(node: ShardStage, documents: Ingest, maps: MapsConfig) -> Summary:
    """Return the node of the map of a dataset of vectors."""
    kept = maps.model_copy(update={"embeddings": (), "hidden": ()})  # others are mapped by nodes of their own
    return Summary(
        role=ROLE, short=f"{node.role}-{node.short}", flow="evaluate", main=False, version=1, tables=TABLES,
        config=VectorMapConfig(vectors=node.column, maps=kept), summarise=map_vectors, fits=node.fits,
        reads=(Read(documents, ("status", "split", "labels")), Read(node, ("present", "embedding"))),
    )  # fmt: skip
