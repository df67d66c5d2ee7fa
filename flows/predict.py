"""The predict flow: every document gets predictions from every model."""

from typing import Any

from prefect import flow

from flows.config import Config
from flows.runtime import locked
from flows.step import Wishes, run_step


@flow(name="predict", persist_result=False)
def predict(config: Config, retry_failed: bool = False, refit: bool = False) -> list[dict[str, Any]]:
    """Bring the predict stages up to date; return one account per stage."""
    with locked(config):
        return run_step(("predict",), config, Wishes(retry_failed, refit))
