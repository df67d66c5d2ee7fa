"""Fit a regression on a column of numbers, and estimate that number of every document."""

from fnmatch import fnmatchcase

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from fuseline.models.config import FrozenConfig
from fuseline.models.features import Features, hidden_name, is_hidden, vectors_name
from fuseline.models.regression import Regressor, RegressorConfig
from fuseline.stores.errors import ConfigError, mismatch
from fuseline.stores.value_schemas import ESTIMATES
from fuseline.tasks.engine.cache import loaded
from fuseline.tasks.engine.nodes import Context, Fit, FitResult, Ingest, Read, ShardStage, fits_of, ordered
from fuseline.tasks.engine.shard_features import block_of
from fuseline.tasks.stages import targets
from fuseline.tasks.stages.learned import read_feature
from fuseline.tasks.stages.targets import TargetConfig
from fuseline.tasks.stages.train import Readable

ROLE, ESTIMATES_ROLE = "regressions", "estimates"


class RegressionConfig(RegressorConfig):
    """A number to estimate, and the network that does."""

    target: str = Field(pattern=r"^num_.+", description="Column of numbers of the documents: num_ and its name")
    seed: int = Field(0, description="Seed of all random draws")

    def hidden(self) -> tuple[str, ...]:
        """Return the models whose hidden vectors are read."""
        return tuple(name.removeprefix(hidden_name("")) for name in self.vectors if is_hidden(name))

    def options(self) -> RegressorConfig:
        """Return the options of the network."""
        return RegressorConfig(**{name: getattr(self, name) for name in RegressorConfig.model_fields})


class EstimateConfig(FrozenConfig):
    """Whose estimates are written."""

    model: str


def fit_regression(train: Features, valid: Features, config: RegressionConfig, context: Context) -> FitResult:
    """Fit a network on the training documents that have the number; no label is looked at."""
    (target,) = (read.node.column for read in context.reads if read.node.role == targets.ROLE)
    regressor = Regressor(config.options()).fit(train, target, seed=config.seed, scratch=context.scratch)
    return regressor.save, train.n_rows, {**regressor.facts, "origin": regressor.origin}


def estimate(tables: list[pa.Table], config: EstimateConfig, context: Context) -> pa.Table:
    """Return one ESTIMATES row per document."""
    (saved,) = context.checkpoints.values()
    regressor, block = loaded(Regressor.load, saved), block_of(context.reads, tables)
    target, present, n = context.reads[1].node.column, regressor.present(block), len(block)
    known = block.columns[target].present
    exact = pc.list_flatten(tables[1]["embedding"].combine_chunks()).to_numpy()  # features are float32
    columns = {
        "id": block.ids.cast(pa.string()),
        "model": pa.array([config.model] * n, pa.string()),
        "target": pa.array(exact, mask=~known),
        "estimate": pa.array(regressor.estimate(block), mask=~present),
        "status": pa.array(np.where(present, "ok", "no_input").tolist(), pa.string()),
    }
    return pa.Table.from_arrays([columns[name] for name in ESTIMATES.names], schema=ESTIMATES)


def stage(name: str, config: RegressionConfig, sources: Readable) -> ShardStage:
    """Return the node of the estimates; it is fitted by the network, and that by what fits the inputs.

    Raises ConfigError when an input is made from the number itself.
    """
    nodes = {node.column: node for node in sources.others}
    inputs = tuple(nodes[vectors_name(one)] for one in config.vectors)
    check_inputs(name, config.target, inputs)
    target = targets.stage(name, TargetConfig(column=config.target, transform=config.transform), sources.documents)
    reads = tuple(map(read_feature, (target, *inputs)))
    fit = Fit(
        role=ROLE, short=name, flow="train", main=False, version=1, config=config, fit=fit_regression,
        reads=(Read(sources.documents, ("split",)), *reads), fits=fits_of(read.node for read in reads),
    )  # fmt: skip
    return ShardStage(
        role=ESTIMATES_ROLE, short=name, flow="predict", main=False, version=1, fits=(fit,), transform=estimate,
        config=EstimateConfig(model=name), reads=(Read(sources.documents, ("id",)), *reads),
    )  # fmt: skip


def check_inputs(name: str, target: str, inputs: tuple[ShardStage, ...]) -> None:
    """Refuse inputs that rest on the column that is estimated; raises ConfigError."""
    for one in inputs:
        for node in ordered([one]):
            read = [column for read in node.reads if isinstance(read.node, Ingest) for column in read.columns]
            if any(fnmatchcase(target, column) for column in read):
                cure = "name the other columns in the options of that embedding"
                what = f"regressions.{name}.vectors"
                raise ConfigError(
                    mismatch(what, f"inputs made without {target}", f"{one.column}, which reads it", cure)
                )
