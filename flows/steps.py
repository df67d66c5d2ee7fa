"""The flow of every step: it makes what its stages lack, within the pipeline or by a deployment of its own."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from fuseline.flows.config import Config
from fuseline.flows.graph import build
from fuseline.flows.parameters import Chosen, Values, settings_of
from fuseline.flows.recorded import RecordedFlow, recorded_flow
from fuseline.flows.runtime import locked
from fuseline.flows.step import Wishes, fresh_accounts, run_step
from fuseline.tasks.stages.codebook_drift import refits

Accounts = list[dict[str, Any]]
COUNTS = ("computed_shards", "rows_computed", "rows_reused", "failed_shards", "seconds")


class Step(NamedTuple):
    """Some stages that are made together: their flow, and the names that their nodes give to it."""

    flow: RecordedFlow[..., Accounts]
    names: tuple[str, ...]

    def __call__(self, config: Config, wishes: Wishes) -> Accounts:
        """Make what is not fresh; no flow runs where there is nothing to do."""
        done = fresh_accounts(self.names, config, wishes)
        return self.flow(config, retry_failed=wishes.retry_failed, refit=wishes.refit) if done is None else done


def _make(names: tuple[str, ...], config: Config, wishes: Wishes) -> Accounts:
    return run_step(names, config, wishes)


def _quantize(names: tuple[str, ...], config: Config, wishes: Wishes) -> Accounts:
    """Make the quantize stages.

    Under `refit: drift`, new shards are encoded and compared first; where the report asks for it, a second round fits
    the codebook again and encodes all shards with it.
    """
    accounts = run_step(names, config, wishes)
    if config.refit == "drift" and not wishes.refit and refits(build(config), Path(config.root)):
        again = run_step(names, config, wishes._replace(refit=False))
        accounts = [_added(first, second) for first, second in zip(accounts, again, strict=True)]
    return accounts


def _added(first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any]:
    """Return what a stage did in two rounds."""
    spent = {kind: seconds + second["spent"][kind] for kind, seconds in first["spent"].items()}
    return {**second, **{name: first[name] + second[name] for name in COUNTS}, "spent": spent}


def _step(name: str, *names: str, make: Callable[..., Accounts] = _make) -> Step:
    @recorded_flow(name)
    def step(
        config: Chosen,
        set: Values = None,  # noqa: A002
        retry_failed: bool = False,
        refit: bool = False,
    ) -> Accounts:
        """Make what the step's stages lack; return one account per stage."""
        settings = settings_of(config, set)
        with locked(settings):
            return make(names, settings, Wishes(retry_failed, refit))

    return Step(step, names)


INGEST = _step("ingest", "ingest")
CLEAN = _step("clean", "clean")
EXTRACT = _step("extract", "detect", "embed")  # together, so that every image is read and decoded once
QUANTIZE = _step("quantize", "quantize", make=_quantize)
TRAIN = _step("train", "train")
PREDICT = _step("predict", "predict")
EVALUATE = _step("evaluate", "evaluate")
STEPS = [INGEST, CLEAN, EXTRACT, QUANTIZE, TRAIN, PREDICT, EVALUATE]
# What prefect.yaml names.
ingest, clean, extract, quantize, train, predict, evaluate = (step.flow for step in STEPS)
