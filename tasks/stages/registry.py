"""Stages that a configuration adds by name under `stages`: each makes one more dataset for models to read."""

from collections.abc import Mapping
from graphlib import CycleError, TopologicalSorter
from typing import ClassVar, Never, Protocol

from pydantic import Field, model_validator

from fuseline.models.columns import Column, Dense
from fuseline.models.config import FrozenConfig
from fuseline.plugins import Registry
from fuseline.stores.errors import mismatch
from fuseline.tasks.engine.nodes import ShardStage
from fuseline.tasks.options import parse_options
from fuseline.tasks.stages.learned import LearnedCodes
from fuseline.tasks.stages.pixels import PixelsStage
from fuseline.tasks.stages.sequences import WordSequence
from fuseline.tasks.stages.similarity import Similarity
from fuseline.tasks.stages.train import Readable


class Stage(Protocol):
    """A kind of stage: what it is called, its options, and the node it makes."""

    kind: ClassVar[str]
    summary: ClassVar[str]
    Config: ClassVar[type[FrozenConfig]]

    @staticmethod
    def node(name: str, config: Never, sources: Readable) -> ShardStage:
        """Return the node `embed/NAME` of a stage, which models read by that name; codebooks read vectors alone.

        It reads documents, clean text, detections and embeddings; `config` is of the type `Config`. A stage that makes
        anything else than vectors says so in a class variable `makes`, a kind of column. One that reads other stages
        has a static method `reads`, of the names of embeddings and stages that a configuration of it names, and
        `takes`, the kinds of columns that these may make.
        """


# Those of the pipeline are wired in flows/graph.py.
OURS: tuple[type[Stage], ...] = (WordSequence, PixelsStage, LearnedCodes, Similarity)
STAGES: Registry[type[Stage]] = Registry("stage", {stage.kind: stage for stage in OURS})


class StageConfig(FrozenConfig):
    """One more stage."""

    stage: str = Field(description="Name of a stage; `fuseline list stages` shows them")
    options: dict[str, object] = Field({}, description="Options of the stage")

    @model_validator(mode="after")
    def _check(self) -> "StageConfig":
        if self.stage not in STAGES:
            cure = "install the package that brings it, or correct the name"
            raise ValueError(mismatch("stage", sorted(STAGES), self.stage, cure))
        self.parsed()
        return self

    def parsed(self) -> FrozenConfig:
        """Return the options as the stage's own type."""
        return parse_options(STAGES[self.stage].Config, self.options)

    def reads(self) -> tuple[str, ...]:
        """Return the embeddings and stages that it reads by name."""
        reads = getattr(STAGES[self.stage], "reads", None)
        return () if reads is None else tuple(reads(self.parsed()))

    @property
    def takes(self) -> tuple[type[Column], ...]:
        """The kinds of columns that it reads by name."""
        takes: tuple[type[Column], ...] = getattr(STAGES[self.stage], "takes", (Dense,))
        return takes

    @property
    def makes(self) -> type[Column]:
        """The kind of column that it makes."""
        return made_by(self.stage)


def made_by(stage: object) -> type[Column]:
    """Return the kind of column that a stage of this name makes: vectors, unless it says otherwise."""
    makes: type[Column] = getattr(STAGES.get(str(stage)), "makes", Dense)
    return makes


def making(stages: Mapping[str, StageConfig], kind: type[Column]) -> dict[str, StageConfig]:
    """Return the stages that make a kind of column."""
    return {name: spec for name, spec in stages.items() if spec.makes is kind}


def stages_in_order(stages: Mapping[str, StageConfig]) -> list[str]:
    """Return the names of stages, each after those that it reads.

    Raises ValueError when some read one another in a circle.
    """
    before = {name: [one for one in sorted(stages[name].reads()) if one in stages] for name in sorted(stages)}
    try:
        return list(TopologicalSorter(before).static_order())
    except CycleError as error:
        circle = " reads ".join(reversed(error.args[1]))
        raise ValueError(
            mismatch("stages", "none that reads itself by way of others", circle, "read others")
        ) from error
