"""The quantize flow: embeddings become visual tokens."""

from typing import Any

from prefect import flow

from flows.config import Config
from flows.runtime import locked
from flows.step import Wishes, run_step


@flow(name="quantize", persist_result=False)
def quantize(config: Config, retry_failed: bool = False, refit: bool = False) -> list[dict[str, Any]]:
    """Bring the quantize stages up to date; return one account per stage."""
    with locked(config):
        return run_step(("quantize",), config, Wishes(retry_failed, refit))
