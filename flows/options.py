"""What the planner is told beside the nodes."""

from pathlib import Path

from flows.config import Config
from tasks.drift import refits
from tasks.nodes import Node
from tasks.planner import PlanOptions


def plan_options(
    config: Config, nodes: list[Node], *, retry_failed: bool = False, refit: bool = False, source: str | None = None
) -> PlanOptions:
    """Return a configuration's wishes and, where they count, the verdicts of the drift reports among `nodes`.

    Args:
        config: the effective configuration.
        nodes: what is planned.
        retry_failed: rows that failed are tried again.
        refit: everything is fitted again.
        source: where image references start; by default what the configuration says.
    """
    wanted = "now" if refit else config.refit
    drifted = refits(nodes, Path(config.root)) if wanted == "drift" else {}
    return PlanOptions(config.source.image_root() if source is None else source, retry_failed, wanted, drifted)
