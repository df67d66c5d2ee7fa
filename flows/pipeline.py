"""The whole DAG: every step's flow, in order."""

from pathlib import Path
from typing import Any

import orjson
from prefect import flow

from flows.clean import clean
from flows.config import Config
from flows.evaluate import evaluate
from flows.extract import extract
from flows.ingest import ingest
from flows.predict import predict
from flows.quantize import quantize
from flows.report import report
from flows.runtime import locked, new_run
from flows.train import train
from stores.atomic import write_bytes

STEPS = [ingest, clean, extract, quantize, train, predict, evaluate]


@flow(name="pipeline", persist_result=False)
def pipeline(config: Config, retry_failed: bool = False, refit: bool = False) -> list[dict[str, Any]]:
    """Run every step; each makes only what is not fresh. Return one account per stage."""
    run, accounts = new_run(), []
    with locked(config) as root:
        for step in STEPS:
            accounts += step(config, retry_failed=retry_failed, refit=refit)
        page = report(config, accounts=accounts, run=run)
        _write_run(root, run, config, accounts, page)
    return accounts


def _write_run(root: Path, run: str, config: Config, accounts: list[dict[str, Any]], page: str) -> None:
    record = {"run": run, "name": config.name, "config": config.model_dump(mode="json"), "report": page}
    write_bytes(root / "runs" / f"{run}.json", orjson.dumps({**record, "stages": accounts}, option=orjson.OPT_INDENT_2))
