"""Predictions -> what inputs and single elements had in them: one schema for all models (R-21)."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Literal, NamedTuple, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic import Field

from fuseline.models.attribution import left_out, times_gradient
from fuseline.models.config import FrozenConfig
from fuseline.models.element_shares import ElementValues
from fuseline.models.features import Classifier, inputs_of
from fuseline.models.panel import PanelClassifier, branch_name
from fuseline.models.scoring import ragged
from fuseline.stores.importance_schemas import IMPORTANCES, PART
from fuseline.tasks.engine.nodes import Context, Fit, Node, Read, ShardStage
from fuseline.tasks.engine.shard_features import block_of
from fuseline.tasks.stages.crops import CropEmbedConfig, chosen
from fuseline.tasks.stages.embed_indices import IndexEmbedConfig
from fuseline.tasks.stages.predict import load_classifier
from fuseline.tasks.stages.train import ModelConfig, Readable

Method = Literal["own", "left_out", "gradient"]
ROLE = "importances"
F32 = NDArray[np.float32]
Places = NDArray[np.int64]


class ImportanceConfig(FrozenConfig):
    """How what inputs had in predictions is told."""

    methods: tuple[Method, ...] = Field(
        ("own", "left_out", "gradient"),
        min_length=1,
        description="own: what the model tells; left_out: without one input; gradient: of networks, times the input",
    )


class ExplainConfig(FrozenConfig):
    """Whose predictions are explained, and how."""

    model: str
    kind: str
    methods: tuple[Method, ...]


class Part(NamedTuple):
    """What one input had by one method: a number per element, or per document."""

    method: str
    name: str  # of the dataset, or what the model calls it
    rows: Places  # (m,) of the documents
    elements: Places  # (m,) place in the input's own list; -1: the whole input
    values: F32  # (m,)


class Found(NamedTuple):
    """What a detector found, and which of it the elements of an input are."""

    places: pa.ListArray  # (n,) list<int32>: place in `elements` of each element of the input
    elements: pa.ListArray  # (n,) of DETECTIONS


def explain(tables: list[pa.Table], config: ExplainConfig, context: Context) -> pa.Table:
    """Return one IMPORTANCES row per document; one that has nothing the model reads has no part."""
    reads = context.reads
    predictions = tables[_place(reads, "element_shares")]
    ((_, saved),) = context.checkpoints.items()
    classifier = load_classifier(config.kind, saved)
    names = {name: place for place, name in enumerate(classifier.labels)}
    best = np.array([names.get(label, -1) for label in predictions["label"].to_pylist()], np.int64)
    seen = np.flatnonzero(best >= 0)
    inputs = [place for place, read in enumerate(reads) if not {*read.columns} & {"elements", "element_shares"}]
    block = block_of([reads[place] for place in inputs], [tables[place] for place in inputs]).at(seen)
    parts = list[Part]()
    told = predictions["element_shares"].combine_chunks()
    if "own" in config.methods:
        shares = predictions["importance"].combine_chunks()
        parts += _own(told) if len(told.values) else _terms(shares, _datasets(classifier))
    if "left_out" in config.methods:
        parts += _by_document("left_out", left_out(classifier, block, best[seen]), seen)
    if "gradient" in config.methods:
        parts += _by_document("gradient", times_gradient(classifier, block, best[seen]), seen)
    columns = {
        "id": predictions["id"].combine_chunks(),
        "model": pa.array([config.model] * len(predictions), pa.string()),
        "label": predictions["label"].combine_chunks(),
        "dead": _dead(told),
        "parts": part_lists(parts, len(predictions), found_of(reads, tables), _modalities(reads)),
    }
    return pa.Table.from_arrays([columns[name] for name in IMPORTANCES.names], schema=IMPORTANCES)


def part_lists(
    parts: Sequence[Part], n: int, found: dict[str, Found], modalities: dict[str, str | None]
) -> pa.ListArray:
    """Return the column `parts` of n documents: method after method, input after input, elements in their order.

    found: of the inputs whose elements a detector found; modalities: of the inputs that are datasets.
    """
    flat = [_structs(part, found.get(part.name), modalities.get(part.name), _shares(parts, part, n)) for part in parts]
    structs = pa.concat_arrays([pa.array([], PART), *flat])
    rows = np.concatenate([np.zeros(0, np.int64), *(part.rows for part in parts)])
    order = np.argsort(rows, kind="stable")
    return ragged(np.bincount(rows, minlength=n), structs.take(pa.array(order)))


def _shares(parts: Sequence[Part], part: Part, n: int) -> F32:
    """Return the share of each value among all that its method gives its document."""
    totals = np.zeros(n)
    for one in parts:
        if one.method == part.method:
            totals += np.bincount(one.rows, weights=_weight(one), minlength=n)
    totals[totals == 0] = 1
    return np.asarray(_weight(part) / totals[part.rows], np.float32)


def _weight(part: Part) -> F32:
    return np.maximum(part.values, 0) if part.method == "left_out" else np.abs(part.values)


def _structs(part: Part, found: Found | None, modality: str | None, shares: F32) -> pa.StructArray:
    m, whole = len(part.rows), part.elements < 0
    places, boxes, said = part.elements, pa.nulls(m, PART.field("box").type), pa.nulls(m, pa.string())
    if found is not None and not whole.all():
        starts = np.asarray(found.places.offsets)[:-1].astype(np.int64)
        places = np.asarray(found.places.values)[(starts[part.rows] + part.elements)].astype(np.int64)
        at = np.asarray(found.elements.offsets)[:-1].astype(np.int64)[part.rows] + places
        own = found.elements.values.take(pa.array(at))
        boxes = own.field("box").cast(PART.field("box").type)
        said = pc.coalesce(own.field("text"), own.field("label"))
    columns = [
        pa.array([part.method] * m, pa.string()),
        pa.array([part.name] * m, pa.string()),
        pa.array([modality] * m, pa.string()),
        pa.array(places, pa.int32(), mask=whole),
        boxes,
        said,
        pa.array(part.values, pa.float32()),
        pa.array(shares, pa.float32()),
    ]
    return pa.StructArray.from_arrays(columns, fields=list(PART))


def _own(told: pa.ListArray) -> Iterator[Part]:
    """Yield what a model told of single elements, in the column `element_shares` of predictions."""
    rows = np.asarray(pc.list_parent_indices(told)).astype(np.int64)
    flat = pc.list_flatten(told)
    names, values = (np.asarray(flat.field(field)) for field in ("input", "share"))
    elements = np.asarray(pc.fill_null(flat.field("element"), -1))
    for name in sorted(set(names.tolist())):
        own = names == name
        yield Part("own", name, rows[own], elements[own].astype(np.int64), values[own].astype(np.float32))


def _terms(told: pa.ListArray, named: dict[str, str]) -> Iterator[Part]:
    """Yield what a model told of modalities, in the column `importance` of predictions; `named` are datasets."""
    rows = np.asarray(pc.list_parent_indices(told)).astype(np.int64)
    flat = pc.list_flatten(told)
    names, values = np.asarray(flat.field("modality")), np.asarray(flat.field("share")).astype(np.float32)
    for name in sorted(set(names.tolist())):
        own = names == name
        yield Part("own", named.get(name, name), rows[own], np.full(int(own.sum()), -1), values[own])


def _datasets(classifier: Classifier) -> dict[str, str]:
    """Return what a network calls its inputs -> their datasets; {} for other classifiers, which name modalities."""
    inputs = inputs_of(type(classifier), classifier.config) if isinstance(classifier, PanelClassifier) else ()
    return {branch_name(one): one.name for one in inputs}


def _by_document(method: str, found: dict[str, ElementValues], seen: Places) -> Iterator[Part]:
    """Yield what was computed for the documents `seen` (k,) as parts of all documents."""
    for name, one in sorted(found.items()):
        elements = np.full(len(one.values), -1) if one.whole else one.places
        yield Part(method, name, np.repeat(seen, one.lengths), elements, one.values)


def _dead(told: pa.ListArray) -> pa.Array:
    sums = np.zeros(len(told))
    np.add.at(
        sums, np.asarray(pc.list_parent_indices(told)).astype(np.int64), np.asarray(told.flatten().field("share"))
    )
    empty = np.asarray(pc.equal(pc.list_value_length(told), 0))
    return pa.array(np.clip(1 - sums, 0, 1), pa.float32(), mask=empty)


def found_of(reads: Sequence[Read], tables: Sequence[pa.Table]) -> dict[str, Found]:
    """Return what detectors found, of the inputs whose elements are finds."""
    by_node = {read.node.name: table for read, table in zip(reads, tables, strict=True)}
    found = dict[str, Found]()
    for node in (read.node for read in reads):
        detector = detector_of(node)
        if detector is None or detector.name not in by_node:
            continue
        elements = by_node[detector.name]["elements"].combine_chunks()
        if isinstance(node.config, CropEmbedConfig):
            places = by_node[node.name]["element"].combine_chunks()
        else:
            places = _looked_up(elements, cast(IndexEmbedConfig, node.config))
        found[node.column] = Found(places, elements)
    return found


def _looked_up(elements: pa.ListArray, config: IndexEmbedConfig) -> pa.ListArray:
    """Return the places of the elements whose labels are looked up."""
    rows = (chosen(row, min_score=config.min_score, limit=config.limit) for row in elements.to_pylist())
    return pa.array(list(rows), pa.list_(pa.int32()))


def detector_of(node: Node) -> Node | None:
    """Return the detector whose finds are the elements of a dataset, None for any other dataset."""
    if isinstance(node.config, CropEmbedConfig):
        return node.reads[1].node
    if isinstance(node.config, IndexEmbedConfig) and node.config.field == "labels":
        return node.reads[0].node
    return None


def _place(reads: Sequence[Read], column: str) -> int:
    return next(place for place, read in enumerate(reads) if column in read.columns)


def _modalities(reads: Sequence[Read]) -> dict[str, str | None]:
    return {read.node.column: read.node.feature.modality or None for read in reads if read.node.feature is not None}


def stage(
    name: str, spec: ModelConfig, sources: Readable, fit: Fit, predictions: ShardStage, methods: tuple[Method, ...]
) -> ShardStage:
    """Return the node of what inputs had in a model's predictions."""
    reads = [
        replace(read, columns=(*read.columns, "element")) if isinstance(read.node.config, CropEmbedConfig) else read
        for read in sources.reads(spec, "labels")
    ]
    detectors = {one.name: one for read in reads if (one := detector_of(read.node)) is not None}
    return ShardStage(
        role=ROLE, short=name, flow="evaluate", main=False, version=1, transform=explain, fits=(fit,),
        config=ExplainConfig(model=name, kind=spec.kind, methods=methods),
        reads=(
            *reads,
            *(Read(node, ("elements",)) for _, node in sorted(detectors.items())),
            Read(predictions, ("label", "importance", "element_shares")),
        ),
    )  # fmt: skip
