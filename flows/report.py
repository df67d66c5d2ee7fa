"""The report flow: results go to latest/, metrics/, the catalog and an HTML page."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from prefect import flow

from flows.config import Config
from flows.graph import build
from flows.publish import plan_report, publish
from flows.runtime import locked, new_run


@flow(name="report", persist_result=False)
def report(config: Config, accounts: list[dict[str, Any]] | None = None, run: str | None = None) -> str:
    """Publish the results if they changed; return the report's path."""
    with locked(config):
        return publish_results(config, accounts or [], run or new_run())


def publish_results(config: Config, accounts: list[dict[str, Any]], run: str) -> str:
    """Publish unless what is published is of today's datasets; return the path of the report."""
    root, nodes = Path(config.root), build(config)
    if plan_report(config, nodes, root, [])["fresh"]:
        return str(root / "latest" / "report.html")
    created = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
    return str(publish(config, nodes, run=run, created=created, accounts=accounts))
