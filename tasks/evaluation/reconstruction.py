"""How well learnt codes hold their inputs: the error of what is decoded of them, split by split (paper P, Table 2)."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fuseline.models.config import FrozenConfig
from fuseline.models.encoders.autoencoder import Autoencoder
from fuseline.stores.score_schemas import RECONSTRUCTIONS
from fuseline.tasks.engine.cache import loaded
from fuseline.tasks.engine.nodes import Context, Ingest, Read, Shards, ShardStage, Summary
from fuseline.tasks.engine.shard_features import block_of

ROLE = "reconstructions"


class ReconstructionConfig(FrozenConfig):
    """The stage whose codes are looked at, and the splits."""

    stage: str
    splits: tuple[str, ...]


def decode(shards: Shards, config: ReconstructionConfig, context: Context) -> dict[str, pa.Table]:
    """Return RECONSTRUCTIONS rows: of every split and input, over the documents that have the input."""
    (saved,) = context.checkpoints.values()
    encoder = loaded(Autoencoder.load, saved)
    sums: dict[tuple[str, str], np.ndarray] = {}
    for tables in shards():
        block = block_of(context.reads, tables)
        for split in config.splits:
            rows = np.flatnonzero(np.asarray(pc.fill_null(pc.equal(tables[0]["split"], split), False)))
            for name, total in encoder.error_sums(block.at(rows)).items():
                sums[split, name] = sums.get((split, name), np.zeros(3)) + total
    found = [
        {
            "codes": config.stage, "split": split, "input": name, "inputs": sorted(encoder.sizes), "documents": int(n),
            "mse": error / n if n else None, "mean_mse": spread / n if n else None,
        }
        for (split, name), (n, error, spread) in sums.items()
    ]  # fmt: skip
    return {ROLE: pa.Table.from_pylist(found, schema=RECONSTRUCTIONS)}


def stage(node: ShardStage, documents: Ingest, splits: tuple[str, ...]) -> Summary:
    """Return the node that tells of the codes of a stage `learned`; it reads what the stage reads."""
    return Summary(
        role=ROLE, short=node.short, flow="evaluate", main=False, version=1, tables=(ROLE,), fits=node.fits,
        config=ReconstructionConfig(stage=node.short, splits=splits), summarise=decode,
        reads=(Read(documents, ("split",)), *node.reads[1:]),
    )  # fmt: skip
