"""The ingest flow: a source becomes shards of documents."""

from typing import Any

from prefect import flow

from flows.config import Config
from flows.runtime import locked
from flows.step import Wishes, run_step


@flow(name="ingest", persist_result=False)
def ingest(config: Config, retry_failed: bool = False, refit: bool = False) -> list[dict[str, Any]]:
    """Bring the ingest stages up to date; return one account per stage."""
    with locked(config):
        return run_step(("ingest",), config, Wishes(retry_failed, refit))
