"""The documents that lie nearest to one of a root, in an embedding or in what a network has learnt (Miller 2020)."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from fuseline.flows.config import Config
from fuseline.flows.graph import build
from fuseline.models.columns import Dense
from fuseline.models.dense import unit_rows
from fuseline.models.features import embedding_name
from fuseline.stores.dataset import Dataset
from fuseline.stores.errors import ConfigError, DataError, mismatch
from fuseline.stores.places import open_root
from fuseline.tasks.engine.nodes import Ingest, Node, ShardStage

COLUMNS = ("id", "split", "labels", "title")


class Near(NamedTuple):
    """A document and how near it lies."""

    similarity: float  # cosine, -1..1
    id: str


class Nearest(NamedTuple):
    """A document, and the nearest others, nearest first."""

    vectors: str  # the dataset that they were searched in
    document: dict[str, Any]  # its id, split, labels and title
    neighbours: list[dict[str, Any]]  # similarity, and the same of each


def nearest_documents(config: Config, document: str, vectors: str, *, k: int) -> Nearest:
    """Return the k documents nearest by cosine to one, among all that have such a vector; of equal ones by their ids.

    Reads what lies under the root, shard by shard, and changes nothing.

    Args:
        config: the configuration that the root was made with.
        document: its id.
        vectors: name of an embedding, or hidden/MODEL.
        k: how many; fewer where there are not as many others.

    Raises:
        ConfigError: no document of this id, or no such vectors.
        DataError: the vectors were not made, or not of this document.
    """
    nodes, root = build(config), open_root(config.root)
    node = vectors_node(nodes, vectors)
    documents = next(one.dataset(root) for one in nodes if isinstance(one, Ingest))
    dataset, found = node.dataset(root), described(documents, [document])
    if not found:
        cure = "its table documents in the catalog has all ids"
        raise ConfigError(mismatch("ID", f"the id of a document of {config.name}", document, cure))
    if not dataset.records():
        raise DataError(mismatch(node.column, "vectors", "none that were made", "do `fuseline run` first"))
    near = search(dataset, document, k=k, name=node.column)
    known = described(documents, [one.id for one in near])
    rows = [{"similarity": one.similarity, **known[one.id]} for one in near if one.id in known]
    return Nearest(node.column, found[document], rows)


def vectors_node(nodes: Sequence[Node], name: str) -> ShardStage:
    """Return the stage of vectors of a name: an embedding's, `embed/` left out or not, or hidden/MODEL.

    Raises ConfigError.
    """
    dense = {
        node.column: node
        for node in nodes
        if isinstance(node, ShardStage) and node.feature is not None and node.feature.kind is Dense
    }
    for column in (name, embedding_name(name)):
        if column in dense:
            return dense[column]
    short = sorted(column.removeprefix(embedding_name("")) for column in dense)
    cure = "choose one of these; report.maps.hidden: [MODEL] makes the hidden vectors of a network"
    raise ConfigError(mismatch("--encoder", short, name, cure))


def search(dataset: Dataset, document: str, *, k: int, name: str) -> list[Near]:
    """Return the k others of a dataset of vectors that are nearest to a document; raises DataError without its own."""
    query, best = _vector(dataset, document, name), list[Near]()
    for ids, present, values in _shards(dataset):
        similar = (unit_rows(values) @ query).astype(np.float64)
        places = np.flatnonzero(present & (ids != document))
        # What lies as near as the last of k may come before it by its id.
        if len(places) > k:
            floor = np.partition(similar[places], -k)[-k]
            places = places[similar[places] >= floor]
        best += [Near(float(similar[at]), str(ids[at])) for at in places]
        best = sorted(best, key=lambda one: (-one.similarity, one.id))[:k]
    return best


def described(documents: Dataset, ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return id, split, labels and title of documents by their ids, of those that there are."""
    wanted = pa.array(ids, pa.string())
    rows: dict[str, dict[str, Any]] = {}
    for _, record in sorted(documents.records().items()):
        table = documents.read(record, COLUMNS)
        rows |= {row["id"]: row for row in table.filter(pc.is_in(table["id"], value_set=wanted)).to_pylist()}
    return rows


def _vector(dataset: Dataset, document: str, name: str) -> NDArray[np.float32]:
    """Return the vector (D,) of a document, of length 1."""
    for ids, present, values in _shards(dataset):
        for at in np.flatnonzero((ids == document) & present)[:1]:
            unit: NDArray[np.float32] = unit_rows(values[at : at + 1])[0]
            return unit
    cure = "it has nothing that these are made of, or came after the last run: choose other vectors, or run again"
    raise DataError(mismatch(f"{name} of {document}", "a vector", "none", cure))


def _shards(dataset: Dataset) -> Iterator[tuple[NDArray[Any], NDArray[np.bool_], NDArray[np.float32]]]:
    """Yield ids (n,), whether they are present (n,), and vectors (n, D) of every shard."""
    for _, record in sorted(dataset.records().items()):
        table = dataset.read(record, ("id", "present", "embedding"))
        column = Dense.of(table, "embedding")
        yield np.array(table["id"].to_pylist(), object), column.present, column.values
