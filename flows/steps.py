"""The flow of every step: it makes what its nodes lack, within the pipeline or by a deployment of its own."""

from collections.abc import Iterator
from typing import NamedTuple

from fuseline.flows.config import Config
from fuseline.flows.graph import build
from fuseline.flows.parameters import Chosen, Values, settings_of
from fuseline.flows.recorded import RecordedFlow, recorded_flow
from fuseline.flows.runtime import locked
from fuseline.flows.step import RunOptions, fresh_summaries, run_step
from fuseline.tasks.engine.nodes import Node

StageSummaries = list[dict[str, object]]


class Step(NamedTuple):
    """Nodes that are made together: their flow, and the names that they give to it."""

    flow: RecordedFlow[..., StageSummaries]
    names: tuple[str, ...]

    def make(self, nodes: list[Node], config: Config, run_options: RunOptions) -> StageSummaries:
        """Materialize the nodes that are not fresh; no flow runs when all are."""
        done = fresh_summaries(nodes, config, run_options)
        if done is not None:
            return done
        mine = [node.name for node in build(config) if node.flow in self.names]
        only = None if len(nodes) == len(mine) else [node.name for node in nodes]
        return self.flow(config, retry_failed=run_options.retry_failed, refit=run_options.refit, only=only)


class Leg(NamedTuple):
    """Nodes of one step that are made one after the other, before any node of another step."""

    step: Step
    nodes: list[Node]


def legs(nodes: list[Node]) -> Iterator[Leg]:
    """Yield nodes, each of which comes after what it reads, in legs as long as can be.

    A step has several legs where nodes of another come in between, as with a model that reads what others predicted.
    """
    left = list(nodes)
    while left:
        step, leg, waiting = _STEP[left[0].flow], list[Node](), set[str]()
        for node in left:
            if node.flow in step.names and waiting.isdisjoint(upstream.name for upstream in node.upstream):
                leg.append(node)
            else:
                waiting.add(node.name)
        yield Leg(step, leg)
        left = [node for node in left if node.name in waiting]


def _step(name: str, *names: str) -> Step:
    @recorded_flow(name)
    def step(
        config: Chosen,
        set: Values = None,  # noqa: A002
        retry_failed: bool = False,
        refit: bool = False,
        only: list[str] | None = None,
    ) -> StageSummaries:
        """Make what the step's stages lack, or those that `only` names; return one summary per stage."""
        settings = settings_of(config, set)
        with locked(settings):
            return run_step(names, settings, RunOptions(retry_failed, refit), only=only)

    return Step(step, names)


STEPS = (
    _step("ingest", "ingest"),
    _step("clean", "clean"),
    _step("extract", "detect", "embed"),  # together, so that every image is read and decoded once
    _step("quantize", "quantize"),
    _step("train", "train"),
    _step("predict", "predict"),
    _step("evaluate", "evaluate"),
)
_STEP = {name: step for step in STEPS for name in step.names}
# What prefect.yaml names.
ingest, clean, extract, quantize, train, predict, evaluate = (step.flow for step in STEPS)
