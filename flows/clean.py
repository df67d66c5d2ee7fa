"""The clean flow: raw fields become text."""

from typing import Any

from prefect import flow

from flows.config import Config
from flows.runtime import locked
from flows.step import Wishes, run_step


@flow(name="clean", persist_result=False)
def clean(config: Config, retry_failed: bool = False, refit: bool = False) -> list[dict[str, Any]]:
    """Bring the clean stages up to date; return one account per stage."""
    with locked(config):
        return run_step(("clean",), config, Wishes(retry_failed, refit))
