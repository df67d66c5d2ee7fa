"""How far the estimates of a regression lie from the numbers themselves, split by split."""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fuseline.models.config import FrozenConfig
from fuseline.models.metrics.errors import Errors
from fuseline.models.regression import Transform, encoded
from fuseline.plain import number
from fuseline.stores.value_schemas import ERRORS
from fuseline.tasks.engine.nodes import Context, Ingest, Read, Shards, ShardStage, Summary
from fuseline.tasks.evaluation.evaluate import check_ids, unseen_splits
from fuseline.tasks.stages.regression import RegressionConfig

ROLE = "value_errors"


class ErrorsConfig(FrozenConfig):
    """Whose errors, of which column, and on which splits."""

    model: str
    target: str
    transform: Transform
    splits: tuple[str, ...]


def measure(shards: Shards, config: ErrorsConfig, context: Context) -> dict[str, pa.Table]:
    """Return ERRORS rows: on the scale of the source, and on that which is learnt where it is another."""
    (facts,) = context.facts.values()
    origin = number(facts["origin"])
    scales: dict[str, Transform] = {"unit": "none"}
    if config.transform != "none":
        scales[config.transform] = config.transform
    sums: dict[tuple[str, str], Errors] = {}
    unread: dict[str, int] = {}
    for documents, answers in shards():
        check_ids(answers, documents)
        usable = np.asarray(pc.equal(documents["status"], "ok"))
        truth, estimates = (answers[name].combine_chunks() for name in ("target", "estimate"))
        has, said = np.asarray(truth.is_valid()) & usable, np.asarray(estimates.is_valid())
        for split in config.splits:
            mine = has & np.asarray(pc.fill_null(pc.equal(documents["split"], split), False))
            unread[split] = unread.get(split, 0) + int((mine & ~said).sum())
            rows = pa.array(mine & said)
            for scale, transform in scales.items():
                y, x = (encoded(np.asarray(one.filter(rows), np.float64), transform) for one in (truth, estimates))
                own = Errors.of(y, x, origin=float(encoded(np.array(origin), transform)))
                sums[split, scale] = sums.get((split, scale), Errors()).plus(own)
    fixed = {"model": config.model, "target": config.target}
    return {ROLE: pa.Table.from_pylist(
        [{**fixed, "split": split, "scale": scale, "no_input": unread[split], **_values(one)}
         for (split, scale), one in sums.items() if one.n],
        schema=ERRORS,
    )}  # fmt: skip


def _values(one: Errors) -> dict[str, Any]:
    return {name: getattr(one, name) for name in ("n", "mae", "rmse", "r2", "constant_mae")}


def stage(
    name: str, config: RegressionConfig, estimates: ShardStage, documents: Ingest, *, splits: tuple[str, ...]
) -> Summary:
    """Return the node of a regression's errors."""
    asked = ErrorsConfig(model=name, target=config.target, transform=config.transform, splits=splits)
    return Summary(
        role=ROLE, short=name, flow="evaluate", main=False, version=1, tables=(ROLE,), config=asked,
        reads=(Read(documents, ("status", "split")), Read(estimates, ("target", "estimate"))), fits=estimates.fits,
        summarise=measure, unseen=unseen_splits(splits, None),
    )  # fmt: skip
