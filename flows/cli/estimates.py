"""What a first run may take: rough rates, times the number of documents."""

from collections.abc import Iterator
from typing import NamedTuple

from fuseline.flows.config import Config
from fuseline.flows.graph import build
from fuseline.models.columns import Codes, Dense, Text
from fuseline.models.encoders import ENCODERS
from fuseline.models.fasttext.config import FastTextConfig
from fuseline.tasks.engine.nodes import Fit, Node, ShardStage
from fuseline.tasks.stages import train
from fuseline.tasks.stages.train import ModelConfig

CORES = 2
# Documents per second and worker; of `train`, per second and model that is not of the fastText family. Those of
# networks were measured on two cores without GPU; others are rounded down, BYTES are assumed.
RATES = {
    "ingest": 3000.0, "clean": 1500.0, "embed": 1500.0, "quantize": 3000.0, "train": 1000.0, "predict": 4000.0,
    "evaluate": 8000.0,
}  # fmt: skip
IMAGES, TEXTS = 38.0, 110.0  # of a network over images, or over texts
BYTES = {"ingest": 200, "clean": 150, "embed": 4000, "quantize": 20, "predict": 80, "evaluate": 20}  # per document
MODEL = 10 << 20  # bytes of a fitted model
START, DATASET = 8.0, 0.35  # seconds: of processes and their imports, and of any dataset, however small

# Of a fit that chooses its options, counted in 20 fits on five sets: how many trials on all documents its trials come
# to, what options multiply on average (epochs times numbers per word vector), and by what subwords and word pairs
# multiply words. A trial that multiplies much more than DEAR is not made.
TRIALS = {3000: 47, 10_000: 36, 50_000: 26}  # up to so many training documents
TRIALS_OF_MANY = 12
EPOCHS, DIM, WORDS = 20, 57, 4
DEAR, DEAR_SHARE = 8e8, 0.15
CHOOSING = 50_000  # documents that choose, at most
TRAINED = 0.8  # share of the documents
MULTIPLIED = 1e9  # numbers per second and core
DENSE, TOKENS = 1280, 4  # numbers of an embedding, visual tokens of a document


class Extent(NamedTuple):
    """What is known of a source."""

    documents: int
    images: int
    labelled: float = 1.0  # share of the documents that have a label
    words: float = 20.0  # of a document
    labels: int = 100  # different ones


class Estimate(NamedTuple):
    """What the stages of one kind may take."""

    stage: str
    datasets: int
    seconds: float
    size: int  # bytes on disk


def estimates(config: Config, extent: Extent) -> list[Estimate]:
    """Return an estimate per kind of stage, in the order in which they run; before them that of starting at all."""
    flows: dict[str, list[Node]] = {}
    for node in build(config):
        if node.flow in RATES:
            flows.setdefault(node.flow, []).append(node)
    return [
        Estimate("start", 0, START, 0),
        *(
            Estimate(
                flow,
                len(nodes),
                sum(DATASET + _seconds(node, config, extent) for node in nodes),
                sum(_size(node, extent.documents, extent.images) for node in nodes),
            )
            for flow, nodes in flows.items()
        ),
    ]


def _seconds(node: Node, config: Config, extent: Extent) -> float:
    documents, images = extent.documents, extent.images
    if isinstance(node, Fit) and node.role == train.ROLE:
        return _training(config.models[node.short], extent)
    embed = config.embed.get(node.short) if node.flow == "embed" and isinstance(node, ShardStage) else None
    if embed is not None and (modality := ENCODERS[embed.encoder].modality) in ("image", "text"):
        return (images / IMAGES if modality == "image" else documents / TEXTS) / config.run.workers
    workers = config.run.workers if isinstance(node, ShardStage) else 1
    return documents / RATES[node.flow] / workers


def _training(model: ModelConfig, extent: Extent) -> float:
    """Return the seconds of a fit, the choice of its options included."""
    options, documents = model.parsed(), TRAINED * extent.labelled * extent.documents
    if not isinstance(options, FastTextConfig):
        return documents / RATES["train"]
    open_, kinds = options.automatic, [column.kind for column in model.inputs()]
    words = (extent.words if Text in kinds else 0) + (TOKENS if Codes in kinds else 0)
    words *= WORDS if {"maxn", "word_ngrams"} & {*open_} else 1
    numbers = (DENSE * kinds.count(Dense) + extent.labels) / 8  # a matrix product costs an eighth
    rate = (EPOCHS if "epochs" in open_ else options.epochs) * (DIM if "dim" in open_ else options.dim)
    once = rate * (words + numbers)  # numbers that a document costs
    chosen_by = min(documents, CHOOSING)
    trial = min(chosen_by * once, max(DEAR, DEAR_SHARE * chosen_by * once))
    trials = next((n for most, n in TRIALS.items() if documents <= most), TRIALS_OF_MANY) if open_ else 0
    return (trials * trial + documents * once) / MULTIPLIED / CORES


def _size(node: Node, documents: int, images: int) -> int:
    if isinstance(node, Fit):
        return MODEL
    return BYTES.get(node.flow, 0) * (images if node.flow in ("embed", "quantize") else documents)


def estimate_lines(rows: list[Estimate]) -> Iterator[tuple[str, ...]]:
    """Yield stage, datasets, time and disk as they are printed, and their sums last."""
    total = Estimate(
        "all", sum(row.datasets for row in rows), sum(row.seconds for row in rows), sum(r.size for r in rows)
    )
    for row in (*rows, total):
        yield row.stage, f"{row.datasets:,}", duration(row.seconds), size(row.size)


def duration(seconds: float) -> str:
    """Return seconds in words, roughly."""
    for unit, length in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:,.0f} {unit}"
    return f"{max(1, round(seconds))} s"


def size(count: int) -> str:
    """Return bytes in words, roughly."""
    for unit, length in (("GB", 10**9), ("MB", 10**6)):
        if count >= length:
            return f"{count / length:,.0f} {unit}"
    return "1 MB" if count else "-"
