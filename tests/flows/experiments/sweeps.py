"""A small sweep of the small pipeline: its configuration, its call and its tables."""

import shutil
from pathlib import Path
from typing import Any

import orjson
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from tests.flows.conftest import Cli, settings, write_config

SWEEP = {"models": ["gated", "text"], "lr": [0.1, 0.5], "epochs": [3], "dim": [4], "seeds": 2}
N_CELLS, N_SEEDS, N_TIMES = 2 * 2 + 2, 2 * 2, 2
N_ALL = N_CELLS + N_SEEDS + N_TIMES


def with_sweep(folder: Path, **changes: Any) -> Path:
    """Write the configuration of the small pipeline with a small sweep."""
    values: dict[str, Any] = settings(folder)
    values["models"]["gated"] = {"kind": "gated", "options": {"min_count": 1}}
    values |= {key: changes.pop(key) for key in ("refit", "run") if key in changes}
    return write_config(folder, {**values, "sweep": {**SWEEP, **changes}})


def call(cli: Cli, config: Path, *options: object) -> dict[str, Any]:
    """Sweep and return what is printed as JSON."""
    result = cli("sweep", config, "--json", *options)
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = orjson.loads(result.stdout)
    return found


def table(config: Path, name: str) -> pl.DataFrame:
    """Return one of the tables of a sweep."""
    return pl.read_parquet(config.parent / "out" / "sweep" / f"{name}.parquet")


def copy_of(config: Path, folder: Path, **changes: Any) -> Path:
    """Copy data and output, and write the configuration of the copy."""
    shutil.copytree(config.parent, folder, symlinks=True)
    return with_sweep(folder, **changes)


def schema_of(config: Path, name: str) -> pa.Schema:
    """Return the columns of one of the tables of a sweep."""
    return pq.read_schema(config.parent / "out" / "sweep" / f"{name}.parquet")


def option(frame: pl.DataFrame, axis: str) -> list[Any]:
    """Return what the trials of a table tried on one axis; None where it is none of theirs."""
    return [orjson.loads(text).get(axis) for text in frame["options"]]


SCORED = pl.col("metric") == "accuracy"
PLAIN = pl.col("condition").is_null()


def folder_of(config: Path, trial: Any) -> Path:
    """Return the folder of a trial."""
    return config.parent / "out" / trial.node.name / trial.node.key


def result_of(config: Path, trial: Any) -> bytes:
    """Return the bytes of what a trial found."""
    record = orjson.loads((folder_of(config, trial) / "record.json").read_bytes())
    checkpoint = folder_of(config, trial) / record["name"]
    return (checkpoint / "trial.json").read_bytes() + (checkpoint / "results.parquet").read_bytes()
