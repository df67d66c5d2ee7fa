"""What all commands share: the application, its consoles and options, and how errors reach the terminal."""

import logging
import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer
from rich.console import Console

from fuseline.flows.cli.lazy import LazyGroup
from fuseline.models.errors import ModelError
from fuseline.plugins import PluginError
from fuseline.stores.errors import ConfigError, FuselineError, MismatchError, mismatch
from fuseline.stores.redaction import redacted

app = typer.Typer(
    name="fuseline", cls=LazyGroup, no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode=None,
    help="Classify large collections of documents with text, images and columns: offline, shard by shard.",
)  # fmt: skip


def command_group() -> typer.Typer:
    """Return what the commands of one module are added to."""
    return typer.Typer(pretty_exceptions_enable=False, rich_markup_mode=None)


@app.callback()
def _group() -> None:
    """Be a group even before a command is known."""


# A log has no width of its own: tables there must not break lines.
WIDTH = None if sys.stdout.isatty() else 180


def console(*, stderr: bool = False) -> Console:
    """Return a console that prints text as it is: brackets and colons in paths and names are no markup."""
    return Console(stderr=stderr, highlight=False, markup=False, emoji=False, width=WIDTH)


out, err = console(), console(stderr=True)

ConfigPath = Annotated[Path, typer.Argument(metavar="CONFIG", help="A YAML file, such as conf/demo.yaml")]
Overrides = Annotated[list[str], typer.Option("--set", metavar="KEY=VALUE", help="Set one value, e.g. run.workers=1")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON")]
Wait = Annotated[float, typer.Option(help="Seconds to wait for another run on the same root; -1 for ever")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Show Prefect's log and tracebacks")]
Refit = Annotated[bool, typer.Option("--refit", help="Fit columns, codebooks and models again")]
RetryFailed = Annotated[bool, typer.Option("--retry-failed", help="Try again exactly the rows that failed")]

Ids = Annotated[list[str], typer.Option("--ids", metavar="FILE|ID", help="An id, or a file of one id per line")]

INTERRUPTED, SOFTWARE = 130, 70
VERBOSE = "FUSELINE_VERBOSE"
PREFECT = ("prefect", "httpx", "httpcore", "websockets", "anyio")


def print_rows(rows: Any, json: bool, table: Any) -> None:
    """Print rows as JSON, or as the table that `table()` returns."""
    if json:
        sys.stdout.write(orjson.dumps(rows, option=orjson.OPT_INDENT_2).decode() + "\n")
    else:
        out.print(table())


@contextmanager
def error_boundary(verbose: bool = False) -> Iterator[None]:
    """Turn every error into one line and an exit code; Ctrl-C into a word on what is kept.

    Exit codes: 1 data or their places, 2 configuration and arguments, 70 a fault of ours, 130 Ctrl-C. With `verbose`
    (or FUSELINE_VERBOSE=1) the traceback is printed too.
    """
    # Progress lines have a handler of their own: Prefect takes the root logger over when it is imported.
    lines, handler = logging.getLogger("fuseline"), logging.StreamHandler(sys.stderr)
    lines.setLevel(logging.INFO)
    lines.handlers, lines.propagate = [handler], False
    try:
        yield
    except KeyboardInterrupt:
        _close_workers()
        err.print("interrupted: every shard that was committed is kept; the same command goes on from there")
        raise typer.Exit(INTERRUPTED) from None
    except (typer.Exit, typer.Abort):
        raise
    except Exception as error:
        _close_workers()
        code, message = error_line(error)
        if verbose or os.environ.get(VERBOSE):
            sys.stderr.write(redacted(traceback.format_exc()))
        err.print(f"error: {message}", style="red", soft_wrap=True)
        raise typer.Exit(code) from None


def error_line(error: Exception) -> tuple[int, str]:
    """Return the exit code and the line for an error."""
    if isinstance(error, FuselineError | ModelError | PluginError):
        message = error.args[-1] if isinstance(error, OSError) else error
        return 2 if isinstance(error, ConfigError | MismatchError | PluginError) else 1, redacted(str(message))
    line = redacted(" ".join(str(error).split()))[:500]
    if isinstance(error, OSError):
        return 1, f"{error.strerror or line}: {redacted(str(error.filename or ''))}".removesuffix(": ")
    # The server of Prefect, or the way to it: what is committed does not depend on it.
    if _of_prefect(error):
        cure = "committed shards are kept: run again, or see PREFECT_API_URL and its server"
        return 1, mismatch("Prefect's server", "an answer", f"{type(error).__name__}: {line}", cure)
    cure = f"this is a fault of Fuseline: please report it with the traceback that {VERBOSE}=1 prints"
    return SOFTWARE, f"{type(error).__name__}: {line}; {cure}"


def _of_prefect(error: Exception) -> bool:
    """Return whether Prefect or its HTTP client raised: it tells an absent server by a plain RuntimeError."""
    raised = [frame.f_globals.get("__name__", "") for frame, _ in traceback.walk_tb(error.__traceback__)]
    modules = [type(error).__module__, *(raised[-1:] if isinstance(error, RuntimeError) else ())]
    return any(module.partition(".")[0] in PREFECT for module in modules)


def _close_workers() -> None:
    """End the worker processes at once, if any module ever started them."""
    if (pool := sys.modules.get("fuseline.tasks.engine.pool")) is not None:
        pool.close_pool(kill=True)
