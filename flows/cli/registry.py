"""What there is to choose from: the registries, as rows of name, summary and weights.

Each registry is imported when it is asked for: `fuseline list` answers at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fuseline.flows.config import Config
    from fuseline.models.weights.networks import Network

Rows = list[dict[str, str]]

STAGES = {
    "ingest": "a source becomes shards of documents, each document in a fixed shard",
    "clean": "raw fields become text",
    "detect": "images become text lines, faces and objects, and these become embeddings",
    "embed": "images, texts, words in images and table columns become embeddings",
    "quantize": "embeddings become visual tokens, with a frozen codebook",
    "train": "classifiers are fitted on the train split",
    "predict": "every document gets predictions from every model",
    "evaluate": "predictions are scored, counted and sampled for the gallery",
    "report": "results go to latest/, metrics/, the catalog and an HTML page",
}

METRICS = {
    "accuracy": "share of documents whose best label is right; multi-label: whose whole label set is right",
    "p_at_1": "share of documents whose best label is one of their own",
    "top_5": "share of documents with an own label among the best five",
    "f1_micro": "F1 over all (document, label) pairs",
    "f1_macro": "mean F1 of the classes",
    "f1_weighted": "mean F1 of the classes, weighted by their documents",
    "f1_samples": "mean F1 of the documents' label sets; 0/0 is 0",
    "log_loss": "mean -log probability of the own labels, nats",
    "no_input": "documents that hold nothing the model reads; they count as wrong",
    "unknown_label": "documents whose labels were unseen in training; they count as wrong",
}


def _rows(summaries: dict[str, str]) -> Rows:
    return [{"name": name, "summary": summary, "weights": ""} for name, summary in summaries.items()]


def _readers() -> Rows:
    from fuseline.tasks.readers import registry_rows

    return registry_rows()


def _encoders() -> Rows:
    from fuseline.models.encoders import registry_rows

    return registry_rows()


def _detectors() -> Rows:
    from fuseline.models.detectors import registry_rows

    return registry_rows()


def _quantizers() -> Rows:
    from fuseline.models.quantizers import QUANTIZERS

    return _rows({name: entry.summary for name, entry in sorted(QUANTIZERS.items())})


def _models() -> Rows:
    from fuseline.models.registry import registry_rows

    return registry_rows()


REGISTRIES: dict[str, Callable[[], Rows]] = {
    "readers": _readers,
    "stages": lambda: _rows(STAGES),
    "encoders": _encoders,
    "detectors": _detectors,
    "quantizers": _quantizers,
    "models": _models,
    "metrics": lambda: _rows(METRICS),
}


def network_rows(config: Path | None = None, overrides: Sequence[str] = ()) -> Rows:
    """Return every network with its weights, or those that a configuration needs, and whether they are here."""
    from fuseline.models.weights.networks import networks, weights_rows

    if config is None:
        return weights_rows(networks())
    from fuseline.flows.config import load_config

    return weights_rows(wanted_networks(load_config(config, overrides)))


def wanted_networks(config: Config) -> list[Network]:
    """Return the networks that a configuration needs, named as they are there: "embed.image (minilm)"."""
    from fuseline.models.detectors import DETECTORS
    from fuseline.models.encoders import ENCODERS
    from fuseline.models.weights.networks import Network

    encoders = [("embed", name, spec) for name, spec in config.embed.items() if ENCODERS[spec.encoder].origin]
    crops = [("crops", name, spec) for name, spec in config.crops.items()]
    found = [
        Network(
            f"{part}.{name} ({spec.encoder})", ENCODERS[spec.encoder].modality, ENCODERS[spec.encoder], spec.options
        )
        for part, name, spec in [*encoders, *crops]
    ]
    return found + [
        Network(
            f"detect.{name} ({spec.detector})", DETECTORS[spec.detector].finds, DETECTORS[spec.detector], spec.options
        )
        for name, spec in config.detect.items()
    ]
