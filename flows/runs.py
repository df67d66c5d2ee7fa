"""What earlier runs left under `runs/`: their configurations and what their stages did, in the order of the runs."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Self

from fuseline.flows.config import Config, parse_config
from fuseline.flows.graph import build
from fuseline.stores.errors import ConfigError, DataError, FuselineError
from fuseline.stores.manifest import parsed, sealed
from fuseline.stores.published import publishing
from fuseline.stores.root import Root
from fuseline.tasks.engine.nodes import Node

RUNS = "runs"


@dataclass(frozen=True)
class Run:
    """One run that was completed."""

    number: int  # counts the runs of a root: their order, whatever the clock says
    run: str  # its name
    name: str  # of the configuration
    config: dict[str, Any]
    report: str  # path
    stages: list[dict[str, Any]]  # fuseline.flows.runtime.StageSummary per stage, as plain values
    keys: dict[str, str]  # stage -> dataset key

    @classmethod
    def load(cls, root: Root, name: str) -> Self:
        """Read what `write_run` wrote; raises DataError when it is damaged or of another version."""
        return parsed(root.get(name), root.uri(name), lambda values: cls(**values))


def runs_of(root: Root) -> list[Run]:
    """Return the runs of an output root, oldest first; runs whose record cannot be read are skipped."""
    runs = [run for name in root.list(RUNS) if (run := _readable(root, name)) is not None]
    return sorted(runs, key=lambda run: run.number)


def last_run(root: Root) -> Run | None:
    """Return the last run, if there was one."""
    return next(reversed(runs_of(root)), None)


def last_summaries(root: Root) -> list[dict[str, Any]]:
    """Return the summaries of the last run."""
    run = last_run(root)
    return run.stages if run else []


def last_keys(root: Root, name: str) -> dict[str, str]:
    """Return stage -> dataset key of the last run of a configuration by its name; none when it never ran."""
    return next((run.keys for run in reversed(runs_of(root)) if run.name == name), {})


def write_run(root: Root, run: str, config: Config, summaries: list[dict[str, Any]], page: str) -> None:
    """Write the record of a run, as the last one of its root."""
    before, name = last_run(root), f"{RUNS}/{run}.json"
    number = before.number + 1 if before else 1
    keys = {node.name: node.key for node in build(config)}
    values = Run(number, run, config.name, config.model_dump(mode="json"), page, summaries, keys)
    with publishing(root, name):
        root.put(name, sealed(asdict(values)))


def configs_of_runs(root: Root) -> Iterator[tuple[str, Config]]:
    """Yield the name and configuration of every run, the oldest first; those of another version are passed over."""
    for run in runs_of(root):
        try:
            yield run.run, parse_config(run.config)
        except ConfigError:
            continue


def last_configs(root: Root) -> dict[str, Config]:
    """Return the configuration of the last run of every name."""
    return {config.name: config for _, config in configs_of_runs(root)}


def known_nodes(config: Config, root: Root) -> list[Node]:
    """Return the nodes of a configuration and of every other that was run on its root and can still be read."""
    nodes = build(config)
    for other in {other.digest: other for _, other in configs_of_runs(root)}.values():
        try:
            nodes += build(other)
        except FuselineError:
            continue  # its weights are gone, say; its rows go all the same, and are compared again if it comes back
    return list({node.key: node for node in nodes}.values())


def _readable(root: Root, name: str) -> Run | None:
    try:
        return Run.load(root, name)
    except DataError:
        return None
