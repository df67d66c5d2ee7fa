"""Commands that check, repair and tidy an output root."""

from typing import Annotated

import typer

from fuseline.flows.cli import console as show
from fuseline.flows.cli.app import (
    AsJson,
    ConfigPath,
    Ids,
    Overrides,
    Refit,
    Verbose,
    Wait,
    command_group,
    err,
    error_boundary,
    out,
    print_rows,
)
from fuseline.flows.cli.pipeline import run_settings
from fuseline.flows.config import load_config
from fuseline.flows.runtime import locked
from fuseline.stores.places import open_root

commands = command_group()


@commands.command()
def verify(config: ConfigPath, set_: Overrides = [], json: AsJson = False) -> None:  # noqa: B006
    """Re-read every byte and compare digests, and look for forgotten documents; exit code 1 on either.

    Example: fuseline verify conf/demo.yaml
    """
    from fuseline.flows.upkeep.verification import verified

    with error_boundary():
        verification = verified(load_config(config, set_))
        print_rows(verification.rows, json, lambda: show.verify_table(verification.rows))
        for line in verification.lines:
            err.print(line)
        if any(row["damaged"] for row in verification.rows):
            raise typer.Exit(1)


@commands.command()
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
    from fuseline.flows.upkeep import forget as forgetting

    with error_boundary(verbose):
        settings = load_config(config, set_)
        with locked(settings, wait=wait):
            done = forgetting.forget(settings, forgetting.read_ids(ids), missing_ok=missing_ok, dry_run=dry_run)
            print_rows(done.to_json(), json, lambda: show.erasure_table(done.rows))
            for line in forgetting.report_lines(done, settings, dry_run=dry_run):
                err.print(line)
            if dry_run:
                return
            if refit:
                run_settings(settings, refit=True, verbose=verbose)
                forgetting.drop_superseded(open_root(settings.root))
            elif done.current:
                err.print(forgetting.renew(settings))


@commands.command()
def repair(config: ConfigPath, set_: Overrides = [], wait: Wait = -1, verbose: Verbose = False) -> None:  # noqa: B006
    """Make damaged shards again, and only those.

    Example: fuseline repair conf/demo.yaml
    """
    from fuseline.flows.upkeep.damage import find_all_damage

    with error_boundary(verbose):
        settings = load_config(config, set_)
        with locked(settings, wait=wait):
            for label, _, damage in find_all_damage(settings):
                for fault in damage:
                    err.print(f"damaged: {label} {fault}")
                    if note := fault.repair():
                        err.print(note)
            run_settings(settings, verbose=verbose)


@commands.command()
def gc(
    config: ConfigPath, set_: Overrides = [],  # noqa: B006
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be removed")] = False,
    wait: Wait = -1,
) -> None:  # fmt: skip
    """Remove versions that no configuration's last run needs.

    Example: fuseline gc conf/demo.yaml --dry-run
    """
    from fuseline.flows.results.catalog import renew_catalog
    from fuseline.flows.upkeep.maintenance import find_garbage

    with error_boundary():
        settings = load_config(config, set_)
        with locked(settings, wait=wait):
            total, root = 0, open_root(settings.root)
            for name in find_garbage(settings):
                size = root.size(name)
                total += size
                out.print(f"{size / 1e6:10.2f} MB  {root.uri(name)}")
                if not dry_run:
                    root.remove(name)
            if total and not dry_run and not renew_catalog(settings, root):
                err.print("catalog.duckdb names removed files and went too: the next run writes it again")
        out.print(f"{'would free' if dry_run else 'freed'} {total / 1e6:.2f} MB")
