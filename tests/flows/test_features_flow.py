"""Columns, titles, descriptions and words in images, side by side: what each costs, and what a model makes of them."""

import csv
import random
import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import orjson
import polars as pl
import pytest
from PIL import Image, ImageDraw, ImageFont

from tests.flows.conftest import Cli, write_config
from tests.flows.test_run import busy, last_summaries, plan_of

# A kind follows from the colour, "cheap" from the price; titles tell the kind too, signs repeat it as letters.
KINDS = {"apple": "red", "pear": "green", "plum": "blue"}
TREES = {"rounds": 15, "min_rows": 3}


def write_table(folder: Path, n: int = 60) -> None:
    """Write a CSV file with gaps in every column, and a picture of a word per document."""
    folder.mkdir(exist_ok=True)
    rows = []
    for number in range(n):
        rng = random.Random(number)
        kind, price = sorted(KINDS)[number % 3], rng.choice([3.5, 4.0, 90.0, 120.0])
        sign = Image.new("RGB", (220, 80), "white")
        if number % 5:
            ImageDraw.Draw(sign).text((20, 15), kind.upper(), "black", ImageFont.load_default(40))
        sign.save(folder / f"{number}.png")
        rows.append(
            {
                "sku": f"s{number:03d}",
                "title": f"fresh {kind}" if number % 7 else "",
                "description": rng.choice(["from the garden", "from far away", ""]),
                "photo": f"{number}.png",
                "price": "" if number % 11 == 10 else price,
                "colour": KINDS[kind] if number % 4 else "",
                "label": kind + ("|cheap" if price < 50 else ""),
                "split": "test" if number % 5 == 1 else "valid" if number % 5 == 2 else "train",
            }
        )
    with (folder / "fruit.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


def settings(folder: Path) -> dict[str, Any]:
    """Return a configuration over columns and titles."""
    options = {
        "columns": {"id": "sku", "image": "photo", "labels": "label"},
        "tabular": {"price": "number", "colour": "category"},
        "label_separator": "|",
    }
    return {
        "name": "fruit",
        "root": str(folder / "out"),
        "source": {"reader": "csv", "path": str(folder / "fruit.csv"), "options": options},
        "shard_size": 20,
        "embed": {"columns": {"encoder": "tabular"}, "title": {"encoder": "minilm", "field": "title"}},
        "models": {"trees": {"kind": "lightgbm", "options": {**TREES, "embeddings": ["columns", "title"]}}},
        "report": {"gallery": 2},
    }


@pytest.fixture(scope="module")
def grown(cli: Cli, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the configuration of a pipeline that has run; tests must not change its data."""
    folder = tmp_path_factory.mktemp("fruit") / "data"
    write_table(folder)
    config = write_config(folder, settings(folder))
    result = cli("run", config)
    assert result.exit_code == 0, result.output
    return config


@pytest.fixture
def copied(cli: Cli, grown: Path, tmp_path: Path) -> Path:
    shutil.copytree(grown.parent, tmp_path / "data", symlinks=True)
    config = write_config(tmp_path / "data", settings(tmp_path / "data"))
    assert cli("report", config).exit_code == 0
    return config


def metric(root: Path, model: str, name: str, split: str = "test") -> float:
    table = pl.read_parquet(root / "latest" / "metrics.parquet")
    chosen = table.filter((pl.col("model") == model) & (pl.col("metric") == name) & (pl.col("split") == split))
    return float(chosen["value"].item())


def test_trees_read_columns_with_gaps_beside_texts_and_tell_several_labels(grown: Path) -> None:
    root = grown.parent / "out"
    predictions = pl.read_parquet(root / "latest" / "predictions.parquet")
    assert len(predictions) == 60
    assert predictions["status"].unique().to_list() == ["ok"]
    assert predictions["predicted"].list.len().mode().to_list() == [2]
    assert metric(root, "trees", "f1_micro") > 0.9
    assert set(root.glob("encoders/columns/*/record.json"))


def test_an_encoder_added_later_costs_one_dataset(cli: Cli, copied: Path) -> None:
    folder, values = copied.parent, settings(copied.parent)
    values["embed"]["description"] = {"encoder": "minilm", "field": "description"}
    values["embed"]["ids"] = {"encoder": "tabular", "output": "indices", "options": {"columns": ["cat_colour"]}}
    config = write_config(folder, values)
    assert busy(plan_of(cli, config)) == {"embed/description", "embed/ids", "embed/encoders-ids", "report"}
    assert cli("run", config).exit_code == 0
    done = last_summaries(folder / "out")
    assert {name for name, row in done.items() if row["computed_shards"]} == {
        "embed/description", "embed/ids", "embed/encoders-ids"
    }  # fmt: skip
    values["models"]["trees"]["options"]["embeddings"] = ["columns", "title", "description"]
    config = write_config(folder, values)
    assert busy(plan_of(cli, config)) == {
        "train/trees", "predict/trees", "evaluate/trees", "evaluate/gallery-trees", "report"
    }  # fmt: skip
    assert cli("gc", config).exit_code == 0
    assert busy(plan_of(cli, config)) >= {"train/trees"}
    assert not {"embed/columns", "embed/encoders-columns"} & busy(plan_of(cli, config))


def test_columns_serve_other_models_and_codebooks_and_stay_fitted(cli: Cli, copied: Path) -> None:
    folder, values = copied.parent, settings(copied.parent)
    quick = {"dim": 8, "epochs": 20}
    values["embed"]["bins"] = {
        "encoder": "tabular", "options": {"numeric": "quantile", "bins": 3, "flag_missing": False}
    }  # fmt: skip
    values["quantize"] = {"cells": {"embedding": "bins", "options": {"parts": 2, "codewords": 3}}}
    values["models"] = {
        "unit": {"kind": "gmu", "options": {**quick, "lr": 0.005, "image": "columns", "text_embedding": "title"}},
        "mean": {
            "kind": "avg_probs",
            "options": {**quick, "preset": "fasttext", "image": "columns", "loss": "ova", "lr": 0.5},
        },
        "trees": {"kind": "lightgbm", "options": {**TREES, "embeddings": ["columns"], "codes": ["cells"]}},
    }
    config = write_config(folder, values)
    result = cli("run", config)
    assert result.exit_code == 0, result.output
    assert metric(folder / "out", "unit", "f1_micro") > 0.7
    assert metric(folder / "out", "mean", "f1_micro") > 0.5
    write_table(folder, 75)
    plan = plan_of(cli, config)
    assert plan["embed/columns"]["missing"] == 1
    assert plan["embed/encoders-columns"]["fresh"] == 1
    assert "fitted on" in str(plan["embed/encoders-columns"]["why"])
    refit = busy(plan_of(cli, config, "--refit"))
    assert {"embed/encoders-bins", "embed/bins", "quantize/codebooks-cells", "train/unit"} <= refit


def test_predicting_new_documents_uses_the_fitted_columns(cli: Cli, copied: Path, tmp_path: Path) -> None:
    write_table(tmp_path / "new", 6)
    output = tmp_path / "new.parquet"
    result = cli("predict", copied, "--model", "trees", "--source", tmp_path / "new" / "fruit.csv", "-o", output)
    assert result.exit_code == 0, result.output
    found = pl.read_parquet(output).sort("id")
    known = pl.read_parquet(copied.parent / "out" / "latest" / "predictions.parquet").sort("id").head(6)
    assert found["score"].to_list() == pytest.approx(known["score"].to_list())
    encoders = copied.parent / "out" / "encoders"
    assert list(encoders.iterdir()) == [encoders / "columns"]


@pytest.mark.slow
@pytest.mark.skipif(not find_spec("rapidocr"), reason="needs the package rapidocr")
def test_words_in_images_are_an_embedding_and_words(cli: Cli, copied: Path) -> None:
    folder, values = copied.parent, settings(copied.parent)
    values["detect"] = {"signs": {"detector": "rapidocr"}}
    values["embed"]["signs"] = {"encoder": "minilm", "field": "ocr", "detections": "signs"}
    values["embed"]["words"] = {"encoder": "vocabulary", "field": "ocr", "detections": "signs"}
    read = {"preset": "fasttext", "dim": 10, "lr": 0.5, "epochs": 25, "loss": "ova", "deterministic": True}
    values["models"] = {
        "trees": {"kind": "lightgbm", "options": {**TREES, "embeddings": ["signs"]}},
        "all": {"kind": "lightgbm", "options": {**TREES, "embeddings": ["columns", "title", "signs"]}},
        "words": {"kind": "text", "options": read},
        "more": {"kind": "text", "options": read, "ocr": ["signs"]},
    }
    result = cli("run", write_config(folder, values))
    assert result.exit_code == 0, result.output
    done = last_summaries(folder / "out")
    assert done["embed/title"]["computed_shards"] == 0
    (dataset,) = (folder / "out" / "embed" / "signs").iterdir()
    status = statuses(dataset)
    assert status["missing"] == 12  # every fifth picture says nothing
    assert status["ok"] == 48
    indices = pl.concat([pl.read_parquet(file) for file in (folder / "out" / "embed" / "words").glob("*/*.parquet")])
    known = indices.filter("present")["indices"]
    assert len(known) == 48
    assert set(known.explode().to_list()) == {1, 2, 3}  # apple, pear, plum
    assert metric(folder / "out", "trees", "top_5") == 1
    assert metric(folder / "out", "all", "f1_micro") > 0.9
    predicted = pl.read_parquet(folder / "out" / "latest" / "predictions.parquet")
    nothing = predicted.filter(pl.col("status") == "no_input").group_by("model").len()
    assert dict(nothing.iter_rows()) == {"trees": 12, "words": 2}  # of the words of signs and titles, two have none


def statuses(dataset: Path) -> dict[str, int]:
    """Return the documents of a dataset by status, from its shard records."""
    total: dict[str, int] = {}
    for path in (dataset / "shards").glob("*.json"):
        for status, n in orjson.loads(path.read_bytes())["tallies"]["status"].items():
            total[status] = total.get(status, 0) + n
    return total
