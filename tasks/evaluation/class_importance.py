"""What each input had on average, in all predictions of a split and in those of every label (R-21)."""

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from fuseline.models.config import FrozenConfig
from fuseline.stores.importance_schemas import CLASS_IMPORTANCE
from fuseline.tasks.engine.nodes import Context, Ingest, Read, Shards, ShardStage, Summary
from fuseline.tasks.evaluation.evaluate import check_ids

ROLE = "class_importance"


class ClassImportanceConfig(FrozenConfig):
    """Whose predictions, of which splits."""

    model: str
    splits: tuple[str, ...]


class Key(NamedTuple):
    """One row of the result, but its numbers."""

    split: str
    label: str | None
    method: str
    input: str | None


def class_importance(shards: Shards, config: ClassImportanceConfig) -> pa.Table:
    """Return CLASS_IMPORTANCE rows, and the mean share of dead dimensions; documents without a prediction are left out.

    Raises AlignmentError when the ids of a shard differ.
    """
    sums, counts = defaultdict[Key, float](float), defaultdict[tuple[str, str | None], int](int)
    for told, known in shards():
        check_ids(told, known)
        for split in config.splits:
            rows = pc.fill_null(pc.and_(pc.equal(known["split"], split), pc.is_valid(told["label"])), False)
            own = told.filter(rows)
            for label, n in _counted(own["label"]):
                counts[split, label] += n
                counts[split, None] += n
            for key, share in _summed(own, split):
                sums[key] += share
                sums[key._replace(label=None)] += share
    found = []
    for key in sorted(sums, key=lambda key: [(part is not None, part or "") for part in key]):  # None first
        n = counts[key.split, key.label]
        found.append({"model": config.model, **key._asdict(), "share": sums[key] / n, "n": n})
    return pa.Table.from_pylist(found, schema=CLASS_IMPORTANCE)


def _counted(labels: pa.ChunkedArray) -> Sequence[tuple[str, int]]:
    found = labels.combine_chunks().value_counts()
    return list(zip(found.field("values").to_pylist(), found.field("counts").to_pylist(), strict=True))


def _summed(told: pa.Table, split: str) -> list[tuple[Key, float]]:
    """Return the sums of shares by label, method and input, and those of dead dimensions by label."""
    parts, labels = told["parts"].combine_chunks(), told["label"].combine_chunks()
    flat = pc.list_flatten(parts)
    table = pa.table(
        {
            "label": labels.take(pc.list_parent_indices(parts)),
            **{name: flat.field(name) for name in ("method", "input", "share")},
        }
    )
    summed = table.group_by(["label", "method", "input"]).aggregate([("share", "sum")]).to_pylist()
    found = [(Key(split, row["label"], row["method"], row["input"]), float(row["share_sum"])) for row in summed]
    dead = pa.table({"label": labels, "dead": told["dead"]}).filter(pc.is_valid(told["dead"]))
    gone = dead.group_by("label").aggregate([("dead", "sum")]).to_pylist()
    return [*found, *((Key(split, row["label"], "own", None), float(row["dead_sum"])) for row in gone)]


def summarise(shards: Shards, config: ClassImportanceConfig, context: Context) -> dict[str, pa.Table]:
    """Return the table of one model."""
    return {ROLE: class_importance(shards, config)}


def stage(name: str, importances: ShardStage, documents: Ingest, *, splits: tuple[str, ...]) -> Summary:
    """Return the node of what inputs had on average in a model's predictions."""
    return Summary(
        role=ROLE, short=name, flow="evaluate", main=False, version=1, tables=(ROLE,), summarise=summarise,
        config=ClassImportanceConfig(model=name, splits=splits),
        reads=(Read(importances, ("label", "dead", "parts")), Read(documents, ("split",))),
    )  # fmt: skip
