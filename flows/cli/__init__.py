"""The `fuseline` command: thin, over the functions that the flows call."""

from flows.cli import experiments, pipeline, registries, upkeep
from flows.cli.app import app

__all__ = ["app", "experiments", "main", "pipeline", "registries", "upkeep"]


def main() -> None:
    """Run the command line; exit codes: 0 done, 1 something failed, 2 bad arguments or configuration."""
    app()
