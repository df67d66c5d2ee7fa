"""Commands that look things up under a root and change nothing: neighbours."""

from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from fuseline.flows.cli.app import (
    AsJson,
    ConfigPath,
    Overrides,
    Verbose,
    command_group,
    error_boundary,
    out,
    print_rows,
)
from fuseline.flows.cli.row_tables import column_table
from fuseline.flows.config import load_config

commands = command_group()


@commands.command()
def neighbours(
    config: ConfigPath,
    document: Annotated[str, typer.Argument(metavar="ID", help="Id of a document under the root")],
    encoder: Annotated[str, typer.Option(help="An embedding of CONFIG, or hidden/MODEL: what a network learnt")],
    k: Annotated[int, typer.Option("-k", min=1, help="How many")] = 10,
    set_: Overrides = [],  # noqa: B006
    json: AsJson = False, verbose: Verbose = False,
) -> None:  # fmt: skip
    """Show the documents that are nearest to one, by an embedding or by what a network has learnt.

    Reads what the last run made, and changes nothing.

    Example: fuseline neighbours conf/demo.yaml clipart-0007 --encoder image
    """
    with error_boundary(verbose):
        from fuseline.flows.neighbours import nearest_documents

        found = nearest_documents(load_config(config, set_), document, encoder, k=k)
        if not json:
            own = found.document
            out.print(Text(f"{own['id']} in {found.vectors}: {', '.join(own['labels'])}: {own['title'] or ''}"))
        print_rows(found._asdict(), json, lambda: neighbour_table(found.neighbours))


def neighbour_table(rows: list[dict[str, Any]]) -> Table:
    """Show the nearest documents."""
    table = column_table("id", similarity="right", labels="left", title="left")
    for row in rows:
        cells = (row["id"], f"{row['similarity']:.3f}", ", ".join(row["labels"]), row["title"] or "")
        table.add_row(*map(Text, cells))
    return table
