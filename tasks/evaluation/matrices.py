"""Documents with what inputs had in the predictions of every model: the matrices of paper R (R-22)."""

import heapq
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from fuseline.models.config import FrozenConfig
from fuseline.models.detectors import DETECTORS
from fuseline.stores.dataset import check_ids
from fuseline.stores.importance_schemas import MATRICES
from fuseline.tasks.engine.images import DIGEST, ImageError, ImageLimits, decode, image_digests, open_image
from fuseline.tasks.engine.nodes import Context, Ingest, Read, Shards, ShardStage, Summary
from fuseline.tasks.evaluation.contact_sheet import ContactSheetConfig, marked_picture
from fuseline.tasks.evaluation.gallery import TEXT
from fuseline.tasks.stages.detect import DetectConfig

ROLE = "matrices"
SIDE = 220  # pixels of a picture


class MatricesConfig(FrozenConfig):
    """Which documents are shown."""

    models: tuple[str, ...]
    kinds: dict[str, str]  # detector -> what it finds
    split: str
    count: int
    seed: int = 0


class Chosen(NamedTuple):
    """One document; those with the largest `order` are shown."""

    order: tuple[int, int, str]
    row: dict[str, Any]


def matrices(shards: Shards, config: MatricesConfig, *, source: str) -> pa.Table:
    """Return MATRICES rows: documents of label after label, those first on which most detectors found something.

    Which of equal ones come first is drawn by a seeded hash of the id. Shards hold documents, clean text, then a table
    per detector and one per model, in the order of the configuration. Of every model the shares of one method are
    taken: own where elements are told, else left_out. Raises AlignmentError when ids differ.
    """
    kept, detectors = dict[str, list[Chosen]](), sorted(config.kinds)
    for documents, cleaned, *others in shards():
        for table in (cleaned, *others):
            check_ids(ROLE, documents["id"], table["id"])
        found = dict(zip(detectors, others[: len(detectors)], strict=True))
        told = dict(zip(config.models, others[len(detectors) :], strict=True))
        for one in _candidates(documents, cleaned, found, told, config):
            kept.setdefault(one.row["labels"][0], []).append(one)
        best = {label: heapq.nlargest(config.count, own) for label, own in kept.items()}
        kept = {label: best[label] for label in heapq.nlargest(config.count, best, key=lambda label: best[label][0])}
    turns = [own[turn : turn + 1] for turn in range(config.count) for own in kept.values()]
    rows = [_row(one.row, config, source) for one in [one for turn in turns for one in turn][: config.count]]
    return pa.Table.from_pylist(rows, schema=MATRICES)


def _candidates(
    documents: pa.Table, cleaned: pa.Table, found: Mapping[str, pa.Table], told: Mapping[str, pa.Table],
    config: MatricesConfig,
) -> Iterable[Chosen]:  # fmt: skip
    """Yield the best documents of a shard; chosen on the light columns first."""
    ours = pc.and_(pc.equal(documents["split"], config.split), pc.greater(pc.list_value_length(documents["labels"]), 0))
    usable = pc.fill_null(pc.and_(ours, pc.equal(documents["status"], "ok")), False)
    hits = {name: pc.greater(pc.list_value_length(table["elements"]), 0).to_pylist() for name, table in found.items()}
    orders = [
        (sum(bool(hit[row]) for hit in hits.values()), xxhash.xxh3_64_intdigest(name.encode(), seed=config.seed), row)
        for row, (name, good) in enumerate(zip(documents["id"].to_pylist(), usable.to_pylist(), strict=True))
        if good
    ]
    own = documents.select(["id", "labels", "image"]).append_column(DIGEST, image_digests(documents))
    labels, taken = pc.list_element(documents["labels"].filter(usable), 0).to_pylist(), Counter[str]()
    for label, (kinds, drawn_by, row) in sorted(
        zip(labels, orders, strict=True), key=lambda pair: pair[1], reverse=True
    ):
        taken[label] += 1
        if taken[label] > config.count:
            continue
        values: dict[str, Any] = own.slice(row, 1).to_pylist()[0]
        values["text"] = cleaned["text"][row].as_py()[:TEXT]
        values["found"] = {name: table["elements"][row].as_py() for name, table in found.items()}
        values["models"] = [_model(name, table.slice(row, 1).to_pylist()[0]) for name, table in told.items()]
        yield Chosen((kinds, drawn_by, values["id"]), values)


def _model(name: str, told: Mapping[str, Any]) -> dict[str, Any]:
    method = "left_out" if told["dead"] is None else "own"
    shares: dict[str, float] = {}
    for part in told["parts"]:
        if part["method"] == method:
            shares[part["input"]] = shares.get(part["input"], 0.0) + part["share"]
    listed = [{"input": one, "share": share} for one, share in sorted(shares.items())]
    return {"model": name, "label": told["label"], "method": method, "shares": listed}


def _row(values: Mapping[str, Any], config: MatricesConfig, source: str) -> dict[str, Any]:
    sheet = ContactSheetConfig(kinds=config.kinds, side=SIDE, count=1)
    lines = [one for name, kind in sorted(config.kinds.items()) if kind == "ocr" for one in values["found"][name]]
    try:
        data = open_image(values["image"], source, ImageLimits(), digest=values[DIGEST]) if values["image"] else None
        strong = {
            name: [element for element in rows if element["score"] >= sheet.min_score]
            for name, rows in values["found"].items()
        }
        pixels = None if data is None else decode(data, limits=ImageLimits(), min_side=SIDE)
        picture = None if pixels is None else marked_picture(pixels, strong, sheet)
    except ImageError:
        picture = None
    words = " ".join(str(one["text"]) for one in lines if one["text"])
    return {**{name: values[name] for name in ("id", "labels", "text", "models")}, "words": words, "picture": picture}


def summarise(shards: Shards, config: MatricesConfig, context: Context) -> dict[str, pa.Table]:
    """Return the table."""
    return {ROLE: matrices(shards, config, source=context.source)}


def stage(
    importances: Mapping[str, ShardStage], documents: Ingest, cleaned: ShardStage,
    detected: Mapping[str, tuple[ShardStage, DetectConfig]], *, split: str, count: int,
) -> Summary:  # fmt: skip
    """Return the node of the matrices of all models."""
    known = ("status", "labels", "split")
    kinds = {name: DETECTORS[spec.detector].finds for name, (_, spec) in detected.items()}
    config = MatricesConfig(models=tuple(sorted(importances)), kinds=kinds, split=split, count=count)
    return Summary(
        role=ROLE, short="models", flow="evaluate", main=False, version=1, config=config, tables=(ROLE,),
        reads=(
            Read(documents, (*known, "image"), (*known, "image_digest")), Read(cleaned, ("text",)),
            *(Read(detected[name][0], ("elements",)) for name in sorted(detected)),
            *(Read(importances[name], ("label", "dead", "parts")) for name in config.models),
        ),
        summarise=summarise,
    )  # fmt: skip
