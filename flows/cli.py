"""The `fuseline` command: thin, over the functions that the flows call."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer
from rich.console import Console

from flows import console as show
from flows.config import Config, load_config
from flows.graph import build
from flows.listing import REGISTRIES, wanted_networks
from flows.options import plan_options
from flows.outcome import failure_rate, notes
from flows.progress import telling
from flows.publish import plan_report, publish_results
from flows.runtime import locked, new_run, prepare_prefect
from models.weights.listing import networks, weights_rows
from stores.errors import ConfigError, FuselineError, MismatchError, mismatch
from tasks.planner import Plan, plan_all
from tasks.pool import close_pool

app = typer.Typer(
    name="fuseline", no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode=None,
    help="Classify large collections of documents with text, images and columns: offline, shard by shard.",
)  # fmt: skip
# A log has no width of its own: tables there must not break lines.
WIDTH = None if sys.stdout.isatty() else 180
out, err = Console(highlight=False, width=WIDTH), Console(stderr=True, highlight=False, width=WIDTH)

ConfigPath = Annotated[Path, typer.Argument(metavar="CONFIG", help="A YAML file, such as conf/demo.yaml")]
Overrides = Annotated[list[str], typer.Option("--set", metavar="KEY=VALUE", help="Set one value, e.g. run.workers=1")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON")]
Wait = Annotated[float, typer.Option(help="Seconds to wait for another run on the same root; -1 for ever")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Show Prefect's log and tracebacks")]
Refit = Annotated[bool, typer.Option("--refit", help="Fit columns, codebooks and models again")]
RetryFailed = Annotated[bool, typer.Option("--retry-failed", help="Try again exactly the rows that failed")]

Ids = Annotated[list[str], typer.Option("--ids", metavar="FILE|ID", help="An id, or a file of one id per line")]

INTERRUPTED = 130


@app.command()
def run(
    config: ConfigPath, set_: Overrides = [], refit: Refit = False, retry_failed: RetryFailed = False,  # noqa: B006
    wait: Wait = -1, verbose: Verbose = False,
) -> None:  # fmt: skip
    """Make everything that is not fresh, then the report.

    Example: fuseline run conf/demo.yaml
    """
    with _polite(verbose):
        settings = load_config(config, set_)
        with locked(settings, wait=wait):
            _run(settings, refit=refit, retry_failed=retry_failed, verbose=verbose)


@app.command()
def plan(
    config: ConfigPath, set_: Overrides = [], refit: Refit = False, retry_failed: RetryFailed = False,  # noqa: B006
    json: AsJson = False,
) -> None:  # fmt: skip
    """Say per stage what a run would make, and why.

    Example: fuseline plan conf/demo.yaml --json
    """
    with _polite():
        settings = load_config(config, set_)
        _, rows = _planned(settings, refit=refit, retry_failed=retry_failed)
        _print(rows, json, lambda: show.plan_table(rows))


@app.command()
def status(config: ConfigPath, set_: Overrides = [], json: AsJson = False) -> None:  # noqa: B006
    """Say what was run last, what lies under the root, and who holds it.

    Example: fuseline status conf/demo.yaml
    """
    with _polite():
        settings = load_config(config, set_)
        found = show.status_of(settings, build(settings))
        _print(found, json, lambda: show.status_table(found))


@app.command(name="show")
def show_config(config: ConfigPath, set_: Overrides = []) -> None:  # noqa: B006
    """Print the effective configuration and its digest.

    Example: fuseline show conf/demo.yaml
    """
    with _polite():
        settings = load_config(config, set_)
        sys.stdout.write(f"# digest {settings.digest}\n{settings.to_yaml()}")


@app.command()
def predict(
    config: ConfigPath,
    model: Annotated[str, typer.Option(help="Name of a trained model in CONFIG")],
    source: Annotated[str, typer.Option(help="New documents: file, folder or URL")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Parquet file to write")],
    reader: Annotated[str | None, typer.Option(help="Reader of the new documents; default: CONFIG's")] = None,
    option: Annotated[list[str], typer.Option("--option", metavar="KEY=VALUE", help="Option of the reader")] = [],  # noqa: B006
    set_: Overrides = [],  # noqa: B006
    wait: Wait = -1, verbose: Verbose = False,
) -> None:  # fmt: skip
    """Predict new documents with a trained model.

    Example: fuseline predict conf/demo.yaml --model additive --source new.jsonl -o new.parquet
    """
    with _polite(verbose):
        settings = load_config(config, set_)
        prepare_prefect(Path(settings.root), verbose=verbose)
        from flows.prediction import predict_new

        with locked(settings, wait=wait), telling(err):
            rows = predict_new(settings, model, source, output, reader=reader, options=option)
        err.print(f"{rows:,} predictions in {output}")


@app.command()
def sweep(
    config: ConfigPath, set_: Overrides = [],  # noqa: B006
    wait: Wait = -1, verbose: Verbose = False, json: AsJson = False,
) -> None:  # fmt: skip
    """Try a grid of options per model on valid; train the best with several seeds and score them on test.

    Example: fuseline sweep conf/demo.yaml --set sweep.models=[text,pq] --set sweep.budget_minutes=30
    """
    with _polite(verbose):
        settings = load_config(config, set_)
        from flows.cells import Grid, sweep_todo
        from flows.grid import publish_sweep, sweep_table
        from flows.paper import publish_paper

        with locked(settings, wait=wait), telling(err):
            ran = 0
            if sweep_todo(settings):
                prepare_prefect(Path(settings.root), verbose=verbose)
                from flows.sweep import sweep as run_sweep

                ran = run_sweep(settings)
            grid = Grid(settings)
            found = publish_sweep(grid, ran=ran)
            page = publish_paper(grid, found)
        _print(found.to_json(), json, lambda: sweep_table(found))
        err.print(f"{found.line()}; tables and figure beside {page}")


@app.command()
def report(config: ConfigPath, set_: Overrides = [], verbose: Verbose = False) -> None:  # noqa: B006
    """Write the report, latest/ and the catalog again.

    Example: fuseline report conf/demo.yaml
    """
    with _polite(verbose):
        settings = load_config(config, set_)
        _, rows = _planned(settings)
        if any(row["stale"] or row["missing"] for row in rows if row["stage"] != "report"):
            raise FuselineError("report: expected fresh datasets, got stale ones; run `fuseline run` first")
        with locked(settings):
            out.print(publish_results(settings, show.last_accounts(Path(settings.root)), new_run()))


@app.command()
def verify(config: ConfigPath, set_: Overrides = [], json: AsJson = False) -> None:  # noqa: B006
    """Re-read every byte and compare digests, and look for forgotten documents; exit code 1 on either.

    Example: fuseline verify conf/demo.yaml
    """
    from flows.verification import verified

    with _polite():
        found = verified(load_config(config, set_))
        _print(found.rows, json, lambda: show.verify_table(found.rows))
        for line in found.lines:
            err.print(line)
        if any(row["damaged"] for row in found.rows):
            raise typer.Exit(1)


@app.command()
def forget(
    config: ConfigPath, ids: Ids = [],  # noqa: B006
    missing_ok: Annotated[bool, typer.Option("--missing-ok", help="Keep ids out that nothing holds")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be erased")] = False,
    refit: Refit = False, set_: Overrides = [],  # noqa: B006
    wait: Wait = -1, json: AsJson = False, verbose: Verbose = False,
) -> None:  # fmt: skip
    """Erase documents from everything below the root, and keep them out of it; without --ids, complete an erasure.

    Example: fuseline forget conf/demo.yaml --ids doc-17 --ids ids.txt
    """
    from flows import forget as forgetting

    with _polite(verbose):
        settings = load_config(config, set_)
        with locked(settings, wait=wait):
            done = forgetting.forget(settings, forgetting.read_ids(ids), missing_ok=missing_ok, dry_run=dry_run)
            _print(done.to_json(), json, lambda: show.erasure_table(done.rows))
            for line in forgetting.told(done, settings, dry_run=dry_run):
                err.print(line)
            if dry_run:
                return
            if refit:
                _run(settings, refit=True, verbose=verbose)
                forgetting.drop_superseded(Path(settings.root))
            elif done.current:
                err.print(forgetting.renew(settings))


@app.command()
def repair(config: ConfigPath, set_: Overrides = [], wait: Wait = -1, verbose: Verbose = False) -> None:  # noqa: B006
    """Make damaged shards again, and only those.

    Example: fuseline repair conf/demo.yaml
    """
    from flows.maintenance import find_damage, mend

    with _polite(verbose):
        settings = load_config(config, set_)
        root = Path(settings.root)
        with locked(settings, wait=wait):
            for _, _, damage in find_damage(build(settings), root):
                for one in damage:
                    err.print(f"damaged: {one.node.label} {one}")
                    mend(one, root)
            _run(settings, verbose=verbose)


@app.command()
def gc(
    config: ConfigPath, set_: Overrides = [],  # noqa: B006
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be removed")] = False,
) -> None:  # fmt: skip
    """Remove versions that no configuration's last run needs.

    Example: fuseline gc conf/demo.yaml --dry-run
    """
    from flows.maintenance import find_garbage, remove, size_of

    with _polite():
        settings = load_config(config, set_)
        with locked(settings):
            total = 0
            for path in find_garbage(settings):
                size = size_of(path)
                total += size
                out.print(f"{size / 1e6:10.2f} MB  {path}")
                if not dry_run:
                    remove(path)
        out.print(f"{'would free' if dry_run else 'freed'} {total / 1e6:.2f} MB")


Registry = StrEnum("Registry", list(REGISTRIES))  # type: ignore[misc]


@app.command(name="list")
def list_(what: Annotated[Registry, typer.Argument(help="Which registry")], json: AsJson = False) -> None:
    """List what there is to choose from.

    Example: fuseline list encoders --json
    """
    with _polite():
        rows = REGISTRIES[what.value]()
        _print(rows, json, lambda: show.registry_table(rows))


weights = typer.Typer(no_args_is_help=True, help="Pretrained weights: which there are, and whether they are here.")
app.add_typer(weights, name="weights")


@weights.command(name="list")
def weights_list(json: AsJson = False) -> None:
    """List every network with its weights, and whether they are here.

    Example: fuseline weights list --json
    """
    with _polite():
        rows = weights_rows(networks())
        _print(rows, json, lambda: show.weights_table(rows))


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
    with _polite():
        if config is None and set_:
            raise ConfigError(mismatch("--set", "a CONFIG to change", "none", "name the configuration first"))
        rows = weights_rows(networks() if config is None else wanted_networks(load_config(config, set_)))
        _print(rows, json, lambda: show.weights_table(rows))
        faults = [row for row in rows if row["state"] == "wrong" or (config is not None and row["state"] != "ok")]
        for row in faults:
            err.print(f"{row['state']}: {row['name']}: {row['detail']}", markup=False, soft_wrap=True)
        if faults:
            raise typer.Exit(1)


def main() -> None:
    """Run the command line; exit codes: 0 done, 1 something failed, 2 bad arguments or configuration."""
    app()


def _run(settings: Config, *, refit: bool = False, retry_failed: bool = False, verbose: bool = False) -> None:
    root = Path(settings.root)
    plans, rows = _planned(settings, refit=refit, retry_failed=retry_failed)
    err.print(show.plan_table(rows))
    if any(row["stale"] or row["missing"] for row in rows) or _touched(plans):
        prepare_prefect(root, verbose=verbose)
        # Prefect reads its settings when it is first imported.
        from flows.pipeline import pipeline

        with telling(err):
            accounts = pipeline(settings, retry_failed=retry_failed, refit=refit)
        err.print(show.accounts_table(accounts))
        if (times := show.time_table(accounts)) is not None:
            err.print(times)
    else:
        err.print("nothing to do: every shard is fresh")
    nodes = build(settings)
    for note in notes(nodes, root):
        err.print(note)
    err.print(show.where_table(root))
    rate, allowed = failure_rate(nodes, root), settings.run.allowed_failures
    if rate > allowed:
        err.print(
            f"failed rows: expected at most {allowed:.1%} of a stage, got {rate:.1%}; see latest/quarantine.parquet"
        )
        raise typer.Exit(1)


def _planned(
    settings: Config, *, refit: bool = False, retry_failed: bool = False
) -> tuple[list[Plan], list[dict[str, Any]]]:
    nodes, root = build(settings), Path(settings.root)
    plans = plan_all(nodes, root, plan_options(settings, nodes, retry_failed=retry_failed, refit=refit))
    return plans, [*(plan.to_row() for plan in plans), plan_report(settings, nodes, root, plans)]


def _touched(plans: list[Plan]) -> bool:
    return any(plan.scan is not None and plan.scan.stale_state for plan in plans)


def _print(rows: Any, json: bool, table: Any) -> None:
    if json:
        sys.stdout.write(orjson.dumps(rows, option=orjson.OPT_INDENT_2).decode() + "\n")
    else:
        out.print(table())


@contextmanager
def _polite(verbose: bool = False) -> Iterator[None]:
    """Turn errors of ours into one line and an exit code; Ctrl-C into a word on what is kept."""
    # Progress lines have a handler of their own: Prefect takes the root logger over when it is imported.
    lines, handler = logging.getLogger("fuseline"), logging.StreamHandler(sys.stderr)
    lines.setLevel(logging.INFO)
    lines.handlers, lines.propagate = [handler], False
    try:
        yield
    except KeyboardInterrupt:
        close_pool(kill=True)
        err.print("interrupted: every shard that was committed is kept; the same command goes on from there")
        raise typer.Exit(INTERRUPTED) from None
    except (FuselineError, ValueError, FileNotFoundError) as error:
        close_pool(kill=True)
        if verbose or not _known(error):
            raise
        message = error.args[-1] if isinstance(error, OSError) else error
        err.print(f"error: {message}", style="red", markup=False, soft_wrap=True)
        raise typer.Exit(2 if isinstance(error, ConfigError | MismatchError) else 1) from error


def _known(error: Exception) -> bool:
    return isinstance(error, FuselineError) or type(error).__module__.startswith("models.")


if __name__ == "__main__":
    main()
