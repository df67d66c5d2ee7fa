"""The detect flow: images become text lines, faces and objects, and these become embeddings."""

from typing import Any

from prefect import flow

from flows.config import Config
from flows.runtime import locked
from flows.step import Wishes, run_step


@flow(name="detect", persist_result=False)
def detect(config: Config, retry_failed: bool = False, refit: bool = False) -> list[dict[str, Any]]:
    """Bring the detect stages up to date; return one account per stage."""
    with locked(config):
        return run_step("detect", config, Wishes(retry_failed, refit))
