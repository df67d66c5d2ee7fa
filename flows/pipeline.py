"""The whole DAG: every step's flow, in order."""

from typing import Any

from prefect import flow

from flows.artifacts import publish_artifacts
from flows.graph import build
from flows.outcome import check_failures
from flows.parameters import Chosen, Values, settings_of
from flows.report import report
from flows.runs import write_run
from flows.runtime import locked, new_run
from flows.step import Wishes
from flows.steps import STEPS


@flow(name="pipeline", flow_run_name="pipeline: {config}", persist_result=False)
def pipeline(
    config: Chosen,
    set: Values = None,  # noqa: A002
    retry_failed: bool = False,
    refit: bool = False,
) -> list[dict[str, Any]]:
    """Run every step; each makes only what is not fresh. Return one account per stage.

    Raises:
        TooManyFailuresError: when all is published.
    """
    settings, wishes, run, accounts = settings_of(config, set), Wishes(retry_failed, refit), new_run(), []
    with locked(settings) as root:
        for step in STEPS:
            accounts += step(settings, wishes)
        page = report(settings, accounts=accounts, run=run)
        write_run(root, run, settings, accounts, page)
        publish_artifacts(settings, root, page)
        check_failures(build(settings), root, settings.run.allowed_failures)
    return accounts
