"""The `fuseline` command: thin, over the functions that the flows call."""

import atexit
import os
import sys
from contextlib import suppress


def main() -> None:
    """Run the command line, and end the process.

    Exit codes: 0 done, 1 something failed, 2 bad arguments or configuration.
    """
    status = 1  # of an error that no command foresees

    def leave() -> None:
        # Nothing is left to do, and taking Prefect's modules apart one by one would take half a second.
        with suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)

    atexit.register(leave)  # registered first, it is called last
    # Workers import this module too, and call nothing in it.
    from fuseline.flows.cli.app import app

    try:
        app()
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
        raise
