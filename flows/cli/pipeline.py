"""Commands that make things: run, plan, status, predict, report."""

from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from fuseline.flows.cli import console as show
from fuseline.flows.cli.app import (
    AsJson,
    ConfigPath,
    Overrides,
    Refit,
    RetryFailed,
    Verbose,
    Wait,
    command_group,
    err,
    error_boundary,
    out,
    print_rows,
)
from fuseline.flows.config import Config, load_config
from fuseline.flows.graph import build, built_once
from fuseline.flows.plan_options import plan_options
from fuseline.flows.prefect_setup import prepare_prefect
from fuseline.flows.progress_display import show_progress
from fuseline.flows.results.leaderboard import published_cautions, published_leaderboard
from fuseline.flows.results.outcome import TooManyFailuresError, absent, check_failures, notes
from fuseline.flows.results.publish import plan_report, publish_results
from fuseline.flows.runs import last_keys, last_summaries
from fuseline.flows.runtime import locked, new_run
from fuseline.stores.errors import FuselineError
from fuseline.stores.places import open_root
from fuseline.tasks.engine.nodes import ShardStage
from fuseline.tasks.engine.planner import Plan, plan_all

commands = command_group()


@commands.command()
def run(
    config: ConfigPath, set_: Overrides = [], refit: Refit = False, retry_failed: RetryFailed = False,  # noqa: B006
    wait: Wait = -1, verbose: Verbose = False,
) -> None:  # fmt: skip
    """Make everything that is not fresh, then the report.

    Example: fuseline run conf/demo.yaml
    """
    with error_boundary(verbose):
        settings = load_config(config, set_)
        with locked(settings, wait=wait):
            run_settings(settings, refit=refit, retry_failed=retry_failed, verbose=verbose)


@commands.command()
def plan(
    config: ConfigPath, set_: Overrides = [], refit: Refit = False, retry_failed: RetryFailed = False,  # noqa: B006
    json: AsJson = False,
) -> None:  # fmt: skip
    """Say per stage what a run would make, and why.

    Example: fuseline plan conf/demo.yaml --json
    """
    with error_boundary():
        settings = load_config(config, set_)
        _, rows = _planned(settings, refit=refit, retry_failed=retry_failed)
        print_rows(rows, json, lambda: show.plan_table(rows))


@commands.command()
def status(config: ConfigPath, set_: Overrides = [], json: AsJson = False) -> None:  # noqa: B006
    """Say what was run last, what lies under the root, and who holds it.

    Example: fuseline status conf/demo.yaml
    """
    with error_boundary():
        settings = load_config(config, set_)
        status = show.status_of(settings, build(settings))
        print_rows(status, json, lambda: show.status_table(status))


@commands.command()
def predict(
    config: ConfigPath,
    model: Annotated[str, typer.Option(help="Name of a trained model in CONFIG")],
    source: Annotated[str, typer.Option(help="New documents: file, folder or URL")],
    output: Annotated[str, typer.Option("--output", "-o", help="Parquet file to write; - for standard output")],
    reader: Annotated[str | None, typer.Option(help="Reader of the new documents; default: CONFIG's")] = None,
    option: Annotated[list[str], typer.Option("--option", metavar="KEY=VALUE", help="Option of the reader")] = [],  # noqa: B006
    set_: Overrides = [],  # noqa: B006
    wait: Wait = -1, verbose: Verbose = False,
) -> None:  # fmt: skip
    """Predict new documents with a trained model.

    Example: fuseline predict conf/demo.yaml --model additive --source new.jsonl -o new.parquet
    """
    with error_boundary(verbose):
        settings = load_config(config, set_)
        root = open_root(settings.root)
        with locked(settings, wait=wait), show_progress(err):
            prepare_prefect(root, verbose=verbose)
            from fuseline.flows.prediction import predict_new

            prediction = predict_new(settings, model, source, output, reader=reader, options=option)
        err.print(f"{prediction.rows:,} predictions in {output}")
        for note in absent(prediction.nodes, root):
            err.print(note)
        check_failures(prediction.nodes, root, settings.run.allowed_failures, predictions=True)


@commands.command()
def export(
    config: ConfigPath,
    model: Annotated[str, typer.Option(help="Name of a model in CONFIG that reads text, perhaps visual tokens too")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for train.txt, valid.txt and test.txt")],
    set_: Overrides = [],  # noqa: B006
    wait: Wait = -1, verbose: Verbose = False,
) -> None:  # fmt: skip
    """Write documents as fastText label files, as a model reads them: words and visual tokens.

    Example: fuseline export conf/demo.yaml --model pq -o lines
    """
    with error_boundary(verbose):
        settings = load_config(config, set_)
        from fuseline.flows.exporting import export_labelled

        with locked(settings, wait=wait):
            for file, rows in export_labelled(settings, model, output):
                err.print(f"{rows:,} documents in {file}")


@commands.command()
def report(config: ConfigPath, set_: Overrides = [], wait: Wait = -1, verbose: Verbose = False) -> None:  # noqa: B006
    """Write the report, latest/ and the catalog again.

    Example: fuseline report conf/demo.yaml
    """
    with error_boundary(verbose):
        settings = load_config(config, set_)
        _, rows = _planned(settings)
        if any(row["stale"] or row["missing"] for row in rows if row["stage"] != "report"):
            raise FuselineError("report: expected fresh datasets, got stale ones; run `fuseline run` first")
        with locked(settings, wait=wait):
            out.print(publish_results(settings, last_summaries(open_root(settings.root)), new_run()))


def run_settings(settings: Config, *, refit: bool = False, retry_failed: bool = False, verbose: bool = False) -> None:
    """Run a configuration and print the plan, what was done, the leaderboard and where the results are.

    Raises:
        TooManyFailuresError: when all is published.
    """
    with built_once():
        _run_built(settings, refit=refit, retry_failed=retry_failed, verbose=verbose)


def _run_built(settings: Config, *, refit: bool, retry_failed: bool, verbose: bool) -> None:
    root = open_root(settings.root)
    # A source that changed is read by its ingest alone: what that leads to is known when it is done.
    plans, rows = _planned(settings, refit=refit, retry_failed=retry_failed, look=False)
    err.print(show.plan_table(rows))
    if any(row["stale"] or row["missing"] for row in rows) or _touched(plans):
        _start_workers(settings, plans)
        prepare_prefect(root, verbose=verbose)
        # Prefect reads its settings when it is first imported.
        from fuseline.flows.pipeline import pipeline

        # It is said below, after the results.
        with show_progress(err), suppress(TooManyFailuresError):
            pipeline(settings, retry_failed=retry_failed, refit=refit)
        summaries = last_summaries(root)
        err.print(show.summaries_table(summaries))
        if (times := show.time_table(summaries)) is not None:
            err.print(times)
        for note in (note for row in summaries for note in row["notes"]):
            err.print(note)
    else:
        err.print("nothing to do: every shard is fresh")
    nodes = build(settings)
    if standings := published_leaderboard(root):
        err.print(show.leaderboard_table(standings))
    for note in (*published_cautions(root), *notes(nodes, root)):
        err.print(note)
    err.print(show.where_table(root))
    check_failures(nodes, root, settings.run.allowed_failures)


def _planned(
    settings: Config, *, refit: bool = False, retry_failed: bool = False, look: bool = True
) -> tuple[list[Plan], list[dict[str, Any]]]:
    nodes, root = build(settings), open_root(settings.root)
    options = plan_options(settings, nodes, retry_failed=retry_failed, refit=refit)
    plans = plan_all(nodes, root, replace(options, last=last_keys(root, settings.name), look=look))
    return plans, [*(plan.to_row() for plan in plans), plan_report(settings, nodes, root, plans)]


def _start_workers(settings: Config, plans: list[Plan]) -> None:
    """Start the worker that will be needed; it imports while Prefect's server starts."""
    stages = [plan.node for plan in plans if isinstance(plan.node, ShardStage) and (plan.todo or _touched(plans))]
    if settings.run.executor == "local" and stages and open_root(settings.root).shared:
        from fuseline.tasks.engine.pool import shared_pool

        shared_pool(settings.run.workers).start({type(stage.config).__module__ for stage in stages})


def _touched(plans: list[Plan]) -> bool:
    return any(plan.scan is not None and plan.scan.stale_state for plan in plans)
