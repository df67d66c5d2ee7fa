"""What a run shows in Prefect: its leaderboard as a table, and a link to its report."""

import re
from pathlib import Path

from prefect.artifacts import create_link_artifact, create_table_artifact

from flows.config import Config
from flows.leaderboard import Standing, published_leaderboard


def publish_artifacts(config: Config, root: Path, report: str) -> None:
    """Give the flow run that calls this its artifacts; a key per data set keeps their history apart.

    Args:
        config: the configuration that was run.
        root: output root, with what was published.
        report: path of the report.
    """
    name = artifact_key(config.name)
    link = (root / "latest" / "report.html").absolute().as_uri()
    create_link_artifact(link, "report", key=f"report-{name}", description=f"{config.name}: {report}")
    standings = published_leaderboard(root)
    if standings:
        table = [standing_row(standing) for standing in standings]
        create_table_artifact(table, key=f"leaderboard-{name}", description=f"{config.name}: {standings[0].metric}")


def artifact_key(name: str) -> str:
    """Return a name as Prefect wants keys: lower-case letters, digits and dashes."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "data"


def standing_row(standing: Standing) -> dict[str, object]:
    """Return one model as plain values; what was not measured is an empty cell."""
    interval = None if standing.low is None or standing.high is None else f"{standing.low:.3f} to {standing.high:.3f}"
    values = {
        "model": standing.model, "valid": standing.valid, "test": standing.test, "95 % interval": interval,
        "documents": standing.n_test, "fit seconds": standing.seconds, "bytes": standing.bytes,
    }  # fmt: skip
    return {name: "" if value is None else round(value, 4) if isinstance(value, float) else value
            for name, value in values.items()}  # fmt: skip
