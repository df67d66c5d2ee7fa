"""What a first run may take: rough rates, times the number of documents."""

from collections.abc import Iterator
from typing import NamedTuple

from fuseline.flows.config import Config
from fuseline.flows.graph import build
from fuseline.models.encoders import ENCODERS
from fuseline.tasks.engine.nodes import Fit, Node, ShardStage

# Documents per second and worker; of `train`, per second and model. After one run of conf/demo.yaml on two cores
# without GPU, November 2026, which gave those of networks; others are rounded down, `train` and BYTES are assumed.
RATES = {
    "ingest": 3000.0, "clean": 1500.0, "embed": 1500.0, "quantize": 3000.0, "train": 1000.0, "predict": 4000.0,
    "evaluate": 8000.0,
}  # fmt: skip
IMAGES, TEXTS = 38.0, 110.0  # of a network over images, or over texts
BYTES = {"ingest": 200, "clean": 150, "embed": 4000, "quantize": 20, "predict": 80, "evaluate": 20}  # per document
MODEL = 10 << 20  # bytes of a fitted model


class Estimate(NamedTuple):
    """What the stages of one kind may take."""

    stage: str
    datasets: int
    seconds: float
    size: int  # bytes on disk


def estimates(config: Config, *, documents: int, images: int) -> list[Estimate]:
    """Return an estimate per kind of stage, in the order in which they run."""
    flows: dict[str, list[Node]] = {}
    for node in build(config):
        if node.flow in RATES:
            flows.setdefault(node.flow, []).append(node)
    return [
        Estimate(
            flow,
            len(nodes),
            sum(_seconds(node, config, documents, images) for node in nodes),
            sum(_size(node, documents, images) for node in nodes),
        )
        for flow, nodes in flows.items()
    ]


def _seconds(node: Node, config: Config, documents: int, images: int) -> float:
    embed = config.embed.get(node.short) if node.flow == "embed" and isinstance(node, ShardStage) else None
    if embed is not None and (modality := ENCODERS[embed.encoder].modality) in ("image", "text"):
        return (images / IMAGES if modality == "image" else documents / TEXTS) / config.run.workers
    workers = config.run.workers if isinstance(node, ShardStage) else 1
    return documents / RATES[node.flow] / workers


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
