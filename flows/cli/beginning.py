"""The command that starts: it looks at data, and writes a first configuration."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from fuseline.flows.cli.app import command_group, err, error_boundary, out
from fuseline.stores.errors import ConfigError, mismatch

commands = command_group()


@commands.command()
def init(
    data: Annotated[str, typer.Argument(metavar="DATA", help="Your documents: file, folder, archive or URL")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="YAML file to write, not there yet; default: named after DATA")
    ] = None,
    reader: Annotated[str | None, typer.Option(help="Reader of the documents; default: the first that fits")] = None,
) -> None:
    """Look at data, and write a first configuration: reader, roles of columns and models that fit.

    On a terminal it asks for the roles of columns, with what it found as defaults; elsewhere it decides.

    Example: fuseline init data/products.csv -o conf/products.yaml
    """
    with error_boundary():
        from fuseline.flows.cli.row_tables import estimate_table
        from fuseline.flows.cli.starting import configuration_name, start

        file = output or Path(f"{configuration_name(data)}.yaml")
        refuse_existing(file)
        started = start(data, file=str(file), reader=reader, ask=ask_columns if on_terminal() else None)
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("x", encoding="utf-8") as opened:
            opened.write(started.text)
        for line in started.warnings:
            err.print(f"warning: {line}", soft_wrap=True)
        out.print(
            f"plan for {started.documents}, time and disk roughly estimated, for two cores without GPU:", soft_wrap=True
        )
        out.print(estimate_table(started.estimates))
        out.print(f"{file}: written; look it over, then: fuseline config check {file}", soft_wrap=True)


def on_terminal() -> bool:
    """Return whether somebody can be asked."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def ask_columns(columns: list[str], found: dict[str, str]) -> dict[str, str]:
    """Ask which column plays each role, what was found being the default; return role -> column."""
    err.print(f"columns: {', '.join(columns)}", soft_wrap=True)
    answers = {
        role: typer.prompt(
            f"column of {role} ({NONE} for none)", default=found.get(role, NONE), err=True,
            value_proc=lambda text: _known(text.strip(), columns),
        )
        for role in ROLES
    }  # fmt: skip
    return {role: column for role, column in answers.items() if column != NONE}


def _known(answer: str, columns: list[str]) -> str:
    if answer not in (NONE, *columns):
        raise typer.BadParameter(f"expected one of {', '.join(columns)}, got {answer!r}")
    return answer


def refuse_existing(output: Path) -> None:
    """Raise ConfigError for a file that is there: it may hold somebody's work."""
    if output.exists() or output.is_symlink():
        raise ConfigError(mismatch("--output", "a file that is not there yet", str(output), "choose another name"))


NONE = "-"
ROLES = ("labels", "id", "title", "description", "text", "html", "image", "split", "group")
