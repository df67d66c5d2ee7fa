"""Commands that say what there is to choose from."""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer

from fuseline.flows.cli import choices, row_tables
from fuseline.flows.cli.app import AsJson, Overrides, command_group, err, error_boundary, out, print_rows
from fuseline.stores.errors import ConfigError, mismatch

commands = command_group()


def one_of(what: str, names: Iterable[str]) -> Any:
    """Return a required argument that takes one of some names, offered to the shell."""
    known = list(names)

    def parse(name: str) -> str:
        if name not in known:
            raise typer.BadParameter(f"expected one of {', '.join(known)}, got {name!r}")
        return name

    return typer.Argument(parser=parse, metavar=what, help=f"One of {', '.join(known)}", autocompletion=lambda: known)


@commands.command(name="list")
def list_(what: Annotated[str, one_of("REGISTRY", choices.REGISTRIES)], json: AsJson = False) -> None:
    """List what there is to choose from.

    Example: fuseline list encoders --json
    """
    with error_boundary():
        rows = choices.REGISTRIES[what]()
        print_rows(rows, json, lambda: row_tables.registry_table(rows))


KINDS = [name.removesuffix("s") for name in choices.REGISTRIES]


@commands.command(name="describe")
def describe_(
    kind: Annotated[str, one_of("KIND", KINDS)],
    name: Annotated[str, typer.Argument(metavar="NAME", help="Its name, as `fuseline list` shows it")],
    json: AsJson = False,
) -> None:
    """Say what one of them is, and what options it has: type, default and meaning.

    Example: fuseline describe reader csv
    """
    from fuseline.flows.cli.describe import describe

    with error_boundary():
        description = describe(kind, name)
        if not json:
            for line in row_tables.head_lines(description):
                out.print(line, soft_wrap=True)
        if json or description["options"]:
            print_rows(description, json, lambda: row_tables.options_table(description["options"]))


weights = typer.Typer(no_args_is_help=True, help="Pretrained weights: which there are, and whether they are here.")
commands.add_typer(weights, name="weights")


@weights.command(name="list")
def weights_list(json: AsJson = False) -> None:
    """List every network with its weights, and whether they are here.

    Example: fuseline weights list --json
    """
    with error_boundary():
        rows = choices.network_rows()
        print_rows(rows, json, lambda: row_tables.weights_table(rows))


@weights.command(name="check")
def weights_check(
    config: Annotated[
        Path | None, typer.Argument(metavar="CONFIG", help="Check what it needs; else everything")
    ] = None,
    set_: Overrides = [],  # noqa: B006
    json: AsJson = False,
) -> None:
    """Re-read weights and compare digests; exit code 1 when any is damaged, or missing though CONFIG needs it.

    Example: fuseline weights check conf/demo.yaml
    """
    with error_boundary():
        if config is None and set_:
            raise ConfigError(mismatch("--set", "a CONFIG to change", "none", "name the configuration first"))
        rows = choices.network_rows(config, set_)
        print_rows(rows, json, lambda: row_tables.weights_table(rows))
        faults = [row for row in rows if row["state"] == "wrong" or (config is not None and row["state"] != "ok")]
        for row in faults:
            err.print(f"{row['state']}: {row['name']}: {row['detail']}", soft_wrap=True)
        if faults:
            raise typer.Exit(1)
