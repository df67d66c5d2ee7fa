"""The report flow: results go to latest/, metrics/, the catalog and an HTML page."""

from typing import Any

from prefect import flow

from flows.config import Config
from flows.publish import publish_results
from flows.runtime import locked, new_run


@flow(name="report", persist_result=False)
def report(config: Config, accounts: list[dict[str, Any]] | None = None, run: str | None = None) -> str:
    """Publish the results if they changed; return the report's path."""
    with locked(config):
        return publish_results(config, accounts or [], run or new_run())
