"""Commands that compare models."""

from pathlib import Path
from typing import Annotated

import typer

from fuseline.flows.cli import row_tables
from fuseline.flows.cli.app import (
    AsJson,
    ConfigPath,
    Overrides,
    Verbose,
    Wait,
    command_group,
    err,
    error_boundary,
    out,
    print_rows,
)
from fuseline.flows.cli.registries import one_of
from fuseline.flows.config import load_config
from fuseline.flows.config_edits import check_appliable
from fuseline.flows.graph import build
from fuseline.flows.prefect_setup import prepare_prefect
from fuseline.flows.progress_display import show_progress
from fuseline.flows.results.outcome import check_failures
from fuseline.flows.runtime import locked
from fuseline.stores.errors import ConfigError, mismatch
from fuseline.stores.places import open_root

commands = command_group()
PAPERS = ("K", "Z", "P", "M", "R")  # Kiela 2018, Zahavy 2016, on PetFinder, Miller 2020, Reiter 2020


@commands.command()
def sweep(
    config: ConfigPath, set_: Overrides = [],  # noqa: B006
    apply: Annotated[bool, typer.Option("--apply", help="Write the best options of each model into CONFIG")] = False,
    wait: Wait = -1, verbose: Verbose = False, json: AsJson = False,
) -> None:  # fmt: skip
    """Try a grid of options per model on valid; train the best with several seeds and score them on test.

    Example: fuseline sweep conf/demo.yaml --set sweep.models=[text,pq] --set sweep.budget_minutes=30
    """
    with error_boundary(verbose):
        settings = load_config(config, set_)
        before = check_appliable(config, set_) if apply else b""
        from fuseline.flows.experiments.applying import applied_lines, apply_best
        from fuseline.flows.experiments.paper import publish_paper
        from fuseline.flows.experiments.tables import list_in_catalog, publish_sweep, sweep_table
        from fuseline.flows.experiments.trials import Grid, sweep_todo

        with locked(settings, wait=wait), show_progress(err):
            ran = 0
            if sweep_todo(settings):
                prepare_prefect(open_root(settings.root), verbose=verbose)
                from fuseline.flows.experiments.sweep import sweep as run_sweep

                ran = run_sweep(settings)
            grid = Grid(settings)
            trained = publish_sweep(grid, ran=ran)
            page = publish_paper(grid, trained)
            list_in_catalog(settings, grid.root)
            changes = apply_best(grid, config, before, overrides=set_) if apply else []
        applied = {"applied": [change._asdict() for change in changes]} if apply else {}
        print_rows(trained.to_json() | applied, json, lambda: sweep_table(trained))
        err.print(f"{trained.line()}; tables and figure beside {page}")
        for line in applied_lines(changes, str(config)) if apply else ():
            err.print(line, soft_wrap=True)
        check_failures(build(settings), open_root(settings.root), settings.run.allowed_failures)


@commands.command()
def paper(
    which: Annotated[str, one_of("PAPER", PAPERS)],
    places: Annotated[
        list[str], typer.Argument(metavar="CONFIG|ROOT...", help="Output roots; but for K also a YAML file to run")
    ],
    output: Annotated[str, typer.Option("--output", "-o", help="Folder for report.html and its tables")] = "paper",
    set_: Overrides = [],  # noqa: B006
    wait: Wait = -1, verbose: Verbose = False, json: AsJson = False,
) -> None:  # fmt: skip
    """Set the results of several data sets beside the tables of a paper, and decide its claims.

    K (Kiela 2018) joins finished sweeps. Z (Zahavy 2016), P (autoencoder with attention on PetFinder), M (Miller
    2020) and R (Reiter 2020) read finished runs, whose models are those of conf/papers/; a configuration is run
    first, as `fuseline run` does. Roots of configurations with one `name` are repeats with other seeds: their mean is
    shown.

    Example: fuseline paper Z conf/mine.yaml runs/openclipart runs/cdda_items
    """
    with error_boundary(verbose):
        if which == "K":
            _paper_k(places, output, json=json)
            return
        from fuseline.flows.cli.pipeline import run_settings
        from fuseline.flows.results.papers import PAPERS as BESIDE
        from fuseline.flows.results.papers import read_runs, write_paper

        configs = {place: load_config(Path(place), set_) for place in places if is_config(place)}
        for settings in configs.values():
            with locked(settings, wait=wait):
                run_settings(settings, verbose=verbose)
        data = read_runs([configs[place].root if place in configs else place for place in places])
        chosen = BESIDE[which]
        page = write_paper(chosen, data, output)
        claims = chosen.verdicts(data).to_pylist()
        if not json:
            for one in chosen.tables(data, chosen.values(data)):
                out.print(row_tables.printed_table(one))
        found = {"paper": which, "report": page, "claims": claims, "cells": chosen.cells(data).to_pylist()}
        print_rows(found if json else claims, json, lambda: row_tables.claims_table(claims))
        err.print(f"tables and claims: {page}")


def _paper_k(places: list[str], output: str, *, json: bool) -> None:
    from fuseline.flows.experiments.joined import read_studies, write_joined
    from fuseline.reports.papers.kiela_joined import cell_table, verdict_table

    if configs := [place for place in places if is_config(place)]:
        cure = "do `fuseline sweep` with it, then give its root"
        raise ConfigError(mismatch("paper K", "roots of finished sweeps", configs[0], cure))
    studies = read_studies(places)
    page = write_joined(studies, output)
    claims = verdict_table(studies).to_pylist()
    found = {"paper": "K", "report": page, "claims": claims, "cells": cell_table(studies).to_pylist()}
    print_rows(found if json else claims, json, lambda: row_tables.claims_table(claims))
    err.print(f"tables and claims: {page}")


def is_config(place: str) -> bool:
    """Return whether a place is a configuration, not a root."""
    return place.endswith((".yaml", ".yml"))
