"""The evaluate flow: predictions are scored, counted and sampled for the gallery."""

from typing import Any

from prefect import flow

from flows.config import Config
from flows.runtime import locked
from flows.step import Wishes, run_step


@flow(name="evaluate", persist_result=False)
def evaluate(config: Config, retry_failed: bool = False, refit: bool = False) -> list[dict[str, Any]]:
    """Bring the evaluate stages up to date; return one account per stage."""
    with locked(config):
        return run_step(("evaluate",), config, Wishes(retry_failed, refit))
