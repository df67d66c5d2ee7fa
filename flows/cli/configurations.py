"""Commands on configurations: show one, check one."""

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

import typer

from fuseline.flows.cli.app import (
    AsJson,
    ConfigPath,
    Overrides,
    command_group,
    err,
    error_boundary,
    print_rows,
)
from fuseline.stores.errors import ConfigError, mismatch

if TYPE_CHECKING:
    from fuseline.flows.config import Config

commands = command_group()
config = typer.Typer(no_args_is_help=True, help="Configurations: show one, check one.")
commands.add_typer(config, name="config")


@config.command(name="show")
def show_config(config: ConfigPath, set_: Overrides = []) -> None:  # noqa: B006
    """Print the effective configuration, every default written out, its digest, and options that fits chose.

    Example: fuseline config show conf/demo.yaml
    """
    from fuseline.flows.config import left_out, load_config

    with error_boundary():
        settings = load_config(config, set_)
        absent = "".join(
            f"# model {name} is left out of the preset: {why}\n" for name, why in left_out(config, set_).items()
        )
        chosen = "".join(f"# {line}\n" for line in _choices(settings))
        sys.stdout.write(f"# digest {settings.digest}\n{absent}{chosen}{settings.to_yaml()}")


def _choices(settings: "Config") -> Iterator[str]:
    """Yield what models chose; only why that is not known where the configuration lacks weights or names others."""
    from fuseline.flows.results.searches import choices
    from fuseline.models.errors import ModelError
    from fuseline.stores.errors import FuselineError
    from fuseline.stores.redaction import redacted

    try:
        yield from choices(settings)
    except (FuselineError, ModelError) as error:
        yield f"options that models chose are not known: {redacted(str(error))}"


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


@config.command(name="init", hidden=True, context_settings={"ignore_unknown_options": True, "allow_extra_args": True})
def init_config(context: typer.Context) -> None:
    """Refuse the old spelling of `fuseline init`."""
    with error_boundary():
        refuse_old("init", context, "config init", "SOURCE")


@commands.command(hidden=True, context_settings={"ignore_unknown_options": True, "allow_extra_args": True})
def show(context: typer.Context) -> None:
    """Refuse the old spelling of `fuseline config show`."""
    with error_boundary():
        refuse_old("config show", context, "show", "CONFIG")


def refuse_old(new: str, context: typer.Context, old: str, argument: str) -> None:
    """Raise ConfigError that names the new spelling of a command."""
    given = " ".join(context.args) or argument
    raise ConfigError(mismatch("command", f"fuseline {new} {given}", f"fuseline {old} {given}", "type the first"))
