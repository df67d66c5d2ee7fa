"""Options of the planner, from the configuration and from earlier runs."""

from fuseline.flows.config import Config
from fuseline.models.device import torch_device
from fuseline.models.errors import DeviceError
from fuseline.stores.errors import ConfigError
from fuseline.stores.places import open_root
from fuseline.tasks.engine.nodes import Ingest, Node
from fuseline.tasks.engine.planner import PlanOptions, changed_images
from fuseline.tasks.stages.codebook_drift import refits


def plan_options(
    config: Config,
    nodes: list[Node],
    *,
    retry_failed: bool = False,
    refit: bool = False,
    source: str | None = None,
    every: list[Node] | None = None,
) -> PlanOptions:
    """Return a configuration's run_options and what earlier runs found: drifted codebooks, images that changed.

    Args:
        config: the effective configuration.
        nodes: what is planned.
        retry_failed: rows that failed are tried again.
        refit: everything is fitted again.
        source: where image references start; by default what the configuration says.
        every: all nodes of the pipeline, when `nodes` are some of them.

    Raises:
        ConfigError: a network shall run on a device that this machine does not have.
    """
    if config.run.executor == "local":  # the workers of a cluster may have what this machine lacks
        check_devices(nodes)
    wanted = "now" if refit else config.refit
    drifted = refits(nodes, open_root(config.root)) if wanted == "drift" else {}
    ingests = any(isinstance(node, Ingest) for node in nodes)
    changed = changed_images(every or nodes, open_root(config.root)) if ingests else frozenset[int]()
    images = config.source.image_root() if source is None else source
    return PlanOptions(images, retry_failed, wanted, drifted, changed=changed)


def check_devices(nodes: list[Node]) -> None:
    """Raise ConfigError when a node names a device that is absent; torch is imported for CUDA alone."""
    for node in nodes:
        device = getattr(getattr(node.config, "options", None), "device", "auto")
        if device in ("auto", "cpu"):
            continue
        try:
            torch_device(device)
        except DeviceError as error:
            raise ConfigError(f"{node.name}: {error}") from error
