"""The `fuseline` command: thin, over the functions that the flows call."""

from fuseline.flows.cli.app import app

__all__ = ["app", "main"]


def main() -> None:
    """Run the command line; exit codes: 0 done, 1 something failed, 2 bad arguments or configuration."""
    app()
