"""`fuseline repair` of a damaged codebook: the same again, or a line that says that another one comes of it."""

import shutil
from pathlib import Path

import orjson
import polars as pl
from faults import flip

from tests.flows.conftest import Cli, settings, write_config


def test_a_codebook_that_cannot_come_again_is_told(cli: Cli, finished: Path, tmp_path: Path) -> None:
    shutil.copytree(finished.parent, tmp_path / "data", symlinks=True)
    config, root = write_config(tmp_path / "data", settings(tmp_path / "data")), tmp_path / "data" / "out"
    (file,) = root.glob("codebooks/pq/*/checkpoint-*/arrays.safetensors")
    before, record = file.read_bytes(), orjson.loads((file.parents[1] / "record.json").read_bytes())
    flip(file)
    result = cli("repair", config)
    assert result.exit_code == 0, result.output
    assert file.read_bytes() == before
    assert "instead of" not in result.output

    documents = pl.read_parquet(root / "latest" / "documents.parquet")
    trained = documents.filter(pl.col("split") == "train")["id"].to_list()
    assert record["n_rows"] == len(trained)
    assert cli("forget", config, "--ids", trained[0]).exit_code == 0
    flip(file)
    result = cli("repair", config)
    assert result.exit_code == 0, result.output
    line = (
        "quantize/codebooks-pq: its checkpoint is missing or cut, and documents that it saw changed: fitted on "
        f"today's {len(trained) - 1} training documents instead of the {len(trained)} of before"
    )
    assert line in " ".join(result.output.split())
    last = orjson.loads(max((root / "runs").glob("*.json")).read_bytes())
    told = {row["stage"]: row["notes"] for row in last["stages"] if row["notes"]}
    assert list(told) == ["quantize/codebooks-pq"]
    assert line in told["quantize/codebooks-pq"][0]
