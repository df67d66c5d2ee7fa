"""The registries, as rows of name, summary and weights.

Each registry is imported when it is asked for: `fuseline list` answers at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fuseline.flows.config import Config
    from fuseline.models.weights_table import Network

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


def _rows(summaries: dict[str, str]) -> Rows:
    return [{"name": name, "summary": summary, "weights": ""} for name, summary in summaries.items()]


def _stages() -> Rows:
    from fuseline.tasks.stages.registry import STAGES as ADDED

    return _rows({**STAGES, **{name: stage.summary for name, stage in ADDED.items()}})


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


def _metrics() -> Rows:
    from fuseline.models.metrics.registry import registry_rows

    return registry_rows()


def _sections() -> Rows:
    from fuseline.reports.sections import SECTIONS

    return _rows({name: section.summary for name, section in SECTIONS.items()})


def _places() -> Rows:
    from fuseline.stores.places import registry_rows

    return registry_rows()


def _models() -> Rows:
    from fuseline.models.registry import registry_rows

    return registry_rows()


def _presets() -> Rows:
    from fuseline.flows.presets import registry_rows

    return registry_rows()


REGISTRIES: dict[str, Callable[[], Rows]] = {
    "readers": _readers,
    "stages": _stages,
    "encoders": _encoders,
    "detectors": _detectors,
    "quantizers": _quantizers,
    "models": _models,
    "presets": _presets,
    "metrics": _metrics,
    "sections": _sections,
    "places": _places,
}


def network_rows(config: Path | None = None, overrides: Sequence[str] = ()) -> Rows:
    """Return every network with its weights, or those that a configuration needs, and whether they are here."""
    from fuseline.models.weights_table import networks, weights_rows

    if config is None:
        return weights_rows(networks())
    from fuseline.flows.config import load_config

    return weights_rows(wanted_networks(load_config(config, overrides)))


def wanted_networks(config: Config) -> list[Network]:
    """Return the networks that a configuration needs, named as they are there: "embed.image (minilm)"."""
    from fuseline.models.detectors import DETECTORS
    from fuseline.models.encoders import ENCODERS
    from fuseline.models.image_networks import ImageNetworkConfig
    from fuseline.models.weights_table import Network

    encoders = [("embed", name, spec) for name, spec in config.embed.items() if ENCODERS[spec.encoder].origin]
    crops = [("crops", name, spec) for name, spec in config.crops.items()]
    networks = [
        Network(
            f"{part}.{name} ({spec.encoder})", ENCODERS[spec.encoder].modality, ENCODERS[spec.encoder], spec.options
        )
        for part, name, spec in [*encoders, *crops]
    ]
    models = {name: spec.parsed() for name, spec in config.models.items()}
    networks += [
        Network(f"models.{name} ({spec.architecture})", "image", ENCODERS[spec.architecture], spec.encoder_options())
        for name, spec in models.items()
        if isinstance(spec, ImageNetworkConfig) and spec.starts_from_file
    ]
    return networks + [
        Network(
            f"detect.{name} ({spec.detector})", DETECTORS[spec.detector].finds, DETECTORS[spec.detector], spec.options
        )
        for name, spec in config.detect.items()
    ]
