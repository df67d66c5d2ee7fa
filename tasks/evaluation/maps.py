"""Maps of embeddings and of hidden layers, how well these tell classes apart, and which classes they confuse."""

import logging
from collections.abc import Iterator, Mapping

import numpy as np
import pyarrow as pa

from fuseline.models.config import FrozenConfig, Names, added
from fuseline.models.maps import coordinates, purity, silhouette
from fuseline.stores.score_schemas import CLASS_MAPS, CLASS_NEIGHBOURS, CLASS_SIMILARITY, MAPS
from fuseline.tasks.engine.nodes import Context, Ingest, Read, Shards, ShardStage, Summary, fits_of
from fuseline.tasks.evaluation.drawn_vectors import MapsConfig, Vectors
from fuseline.tasks.evaluation.evaluate import held_half, of_half, unseen_splits

ROLE = "maps"
TABLES = {
    "maps": MAPS, "class_maps": CLASS_MAPS, "class_neighbours": CLASS_NEIGHBOURS, "class_similarity": CLASS_SIMILARITY
}  # fmt: skip
log = logging.getLogger(__name__)


class VectorMapConfig(FrozenConfig):
    """The map of one dataset of vectors."""

    vectors: str
    maps: MapsConfig
    models: Names = added(())  # that are asked where they are right
    half: str | None = added(None)  # that alone is mapped of its split, as one of them learns from the other


def map_vectors(shards: Shards, config: VectorMapConfig, context: Context) -> dict[str, pa.Table]:
    """Return the rows of TABLES of a dataset of vectors; none where no labelled document has one."""
    vectors = Vectors(config.maps, config.models)
    for tables in of_half(shards, config.half, place=0)():
        vectors.add(*tables)
    if not vectors.sizes:
        return {name: schema.empty_table() for name, schema in TABLES.items()}
    near, alike = (
        [{"vectors": config.vectors, **row} for row in rows] for rows in (vectors.neighbours(), vectors.similarities())
    )
    return {
        "maps": class_map(vectors, config),
        "class_maps": pa.concat_tables([CLASS_MAPS.empty_table(), *inner_maps(vectors, config)]),
        "class_neighbours": pa.Table.from_pylist(near, schema=CLASS_NEIGHBOURS),
        "class_similarity": pa.Table.from_pylist(alike, schema=CLASS_SIMILARITY),
    }


def class_map(vectors: Vectors, config: VectorMapConfig) -> pa.Table:
    """Return the MAPS rows of the classes that are drawn."""
    table, X = vectors.drawn.first()
    _, numbers = np.unique(np.asarray(table["label"].to_pylist(), object).astype(str), return_inverse=True)
    measured = {"purity": purity(X, numbers, k=config.maps.neighbours), "silhouette": silhouette(X, numbers)}
    columns = {name: pa.array(values, from_pandas=True) for name, values in measured.items()}
    return _placed(table, X, config, columns).select(MAPS.names).cast(MAPS)


def inner_maps(vectors: Vectors, config: VectorMapConfig) -> Iterator[pa.Table]:
    """Yield the CLASS_MAPS rows of each class that has a map of its own."""
    for label in config.maps.inside:
        table, X = vectors.inside.first(label)
        if not len(table):
            log.warning("report.maps.inside: no document of %r has a vector in %s; no map", label, config.vectors)
            continue
        cosine = {"cosine": pa.array((X @ vectors.mean(label)).astype(np.float64))}
        yield _placed(table, X, config, cosine).select(CLASS_MAPS.names).cast(CLASS_MAPS)


def _placed(table: pa.Table, X: np.ndarray, config: VectorMapConfig, more: Mapping[str, pa.Array]) -> pa.Table:
    """Return documents with their places on a map, and what is the same for all of it."""
    places, n = coordinates(X, seed=config.maps.seed), len(table)
    columns = {name: table[name] for name in table.column_names} | {"x": places[:, 0], "y": places[:, 1], **more}
    models = pa.array([list(config.models) or None] * n, pa.list_(pa.string()))
    fixed = {"vectors": pa.repeat(config.vectors, n), "models": models, "seed": pa.repeat(config.maps.seed, n)}
    return pa.table(columns | fixed)


def stage(
    node: ShardStage, documents: Ingest, maps: MapsConfig, predictions: Mapping[str, ShardStage] | None = None
) -> Summary:
    """Return the node of the map of a dataset of vectors, and of who is right where of the models with predictions."""
    kept = maps.model_copy(update={"embeddings": (), "hidden": ()})  # others are mapped by nodes of their own
    asked = dict(predictions or {})
    half = held_half(*asked.values())
    config = VectorMapConfig(vectors=node.column, maps=kept, models=tuple(asked), half=half)
    return Summary(
        role=ROLE, short=f"{node.role}-{node.short}", flow="evaluate", main=False, version=3, tables=tuple(TABLES),
        config=config, summarise=map_vectors, fits=fits_of((node, *asked.values())),
        reads=(
            Read(documents, ("status", "split", "labels")), Read(node, ("present", "embedding")),
            *(Read(one, ("label",)) for one in asked.values()),
        ),
        unseen=unseen_splits(maps.splits, half) if asked else (),
    )  # fmt: skip
