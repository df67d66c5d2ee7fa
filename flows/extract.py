"""The extract flow: detectors, crops and encoders, so that every image is read and decoded once per pass."""

from typing import Any

from prefect import flow

from flows.config import Config
from flows.runtime import locked
from flows.step import Wishes, run_step


@flow(name="extract", persist_result=False)
def extract(config: Config, retry_failed: bool = False, refit: bool = False) -> list[dict[str, Any]]:
    """Bring the detect and embed stages up to date; return one account per stage."""
    with locked(config):
        return run_step(("detect", "embed"), config, Wishes(retry_failed, refit))
