"""Documents and vectors on their way onto a map: drawn by names, so that shards may come in any number."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic import Field

from fuseline.models.columns import Dense
from fuseline.models.config import FrozenConfig, Names, added
from fuseline.models.dense import unit_rows
from fuseline.models.maps import side_by_side
from fuseline.models.neighbours import nearest
from fuseline.tasks.evaluation.answers import answered, right_models
from fuseline.tasks.evaluation.evaluate import scored_rows
from fuseline.tasks.splits import hashed

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
    similar: int = added(
        24, ge=0, le=100, description="Classes in the matrix of similarities, the most frequent ones; 0: no matrix"
    )
    inside: Names = added((), description="Labels whose documents have a map of their own, by who is right on them")


class Drawn:
    """The first documents of some classes by their hashes: whoever is not among the first so far never will be."""

    def __init__(self, most: int) -> None:
        self.most = most  # documents of a class
        self._rows: pa.Table | None = None  # with columns label and hash
        self._units: F32 = np.zeros((0, 0), np.float32)  # (n, D) their vectors

    def add(self, rows: pa.Table, units: F32, classes: pa.Array) -> None:
        """Take in rows with their vectors (n, D), and keep those of these classes, the first of each."""
        if self._rows is not None:
            rows, units = pa.concat_tables([self._rows, rows]), np.concatenate([self._units, units])
        label = np.asarray(pc.fill_null(pc.index_in(rows["label"], value_set=classes), -1))
        order = np.lexsort((np.asarray(rows["hash"]), label))
        starts = np.searchsorted(label[order], label[order])
        first = np.arange(len(order)) - starts < self.most
        kept = order[first & (label[order] >= 0)]
        self._rows, self._units = rows.take(pa.array(kept)), units[kept]

    def first(self, label: str | None = None) -> tuple[pa.Table, F32]:
        """Return the first documents, of one label or of all, in the order they are drawn, and their vectors (n, D)."""
        if self._rows is None:
            return pa.table({"label": pa.array([], pa.string())}), self._units
        order = np.argsort(np.asarray(self._rows["hash"]), kind="stable")
        if label is not None:
            order = order[np.asarray(pc.equal(self._rows["label"], label))[order]]
        order = order[: self.most]
        return self._rows.take(pa.array(order)).drop_columns(["hash"]), self._units[order]


class Vectors:
    """Labelled documents that have a vector: sums of every class, and the documents that may come onto a map.

    Classes and documents are drawn by hashes of their names: no more than `classes` times `documents` vectors are
    kept, and as many of each class that has a map of its own.
    """

    def __init__(self, config: MapsConfig, models: Sequence[str] = ()) -> None:
        self.config, self.models = config, models
        self.sums: dict[str, Any] = {}  # label -> sum of unit vectors, (D,)
        self.sizes: dict[str, int] = {}
        self.drawn, self.inside = Drawn(config.documents), Drawn(config.documents)

    def add(self, documents: pa.Table, vectors: pa.Table, *answers: pa.Table) -> None:
        """Take in one shard, with the predictions of the models."""
        column = Dense.of(vectors, "embedding")
        for split, mask in scored_rows(documents, self.config.splits):
            places = np.flatnonzero(np.asarray(mask) & column.present)
            at = pa.array(places)
            own, unit = documents.take(at), unit_rows(column.values[places])
            label, ids = pc.list_element(own["labels"].combine_chunks(), 0), own["id"].combine_chunks()
            for name in pc.unique(label).to_pylist():
                mine = np.asarray(pc.equal(label, name))
                self.sums[name] = self.sums.get(name, 0.0) + unit[mine].sum(axis=0, dtype=np.float64)
                self.sizes[name] = self.sizes.get(name, 0) + int(mine.sum())
            columns = {"id": ids, "split": pa.repeat(split, len(own)), "label": label}
            columns |= self._answers(own, [guessed.take(at) for guessed in answers])
            rows = pa.table({**columns, "hash": hashed(ids, seed=self.config.seed)})
            names = pa.array(sorted(self.sizes), pa.string())
            chosen = np.argsort(hashed(names, seed=self.config.seed))[: self.config.classes]
            self.drawn.add(rows, unit, names.take(pa.array(chosen)))
            if self.config.inside:
                self.inside.add(rows, unit, pa.array(self.config.inside, pa.string()))

    def _answers(self, documents: pa.Table, answers: Sequence[pa.Table]) -> dict[str, pa.Array]:
        """Return the columns `right` and `predicted`, both list<string>; null without models."""
        if not answers:
            nothing = pa.nulls(len(documents), pa.list_(pa.string()))
            return {"right": nothing, "predicted": nothing}
        right, best = answered(documents, answers)
        flat = np.stack([np.array(one.to_pylist(), object) for one in best], axis=1)
        predicted = pa.array(flat.tolist(), pa.list_(pa.string()))
        return {"right": right_models(right, self.models), "predicted": predicted}

    def mean(self, label: str) -> F32:
        """Return the direction (D,) of a class: the mean of its unit vectors, of length 1."""
        unit: F32 = unit_rows(np.asarray(self.sums[label], np.float32)[None])[0]
        return unit

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

    def similarities(self) -> Iterator[dict[str, Any]]:
        """Yield CLASS_SIMILARITY rows of the most frequent classes, without the dataset; none of a single class."""
        names = sorted(self.sizes, key=lambda name: (-self.sizes[name], name))[: self.config.similar]
        if len(names) < 2:
            return
        means = unit_rows(np.stack([self.sums[name] for name in names]).astype(np.float32)).astype(np.float64)
        cosine = means @ means.T
        order = side_by_side(cosine).tolist()
        for place, row in enumerate(order, 1):
            for other in order:
                yield {
                    "label": names[row], "documents": self.sizes[names[row]], "place": place, "other": names[other],
                    "cosine": cosine[row, other],
                }  # fmt: skip
