"""Models of a part of the labels: what they learn, and on which documents they are scored."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from fuseline.models.config import FrozenConfig
from fuseline.models.features import Block, Features
from fuseline.models.scoring import ragged
from fuseline.tasks.engine.nodes import Shards
from fuseline.tasks.splits import hashed


class LabelsConfig(FrozenConfig):
    """Which labels a model learns and is scored on: all but a part that is held out, or that part alone."""

    held_out: float = Field(gt=0, lt=1, description="Share of the labels that is held out, drawn by their names")
    new: bool = Field(False, description="Learn those that are held out, not the others")
    seed: int = Field(0, description="Seed of which labels those are")

    def kept(self, labels: pa.Array) -> pa.Array:
        """Return lists of labels (n,) list<string> without those that are not learned; what is null has none."""
        flat, rows = pc.list_flatten(labels), np.asarray(pc.list_parent_indices(labels)).astype(np.int64)
        names = pc.unique(flat)
        held = hashed(names, seed=self.seed) / 2.0**64 < self.held_out
        mask = (held == self.new)[np.asarray(pc.index_in(flat, names))]
        return ragged(np.bincount(rows[mask], minlength=len(labels)), flat.filter(pa.array(mask)))

    def __str__(self) -> str:
        part = "that are held out" if self.new else "that are not held out"
        return f"the labels {part} ({self.held_out:g} of all, seed {self.seed})"


@dataclass
class OfLabels:
    """Features whose documents carry a part of their labels; those that are left without any have none."""

    features: Features
    labels: LabelsConfig
    n_rows: int = field(init=False)  # with and without labels

    def __post_init__(self) -> None:
        self.n_rows = self.features.n_rows

    def blocks(self) -> Iterator[Block]:
        """Yield every block."""
        for block in self.features.blocks():
            yield replace(block, labels=self.labels.kept(block.labels))


def of_labels(shards: Shards, labels: LabelsConfig | None, *, place: int = 1) -> Shards:
    """Return shards whose documents, the table at `place`, carry a part of their labels alone; all of them for None."""
    if labels is None:
        return shards

    def kept() -> Iterator[list[pa.Table]]:
        for tables in shards():
            known = tables[place]
            at, own = known.schema.get_field_index("labels"), labels.kept(known["labels"].combine_chunks())
            known = known.set_column(at, known.schema.field(at), own.cast(known.schema.field(at).type))
            yield [*tables[:place], known, *tables[place + 1 :]]

    return kept
