"""Documents by which of two models are right on them, and those of a class on which both disagree most."""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, Literal, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fuseline.models.config import FrozenConfig
from fuseline.stores.report_schemas import QUADRANT_GALLERY
from fuseline.tasks.engine.images import DIGEST, ImageLimits, image_digests
from fuseline.tasks.engine.nodes import Context, Ingest, Read, Shards, ShardStage, Summary, fits_of
from fuseline.tasks.evaluation.answers import answered, disagreement, right_models
from fuseline.tasks.evaluation.evaluate import held_half, of_half, scored_rows, unseen_splits
from fuseline.tasks.evaluation.gallery import TEXT, thumbnail
from fuseline.tasks.splits import hashed

ROLE = "quadrant_gallery"
CLASSES = 10  # the most frequent ones of the split
GUESSES = 3  # labels of each model that are shown (Zahavy et al. 2016, Figure 1)
Part = Literal["quadrant", "class"]


class QuadrantGalleryConfig(FrozenConfig):
    """Whose quadrants are shown, of which split, and how many documents of each quadrant and class."""

    models: tuple[str, str]
    split: str
    seed: int
    count: int
    of_class: int
    half: str | None = None  # that alone is shown of its split, as one of the models learns from the other


class Place(NamedTuple):
    """A document on its way into the gallery; sorts by `order`, smallest first."""

    order: float
    drawn: int  # hash of its id, which decides between equal ones
    shard: int
    row: int
    right: tuple[str, ...]
    disagreement: float


Chosen = dict[tuple[Part, Any], list[Place]]


def quadrant_gallery(shards: Shards, config: QuadrantGalleryConfig, *, source: str) -> pa.Table:
    """Return QUADRANT_GALLERY rows: of each quadrant a draw, of frequent classes those that are disagreed on most.

    Shards are looked at twice: pictures and texts are only touched of the documents that were chosen.
    """
    chosen = choose(shards, config)
    at = {(one.shard, one.row) for places in chosen.values() for one in places}
    shown = dict(_shown(shards, at, source))
    rows = []
    for (part, of), places in chosen.items():
        for place, one in enumerate(places, 1):
            fixed = {"models": config.models, "split": config.split, "part": part, "place": place}
            own = {"label": of if part == "class" else None, "right": one.right, "disagreement": one.disagreement}
            rows.append({**fixed, **own, **shown[one.shard, one.row]})
    return pa.Table.from_pylist(rows, schema=QUADRANT_GALLERY)


def choose(shards: Shards, config: QuadrantGalleryConfig) -> Chosen:
    """Return the documents of each quadrant and of each class that is shown, the first of them first."""
    kept, sizes = Chosen(), Counter[str]()
    for shard, (documents, _, *answers) in enumerate(of_half(shards, config.half, place=0)()):
        ((_, mask),) = scored_rows(documents, (config.split,))
        rows = np.flatnonzero(np.asarray(mask))
        right, best = answered(documents, answers)
        both = np.logical_and(*(np.asarray(one.is_valid()) for one in best))
        apart = disagreement(*(guessed["top_k"].combine_chunks() for guessed in answers))
        drawn = hashed(documents["id"].combine_chunks(), seed=config.seed)
        names = right_models(right, config.models).to_pylist()
        labels = pc.list_element(documents["labels"].combine_chunks().filter(mask.combine_chunks()), 0).to_pylist()
        sizes.update(labels)
        for row, label in zip(rows.tolist(), labels, strict=True):
            one = Place(int(drawn[row]), int(drawn[row]), shard, row, tuple(names[row]), float(apart[row]))
            kept.setdefault(("quadrant", one.right), []).append(one)
            if both[row]:
                kept.setdefault(("class", label), []).append(one._replace(order=-one.disagreement))
        most = {"quadrant": config.count, "class": config.of_class}
        kept = {key: sorted(places)[: most[key[0]]] for key, places in kept.items()}
    frequent = sorted(sizes, key=lambda label: (-sizes[label], label))[:CLASSES]
    return {key: places for key, places in kept.items() if key[0] == "quadrant" or key[1] in frequent}


def _shown(shards: Shards, at: set[tuple[int, int]], source: str) -> Iterator[tuple[tuple[int, int], dict[str, Any]]]:
    """Yield what is shown of documents, by shard and row."""
    limits = ImageLimits()
    for shard, (documents, cleaned, *answers) in enumerate(shards()):
        rows = sorted(row for of, row in at if of == shard)
        taken = pa.array(rows, pa.int64())
        columns = {name: documents[name] for name in ("id", "labels", "image")} | {DIGEST: image_digests(documents)}
        known = pa.table(columns).take(taken).to_pylist()
        texts = pc.utf8_slice_codeunits(cleaned["text"].take(taken), 0, TEXT).to_pylist()
        tops = zip(*(guessed["top_k"].take(taken).to_pylist() for guessed in answers), strict=True)
        for row, one, text, own in zip(rows, known, texts, tops, strict=True):
            picture = thumbnail(one["image"], source, limits=limits, digest=one[DIGEST])
            guesses = [top[:GUESSES] for top in own]
            yield (shard, row), {
                "id": one["id"], "labels": one["labels"], "text": text, "answers": guesses, "thumbnail": picture,
            }  # fmt: skip


def show_quadrants(shards: Shards, config: QuadrantGalleryConfig, context: Context) -> dict[str, pa.Table]:
    """Return the gallery of two models."""
    return {ROLE: quadrant_gallery(shards, config, source=context.source)}


def stage(
    predictions: Mapping[str, ShardStage], documents: Ingest, cleaned: ShardStage, *, count: int, seed: int, split: str
) -> Summary:
    """Return the node of the gallery of two models, by their predictions."""
    first, second = predictions
    known, half = ("status", "labels", "split"), held_half(*predictions.values())
    config = QuadrantGalleryConfig(
        models=(first, second), split=split, seed=seed, count=count, of_class=-(-count // 2), half=half
    )
    return Summary(
        role=ROLE, short="models", flow="evaluate", main=False, version=1, config=config, tables=(ROLE,),
        summarise=show_quadrants, fits=fits_of(predictions.values()),
        reads=(
            Read(documents, (*known, "image"), (*known, "image_digest")), Read(cleaned, ("text",)),
            *(Read(one, ("label", "top_k")) for one in predictions.values()),
        ),
        unseen=unseen_splits((split,), half),
    )  # fmt: skip
