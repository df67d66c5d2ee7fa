"""The whole DAG: every step's flow, in order."""

from typing import Any

from prefect import flow

from flows.clean import clean
from flows.config import Config
from flows.evaluate import evaluate
from flows.extract import extract
from flows.graph import build
from flows.ingest import ingest
from flows.outcome import check_failures
from flows.predict import predict
from flows.quantize import quantize
from flows.report import report
from flows.runs import write_run
from flows.runtime import locked, new_run
from flows.train import train

STEPS = [ingest, clean, extract, quantize, train, predict, evaluate]


@flow(name="pipeline", persist_result=False)
def pipeline(config: Config, retry_failed: bool = False, refit: bool = False) -> list[dict[str, Any]]:
    """Run every step; each makes only what is not fresh. Return one account per stage.

    Raises:
        TooManyFailuresError: when all is published.
    """
    run, accounts = new_run(), []
    with locked(config) as root:
        for step in STEPS:
            accounts += step(config, retry_failed=retry_failed, refit=refit)
        page = report(config, accounts=accounts, run=run)
        write_run(root, run, config, accounts, page)
        check_failures(build(config), root, config.run.allowed_failures)
    return accounts
