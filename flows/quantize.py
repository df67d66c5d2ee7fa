"""The quantize flow: embeddings become visual tokens; codebooks that the data moved away from are fitted again."""

from pathlib import Path
from typing import Any

from prefect import flow

from flows.config import Config
from flows.graph import build
from flows.runtime import locked
from flows.step import Wishes, run_step
from tasks.drift import refits

COUNTS = ("computed_shards", "rows_computed", "rows_reused", "failed_shards", "seconds")


@flow(name="quantize", persist_result=False)
def quantize(config: Config, retry_failed: bool = False, refit: bool = False) -> list[dict[str, Any]]:
    """Bring the quantize stages up to date; return one account per stage.

    Under `refit: drift`, new shards are encoded and compared first; where the report asks for it, a second round fits
    the codebook again and encodes all shards with it.
    """
    with locked(config):
        accounts = run_step(("quantize",), config, Wishes(retry_failed, refit))
        if config.refit == "drift" and not refit and refits(build(config), Path(config.root)):
            again = run_step(("quantize",), config, Wishes(retry_failed))
            accounts = [_added(first, second) for first, second in zip(accounts, again, strict=True)]
    return accounts


def _added(first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any]:
    """Return what a stage did in two rounds."""
    spent = {kind: seconds + second["spent"][kind] for kind, seconds in first["spent"].items()}
    return {**second, **{name: first[name] + second[name] for name in COUNTS}, "spent": spent}
