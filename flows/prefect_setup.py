"""Prefect as our commands need it: settings, and a server that ends with the command."""

import atexit
import os
from pathlib import Path

from fuseline.flows.imports import uncollected
from fuseline.flows.server import Server
from fuseline.stores.root import Root

# Measured: the recorder loses records unless it writes in batches. Nothing is sent anywhere.
PREFECT_SETTINGS = {
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE": "200",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_READ_BATCH_SIZE": "200",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_FLUSH_INTERVAL": "1",  # below 1 it never sleeps
    "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
    "DO_NOT_TRACK": "1",
}
# For a server that ends with its flows.
OWN_SERVER_SETTINGS = {
    # Nobody watches heartbeats, and each flow would wait a second for its own.
    "PREFECT_FLOWS": '{"heartbeat_frequency": null}',
    # It is of our version and serves no browser: every flow and task would ask it both anew.
    "PREFECT_CLIENT_SERVER_VERSION_CHECK_ENABLED": "false",
    "PREFECT_CLIENT_CSRF_SUPPORT_ENABLED": "false",
    "PREFECT_SERVER_CSRF_PROTECTION_ENABLED": "false",
}


def prepare_prefect(root: Root, *, verbose: bool = False, serve: bool = True) -> None:
    """Configure Prefect for a run; settings of the user are kept. Must be called before Prefect is imported.

    Errors are told by the command line in one line, so Prefect's own log is only for `verbose`.

    Unless PREFECT_API_URL names a server, one is started that ends with this process; its history lies under
    `<root>/.prefect` unless PREFECT_HOME says otherwise. `serve=False` starts none, for commands that run no flow.

    Raises:
        FuselineError: the server does not start.
    """
    for name, value in {**PREFECT_SETTINGS, "PREFECT_LOGGING_LEVEL": "INFO" if verbose else "CRITICAL"}.items():
        os.environ.setdefault(name, value)
    if "PREFECT_API_URL" in os.environ:
        return
    os.environ.setdefault("PREFECT_HOME", str((root.beside() / ".prefect").absolute()))
    for name, value in OWN_SERVER_SETTINGS.items():
        os.environ.setdefault(name, value)
    if serve:
        server = Server(Path(os.environ["PREFECT_HOME"]))
        atexit.register(server.stop)
        os.environ["PREFECT_API_URL"] = server.url
        # Both take seconds: the import goes on here while the server starts there.
        with uncollected():
            import fuseline.flows.pipeline  # noqa: F401

        server.wait()
