"""Codebooks and data that move away from them: notes, refits within the same run, published tables."""

import shutil
from pathlib import Path

import duckdb
import numpy as np
import orjson
import pyarrow.parquet as pq
import pytest
from PIL import Image

from fuseline.stores.schemas import DRIFT, MODELS, TOKENS, WORDS
from tests.flows.conftest import Cli, document, settings, write_config, write_documents
from tests.flows.test_run import busy, last_summaries, plan_of

THRESHOLDS = {"rows": 5, "held_out": 5}


@pytest.fixture
def moved(cli: Cli, finished: Path, tmp_path: Path) -> Path:
    """Return the configuration of a finished pipeline, to which 12 pictures of noise were added."""
    folder = tmp_path / "data"
    shutil.copytree(finished.parent, folder, symlinks=True)
    rows = [document(folder, number) for number in range(62)]
    for row in rows[50:]:
        rng = np.random.default_rng(int(str(row["id"])[-4:]))
        Image.fromarray(rng.integers(0, 255, (64, 64, 3), np.uint8)).save(folder / str(row["image"]))
    write_documents(folder, rows)
    values = settings(folder)
    values["quantize"]["pq"]["drift"] = THRESHOLDS  # type: ignore[index]
    return write_config(folder, values)


def codebook(config: Path) -> str:
    """Return the version of the codebook in force."""
    (record,) = (config.parent / "out" / "codebooks" / "pq").glob("*/record.json")
    return str(orjson.loads(record.read_bytes())["name"])


def test_a_run_says_that_a_codebook_should_be_fitted_again_and_leaves_it(cli: Cli, moved: Path) -> None:
    before = codebook(moved)
    result = cli("run", moved)
    assert result.exit_code == 0, result.output
    said = " ".join(result.output.split())
    assert "codebooks/pq: 12 new rows drifted: mean squared error" in said
    assert "--refit fits it again (refit: drift does so by itself)" in said
    assert codebook(moved) == before
    assert busy(plan_of(cli, moved)) == set()
    row = pq.read_table(moved.parent / "out" / "latest" / "drift.parquet").to_pylist()[0]
    assert (row["codebook"], row["rows"], row["shards"], row["refit"]) == ("pq", 12, 1, True)
    assert "fit again: mean squared error" in (moved.parent / "out" / "latest" / "report.html").read_text()


def test_under_drift_the_same_run_fits_it_again_with_all_that_follows(cli: Cli, moved: Path) -> None:
    before, wish = codebook(moved), ("--set", "refit=drift")
    result = cli("run", moved, *wish)
    assert result.exit_code == 0, result.output
    assert "drifted" not in result.output
    assert codebook(moved) != before
    done = last_summaries(moved.parent / "out")
    assert done["quantize/codebooks-pq"]["computed_shards"] == 1
    assert done["quantize/pq"]["computed_shards"] == 1 + 4  # the new shard, then all
    assert done["train/pq"]["computed_shards"] == 1
    assert done["train/additive"]["computed_shards"] == 0  # reads no codes
    assert done["predict/pq"]["rows_computed"] == 62
    assert busy(plan_of(cli, moved, *wish)) == set()
    assert cli("verify", moved, *wish).exit_code == 0


def test_a_plan_says_why_a_codebook_will_be_fitted_again(cli: Cli, moved: Path) -> None:
    assert cli("run", moved).exit_code == 0
    plan = plan_of(cli, moved, "--set", "refit=drift")
    assert str(plan["quantize/codebooks-pq"]["why"]).startswith("12 new rows drifted: mean squared error")
    assert plan["quantize/pq"]["why"] == "codebooks/pq will be fitted (4 shards)"
    assert plan["train/pq"]["why"] == "codebooks/pq was fitted again"
    assert not {"train/text", "train/additive", "embed/image"} & busy(plan)


def test_tokens_words_drift_and_models_are_tables_and_views(finished: Path) -> None:
    root = finished.parent / "out"
    for name, schema in (("tokens", TOKENS), ("words", WORDS), ("drift", DRIFT), ("models", MODELS)):
        assert pq.read_schema(root / "latest" / f"{name}.parquet").equals(schema)
    with duckdb.connect(str(root / "catalog.duckdb"), read_only=True) as catalog:
        counts = catalog.execute(
            "SELECT part, sum(n_documents), any_value(token) FROM tokens WHERE model = 'pq' GROUP BY part ORDER BY part"
        ).fetchall()
        best = catalog.execute("SELECT word, tokens[1].token FROM words WHERE word = 'round'").fetchall()
        models = catalog.execute("SELECT model, parameters, bytes_per_document, seconds > 0 FROM models").fetchall()
    assert [(part, n, token[:6]) for part, n, token in counts] == [(p, 50, f"_q-_{p}_") for p in range(4)]
    assert best[0][1].startswith("_q-_")
    facts = {name: (parameters, read, timed) for name, parameters, read, timed in models}
    assert {name: read for name, (_, read, _) in facts.items()} == {"additive": 4 * 1280, "pq": 4, "text": 0}
    assert all(parameters > 0 and timed for parameters, _, timed in facts.values())


def test_a_circles_token_is_near_to_a_circles_words(finished: Path) -> None:
    """Red circles have captions with round, ball or ring: what most of a token's documents are, its words say."""
    folder = finished.parent / "out" / "latest"
    by_id = {row["id"]: row["labels"][0] for row in pq.read_table(folder / "documents.parquet").to_pylist()}
    words = {"round": "circle", "ball": "circle", "ring": "circle", "box": "square", "flat": "square",
             "corner": "square", "sharp": "triangle", "peak": "triangle", "roof": "triangle"}  # fmt: skip
    right = total = 0
    for token in pq.read_table(folder / "tokens.parquet").to_pylist():
        owners = {by_id[document["id"]] for document in token["documents"]}
        near = next((words[word["word"]] for word in token["words"] if word["word"] in words), None)
        if len(owners) == 1 and near is not None:
            total, right = total + 1, right + (near in owners)
    assert total >= 6
    assert right / total > 0.7
