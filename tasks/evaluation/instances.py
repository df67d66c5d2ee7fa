"""Single documents as every model saw them, with all that is known of them (paper P, Figure 1)."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from fuseline.models.config import FrozenConfig
from fuseline.stores.report_schemas import INSTANCES
from fuseline.tasks.engine.images import DIGEST, ImageLimits, image_digests
from fuseline.tasks.engine.nodes import Context, Ingest, Read, Shards, ShardStage, Summary, fits_of
from fuseline.tasks.evaluation.gallery import TEXT, thumbnail
from fuseline.tasks.splits import hashed

ROLE = "instances"
SIDE = 160  # pixels of a picture's longest side
COLUMNS = ("num_*", "cat_*")


class InstancesConfig(FrozenConfig):
    """Which documents are shown."""

    count: int = Field(0, ge=0, le=100, description="Documents drawn of the report's split, beside those named")
    ids: tuple[str, ...] = Field((), max_length=100, description="Documents to show, whatever their split")


class ShownConfig(FrozenConfig):
    """Which documents of a split are shown, as which models saw them."""

    instances: InstancesConfig
    models: tuple[str, ...]
    split: str
    seed: int


def choose(shards: Shards, config: ShownConfig) -> list[tuple[int, int]]:
    """Return (shard, row) of the documents: those named in their order, then those drawn by a seeded hash."""
    named: dict[str, tuple[int, int]] = {}
    drawn: list[tuple[int, tuple[int, int]]] = []
    wanted, count = set(config.instances.ids), config.instances.count
    for shard, (documents, *_) in enumerate(shards()):
        ids = documents["id"].combine_chunks()
        for row in np.flatnonzero(np.asarray(pc.is_in(ids, value_set=pa.array(sorted(wanted), ids.type)))):
            named[ids[row].as_py()] = shard, int(row)
        usable = pc.and_(pc.equal(documents["status"], "ok"), pc.equal(documents["split"], config.split))
        labelled = pc.and_(usable, pc.greater(pc.list_value_length(documents["labels"]), 0))
        rows = np.flatnonzero(np.asarray(pc.fill_null(labelled, False)))
        numbers = hashed(ids.take(pa.array(rows)), seed=config.seed)
        drawn += [(int(number), (shard, int(row))) for number, row in zip(numbers, rows, strict=True)]
        drawn = sorted(drawn)[: count + len(wanted)]
    chosen = [named[name] for name in config.instances.ids if name in named]
    return chosen + [place for _, place in drawn if place not in chosen][:count]


def show(shards: Shards, config: ShownConfig, context: Context) -> dict[str, pa.Table]:
    """Return INSTANCES rows; shards are looked at twice, pictures only of the documents that are shown."""
    chosen = choose(shards, config)
    shown = dict(_shown(shards, set(chosen), config.models, context.source))
    rows = [{"place": place, "split": config.split, **shown[at]} for place, at in enumerate(chosen, 1)]
    return {ROLE: pa.Table.from_pylist(rows, schema=INSTANCES)}


def _shown(
    shards: Shards, at: set[tuple[int, int]], models: tuple[str, ...], source: str
) -> Iterator[tuple[tuple[int, int], dict[str, Any]]]:
    """Yield what is shown of documents, by shard and row."""
    limits = ImageLimits()
    for shard, (documents, cleaned, *answers) in enumerate(shards()):
        rows = sorted(row for of, row in at if of == shard)
        taken = pa.array(rows, pa.int64())
        digests = documents.append_column(DIGEST, image_digests(documents)) if rows else documents
        known = digests.take(taken).to_pylist()
        texts = pc.utf8_slice_codeunits(cleaned["text"].take(taken), 0, TEXT).to_pylist()
        guesses = [guessed.select(["label", "score", "importance"]).take(taken).to_pylist() for guessed in answers]
        for number, (row, one, text) in enumerate(zip(rows, known, texts, strict=True)):
            own = [{"model": model, **guess[number]} for model, guess in zip(models, guesses, strict=True)]
            yield (shard, row), {
                "id": one["id"], "labels": one["labels"], "title": one["title"], "text": text,
                "fields": list(_fields(one)), "answers": own,
                "picture": thumbnail(one["image"], source, limits=limits, side=SIDE, digest=one[DIGEST]),
            }  # fmt: skip


def _fields(document: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    """Yield the known values of table columns."""
    for name, value in document.items():
        if name.startswith(("num_", "cat_")) and value is not None:
            text = f"{value:.6g}" if isinstance(value, float) else str(value)
            yield {"name": name[len("num_") :], "value": text}


def stage(
    predictions: Mapping[str, ShardStage], documents: Ingest, cleaned: ShardStage, instances: InstancesConfig,
    *, seed: int, split: str,
) -> Summary:  # fmt: skip
    """Return the node of the documents that are shown as all models saw them."""
    known = ("status", "labels", "split", "title", *COLUMNS)
    return Summary(
        role=ROLE, short="shown", flow="evaluate", main=False, version=1, tables=(ROLE,), summarise=show,
        config=ShownConfig(instances=instances, models=tuple(predictions), split=split, seed=seed),
        reads=(
            Read(documents, (*known, "image"), (*known, "image_digest")), Read(cleaned, ("text",)),
            *(Read(one, ("label", "score", "importance")) for one in predictions.values()),
        ),
        fits=fits_of(predictions.values()),
    )  # fmt: skip
