"""Embeddings as lists of numbers in Parquet, for analysts who read SQL rather than Zarr."""

import pyarrow as pa
import pyarrow.compute as pc

from fuseline.models.config import FrozenConfig
from fuseline.stores.schemas import VECTORS
from fuseline.tasks.engine.nodes import Context, Read, ShardStage


class VectorsConfig(FrozenConfig):
    """No options."""


def export_vectors(tables: list[pa.Table], config: VectorsConfig, context: Context) -> pa.Table:
    """Return one shard of embeddings in the VECTORS schema: float32, null where a document has none."""
    (table,) = tables
    lists = table["embedding"].cast(VECTORS.field("embedding").type)
    vectors = pc.if_else(table["present"], lists, pa.scalar(None, lists.type))
    return pa.table([table["id"], table["present"], vectors], schema=VECTORS)


ROLE = "vectors"


def stage(name: str, embedded: ShardStage) -> ShardStage:
    """Return the node of the Parquet copy of an embedding."""
    return ShardStage(
        role=ROLE, short=name, flow="evaluate", main=False, version=1, config=VectorsConfig(),
        reads=(Read(embedded, ("present", "embedding")),), transform=export_vectors,
    )  # fmt: skip
