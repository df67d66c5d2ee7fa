"""The train flow: classifiers are fitted on the train split."""

from typing import Any

from prefect import flow

from flows.config import Config
from flows.runtime import locked
from flows.step import Wishes, run_step


@flow(name="train", persist_result=False)
def train(config: Config, retry_failed: bool = False, refit: bool = False) -> list[dict[str, Any]]:
    """Bring the train stages up to date; return one account per stage."""
    with locked(config):
        return run_step(("train",), config, Wishes(retry_failed, refit))
