"""Right and wrong examples with thumbnails, chosen deterministically."""

import io
from collections.abc import Iterable
from typing import Any, Literal, NamedTuple, cast

import pyarrow as pa
import pyarrow.compute as pc
import xxhash
from PIL import Image

from fuseline.models.config import FrozenConfig, added
from fuseline.stores.errors import AlignmentError, mismatch
from fuseline.stores.report_schemas import GALLERY
from fuseline.tasks.engine.images import (
    DIGEST,
    ImageError,
    ImageLimits,
    ImageReference,
    decode,
    image_digests,
    open_image,
)
from fuseline.tasks.engine.nodes import Context, Ingest, Read, Shards, ShardStage, Summary
from fuseline.tasks.evaluation.shard_streams import streams
from fuseline.tasks.label_parts import LabelsConfig, of_labels

Kind = Literal["right", "wrong", "confident_error"]
SIDE = 96  # pixels of a thumbnail's longest side
TEXT = 300  # characters of the text that are kept
ROLE = "gallery"


class GalleryConfig(FrozenConfig):
    """Which examples are shown: `count` right ones, as many wrong ones and confident errors of one split."""

    count: int
    seed: int
    split: str
    labels: LabelsConfig | None = added(None)  # that the model learns: documents of others alone are not shown


class Example(NamedTuple):
    """One example on its way into the gallery; sorts by `order`, smallest first."""

    order: float
    row: dict[str, object]


def gallery(
    predictions: Iterable[pa.Table],
    documents: Iterable[pa.Table],
    cleaned: Iterable[pa.Table],
    *,
    source: str,
    count: int,
    seed: int,
    split: str = "test",
    limits: ImageLimits | None = None,
) -> pa.Table:
    """Return GALLERY rows: up to `count` right ones, the `count` most confident errors, as many other wrong ones.

    The three streams yield the same shards in the same order. Right and wrong ones are chosen by a seeded hash of
    the id, so that new documents change the choice little. Thumbnails are WebP of at most 96 pixels; a picture that
    cannot be used leaves null. `source` is the folder or URL that image references start from. Raises AlignmentError
    when ids differ.
    """
    kept: dict[Kind, list[Example]] = {"right": [], "wrong": [], "confident_error": []}
    for guessed, known, text in zip(predictions, documents, cleaned, strict=True):
        joined = _joined(guessed, known, text, split)
        for kind, candidates in _candidates(joined, seed, 2 * count).items():
            kept[kind] = sorted([*kept[kind], *candidates], key=_order)[: 2 * count]
    errors = {candidate.row["id"] for candidate in kept["confident_error"][:count]}
    kept["wrong"] = [candidate for candidate in kept["wrong"] if candidate.row["id"] not in errors]
    limits = limits or ImageLimits()
    rows = [
        {**candidate.row, "kind": kind, "thumbnail": _thumbnail(candidate.row, source, limits)}
        for kind, chosen in kept.items()
        for candidate in chosen[:count]
    ]
    return pa.Table.from_pylist(rows, schema=GALLERY)


def thumbnail(
    image: object, source: str, *, limits: ImageLimits, side: int = SIDE, digest: str | None = None
) -> bytes | None:
    """Return WebP bytes of a document's image at most `side` pixels wide and high; None when it cannot be used.

    `digest` is what the documents hold of it: another picture is not shown in its place.
    """
    if not isinstance(image, dict):
        return None
    try:
        pixels = decode(
            open_image(cast(ImageReference, image), source, limits, digest=digest), limits=limits, min_side=side
        )
    except ImageError:
        return None
    small = Image.fromarray(pixels)
    small.thumbnail((side, side))
    out = io.BytesIO()
    small.save(out, "WEBP", quality=80)
    return out.getvalue()


def _joined(predictions: pa.Table, documents: pa.Table, cleaned: pa.Table, split: str) -> pa.Table:
    """Put the columns of one shard side by side; keep usable documents of the split that got a label."""
    for name, other in (("documents", documents), ("cleaned", cleaned)):
        if not predictions["id"].equals(other["id"]):
            expected, got = predictions["id"][:3].to_pylist(), other["id"][:3].to_pylist()
            raise AlignmentError(mismatch(f"ids of {name}", expected, got, "predict again on these documents"))
    joined = predictions.select(["id", "model", "label", "score", "top_k", "importance"])
    for name in ("labels", "split", "image"):
        joined = joined.append_column(name, documents[name])
    joined = joined.append_column(DIGEST, image_digests(documents))
    joined = joined.append_column("text", pc.utf8_slice_codeunits(cleaned["text"], 0, TEXT))
    usable = pc.and_(pc.equal(documents["status"], "ok"), pc.greater(pc.list_value_length(documents["labels"]), 0))
    usable = pc.and_(usable, pc.and_(pc.equal(documents["split"], split), pc.is_valid(predictions["label"])))
    return joined.filter(pc.fill_null(usable, False))


def _candidates(joined: pa.Table, seed: int, count: int) -> dict[Kind, list[Example]]:
    """Choose on the light columns first, so that pictures that were copied in are only touched when chosen."""
    orders: dict[Kind, dict[int, float]] = {"right": {}, "wrong": {}, "confident_error": {}}
    for number, row in enumerate(joined.select(["id", "label", "labels", "score"]).to_pylist()):
        drawn = xxhash.xxh3_64_intdigest(row["id"].encode(), seed=seed) / 2**64
        if row["label"] in row["labels"]:
            orders["right"][number] = drawn
        else:
            orders["wrong"][number] = drawn
            orders["confident_error"][number] = -row["score"]
    candidates: dict[Kind, list[Example]] = {}
    for kind, order in orders.items():
        best = sorted(order, key=order.__getitem__)[:count]
        rows = joined.take(pa.array(best, pa.int64())).to_pylist()
        candidates[kind] = [Example(order[number], row) for number, row in zip(best, rows, strict=True)]
    return candidates


def _thumbnail(row: dict[str, Any], source: str, limits: ImageLimits) -> bytes | None:
    return thumbnail(row["image"], source, limits=limits, digest=row[DIGEST])


def _order(candidate: Example) -> tuple[float, str]:
    return candidate.order, str(candidate.row["id"])


def choose_examples(shards: Shards, config: GalleryConfig, context: Context) -> dict[str, pa.Table]:
    """Return the gallery of one model."""
    parts, source = streams(of_labels(shards, config.labels), 3), context.source
    return {ROLE: gallery(*parts, source=source, count=config.count, seed=config.seed, split=config.split)}


def stage(name: str, config: GalleryConfig, predictions: ShardStage, documents: Ingest, cleaned: ShardStage) -> Summary:
    """Return the node of a model's right and wrong examples."""
    known = ("status", "labels", "split")
    return Summary(
        role=ROLE, short=name, flow="evaluate", main=False, version=1, config=config, tables=(ROLE,),
        reads=(
            Read(predictions, ("model", "label", "score", "top_k", "importance")),
            Read(documents, (*known, "image"), (*known, "image_digest")), Read(cleaned, ("text",)),
        ),
        summarise=choose_examples,
    )  # fmt: skip
