"""The report flow: results go to latest/, metrics/, the catalog and an HTML page."""

from typing import Any

from prefect import flow

from flows.parameters import Chosen, Values, settings_of
from flows.publish import publish_results
from flows.runtime import locked, new_run


@flow(name="report", flow_run_name="report: {config}", persist_result=False)
def report(
    config: Chosen, set: Values = None, accounts: list[dict[str, Any]] | None = None, run: str | None = None,  # noqa: A002
) -> str:  # fmt: skip
    """Publish the results if they changed; return the report's path."""
    settings = settings_of(config, set)
    with locked(settings):
        return publish_results(settings, accounts or [], run or new_run())
