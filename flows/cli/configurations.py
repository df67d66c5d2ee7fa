"""Commands on configurations: show one, check one, start one."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from fuseline.flows.cli.app import (
    AsJson,
    ConfigPath,
    Overrides,
    command_group,
    err,
    error_boundary,
    out,
    print_rows,
)
from fuseline.stores.errors import ConfigError, mismatch

commands = command_group()
config = typer.Typer(no_args_is_help=True, help="Configurations: show one, check one, start one.")
commands.add_typer(config, name="config")


@config.command(name="show")
def show_config(config: ConfigPath, set_: Overrides = []) -> None:  # noqa: B006
    """Print the effective configuration, every default written out, and its digest.

    Example: fuseline config show conf/demo.yaml
    """
    from fuseline.flows.config import left_out, load_config

    with error_boundary():
        settings = load_config(config, set_)
        absent = "".join(
            f"# model {name} is left out of the preset: {why}\n" for name, why in left_out(config, set_).items()
        )
        sys.stdout.write(f"# digest {settings.digest}\n{absent}{settings.to_yaml()}")


@config.command(name="check")
def check_config(config: ConfigPath, set_: Overrides = [], json: AsJson = False) -> None:  # noqa: B006
    """Check settings, source, devices and weights, and list what is missing; exit code 2 on any fault.

    Example: fuseline config check conf/demo.yaml
    """
    from fuseline.flows.cli import row_tables
    from fuseline.flows.cli.check import faults, needs
    from fuseline.flows.config import load_config

    with error_boundary():
        rows = needs(load_config(config, set_))
        print_rows(rows, json, lambda: row_tables.needs_table(rows))
        for row in faults(rows):
            err.print(f"{row['state']}: {row['name']}: {row['detail']}", soft_wrap=True)
        if faults(rows):
            raise typer.Exit(2)


@config.command(name="init")
def init_config(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="Your documents: file, folder or URL")],
    output: Annotated[Path, typer.Option("--output", "-o", help="YAML file to write; it must not be there yet")],
    reader: Annotated[str | None, typer.Option(help="Reader of the documents; default: the first that fits")] = None,
) -> None:
    """Write a commented first configuration for a source: its reader, its columns and models that fit.

    Example: fuseline config init data/products.csv -o conf/products.yaml
    """
    from fuseline.flows.cli.starting import starting_config

    with error_boundary():
        refuse_existing(output)
        text = starting_config(source, file=str(output), reader=reader)
        output.parent.mkdir(parents=True, exist_ok=True)
        with output.open("x", encoding="utf-8") as file:
            file.write(text)
        out.print(f"{output}: written; look it over, then: fuseline config check {output}")


def refuse_existing(output: Path) -> None:
    """Raise ConfigError for an existing file, which is never overwritten."""
    if output.exists() or output.is_symlink():
        raise ConfigError(mismatch("--output", "a file that is not there yet", str(output), "choose another name"))


@commands.command(hidden=True, context_settings={"ignore_unknown_options": True, "allow_extra_args": True})
def show(context: typer.Context) -> None:
    """Refuse the old spelling of `fuseline config show`."""
    with error_boundary():
        given = " ".join(context.args) or "CONFIG"
        raise ConfigError(
            mismatch("command", f"fuseline config show {given}", f"fuseline show {given}", "type the first")
        )
