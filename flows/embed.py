"""The embed flow: images and texts become embeddings."""

from typing import Any

from prefect import flow

from flows.config import Config
from flows.runtime import locked
from flows.step import Wishes, run_step


@flow(name="embed", persist_result=False)
def embed(config: Config, retry_failed: bool = False, refit: bool = False) -> list[dict[str, Any]]:
    """Bring the embed stages up to date; return one account per stage."""
    with locked(config):
        return run_step("embed", config, Wishes(retry_failed, refit))
