"""What a run shows in Prefect: its leaderboard as a table, and a link to its report."""

import re

from prefect.artifacts import create_link_artifact, create_table_artifact

from fuseline.flows.config import Config
from fuseline.flows.results.catalog import REPORT
from fuseline.flows.results.leaderboard import cells, published_leaderboard, title
from fuseline.stores.places import open_root


def publish_artifacts(config: Config) -> None:
    """Give the flow run that calls this its artifacts; a key per data set keeps their history apart."""
    root, name = open_root(config.root), artifact_key(config.name)
    # Browsers follow no link from a page of a server into files: its text can be copied.
    create_link_artifact(
        root.link(REPORT), root.absolute().uri(REPORT), key=f"report-{name}", description=f"Report of {config.name}"
    )
    if standings := published_leaderboard(root):
        table: list[dict[str, object]] = [dict(cells(standing)) for standing in standings]
        create_table_artifact(table, key=f"leaderboard-{name}", description=f"{config.name}: {title(standings)}")


def artifact_key(name: str) -> str:
    """Return a name as Prefect wants keys: lower-case letters, digits and dashes."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "data"
