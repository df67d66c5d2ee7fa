"""New documents and a trained model: other readers, frozen codebooks, refusals that say why."""

import csv
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import polars as pl
import pyarrow.parquet as pq
import pytest
from drive import Source, run
from faults import flip
from visual import pictures, visual

from fuseline.flows.config import load_config
from fuseline.flows.graph import build
from fuseline.flows.prediction import check_trained, given_source
from fuseline.stores.errors import MismatchError
from fuseline.stores.places import open_root
from fuseline.stores.schemas import PREDICTIONS
from tests.flows.conftest import Cli, document, draw, make_data, settings, write_config, write_documents


def snapshot(root: Path, *folders: str) -> dict[Path, bytes]:
    """Return every file below some folders of the root."""
    return {path: path.read_bytes() for name in folders for path in (root / name).rglob("*") if path.is_file()}


@pytest.fixture
def fresh(tmp_path: Path) -> Path:
    """Return a folder with 24 documents that no training saw."""
    make_data(tmp_path / "fresh", 0)
    folder = tmp_path / "fresh"
    write_documents(folder, [document(folder, number) for number in range(100, 124)])
    return folder


def key_of(config: Path, name: str) -> str:
    """Return the dataset key under a configuration."""
    return next(node.key for node in build(load_config(config)) if node.name == name)


def predicted(path: Path) -> pl.DataFrame:
    """Return a predictions file, by id."""
    return pl.read_parquet(path).sort("id")


def test_new_documents_as_json_lines(cli: Cli, trained: Path, fresh: Path, tmp_path: Path) -> None:
    output, root = tmp_path / "new.parquet", trained.parent / "out"
    frozen = snapshot(root, "codebooks", "models", "latest")
    arguments = ("predict", trained, "--model", "pq", "--source", fresh / "documents.jsonl", "-o", output)
    result = cli(*arguments)
    assert result.exit_code == 0, result.output
    assert "24 predictions" in result.output
    assert pq.read_schema(output).equals(PREDICTIONS)
    rows = predicted(output)
    assert rows["id"].to_list() == [f"doc-{number:04d}" for number in range(100, 124)]
    assert set(rows["status"]) == {"ok"}
    assert (rows["label"] == [sorted(["circle", "square", "triangle"])[n % 3] for n in range(100, 124)]).mean() > 0.6
    assert snapshot(root, "codebooks", "models", "latest") == frozen
    made = snapshot(root, "documents", "embed", "quantize", "predictions")
    assert cli(*arguments).exit_code == 0
    assert snapshot(root, "documents", "embed", "quantize", "predictions") == made


def test_a_damaged_codebook_is_one_line_and_no_prediction(cli: Cli, trained: Path, fresh: Path, tmp_path: Path) -> None:
    """Bits of its numbers changed, size and time did not: nobody would see it in the predictions."""
    folder = tmp_path / "damaged"
    shutil.copytree(trained.parent, folder)
    config = write_config(folder, settings(folder))
    (file,) = (folder / "out" / "codebooks").glob("pq/*/checkpoint-*/arrays.safetensors")
    flip(file)
    output = tmp_path / "new.parquet"
    result = cli("predict", config, "--model", "pq", "--source", fresh / "documents.jsonl", "-o", output)
    assert result.exit_code == 1
    told = " ".join(result.output.split())
    assert "its bytes differ from its digest; run `fuseline repair`" in told
    assert "memory" not in told
    assert not output.exists()
    assert cli("repair", config).exit_code == 0
    assert cli("predict", config, "--model", "pq", "--source", fresh / "documents.jsonl", "-o", output).exit_code == 0


def test_new_documents_from_a_table(cli: Cli, trained: Path, fresh: Path, tmp_path: Path) -> None:
    names = ["id", "title", "text", "image"]
    with (fresh / "new.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, names, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(document(fresh, number) for number in range(100, 110))
    by_csv, by_lines = tmp_path / "csv.parquet", tmp_path / "lines.parquet"
    result = cli(
        "predict", trained, "--model", "additive", "--reader", "csv", "--source", fresh / "new.csv", "-o", by_csv
    )
    assert result.exit_code == 0, result.output
    write_documents(fresh, [document(fresh, number) for number in range(100, 110)])
    result = cli("predict", trained, "--model", "additive", "--source", fresh / "documents.jsonl", "-o", by_lines)
    assert result.exit_code == 0, result.output
    same = ["id", "label", "score", "top_k", "status"]
    assert predicted(by_csv).select(same).equals(predicted(by_lines).select(same))


def test_new_documents_from_a_folder_of_images(cli: Cli, trained: Path, tmp_path: Path) -> None:
    """Pictures alone: the text model has nothing to read, which is an error; the additive one looks."""
    for label in ("circle", "square"):
        (tmp_path / "pictures" / label).mkdir(parents=True)
        for number in range(3):
            draw(tmp_path / "pictures" / label / f"{number}.png", label, 200 + number)
    common = ("--reader", "imagefolder", "--source", tmp_path / "pictures")
    for model, status, code in (("additive", "ok", 0), ("text", "no_input", 1)):
        output = tmp_path / f"{model}.parquet"
        result = cli("predict", trained, "--model", model, *common, "-o", output)
        assert result.exit_code == code, result.output
        assert predicted(output)["status"].to_list() == [status] * 6
        told = " ".join(result.output.split())
        assert "clean/text: nothing to read in any of 6 documents" in told
        assert ("6 of 6 (100.0%: 6 no_input); first: no_input, circle/0.png at circle/0.png" in told) == (code == 1)


def test_a_split_of_a_name_of_its_own_judges_no_new_document(
    cli: Cli, trained: Path, fresh: Path, tmp_path: Path
) -> None:
    write_documents(fresh, [{**document(fresh, number), "split": "heldout"} for number in range(100, 106)])
    output = tmp_path / "new.parquet"
    result = cli("predict", trained, "--model", "text", "--source", fresh / "documents.jsonl", "-o", output)
    assert result.exit_code == 0, result.output
    assert predicted(output)["status"].to_list() == ["ok"] * 6


def test_new_documents_need_no_labels_and_may_have_unknown_ones(trained: Path) -> None:
    options = {"columns": {"labels": "kind", "text": "caption"}, "vocabulary": ["a"], "unknown_label": "error"}
    config = load_config(trained, [f"source.options={orjson.dumps(options).decode()}"])
    source = given_source(config, "new.jsonl", None, {})
    assert source.parsed().unknown_label == "drop_label"
    assert source.parsed().vocabulary == ("a",)
    assert set(source.parsed().optional) == {"labels", "split", "group"}
    assert given_source(config, "x", None, {"unknown_label": "error"}).parsed().unknown_label == "error"
    assert given_source(config, "x", "yfcc", {}).options == {}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda row: {**row, "image": "images/absent.png"}, "0 of 20 images found"),
        (lambda row: {**row, "id": "same"}, "19 of 20 (95.0%: 19 duplicate_id); first: duplicate_id, same at"),
        (lambda row: {**row, "id": None}, "at least one document"),
        (lambda row: {"id": row["id"], "caption2": row["text"]}, "20 of 20 (100.0%: 20 no_input)"),
        (lambda row: {**row, "text": {"nested": "too deep"}}, "20 of 20 (100.0%: 20 bad_value)"),
    ],
    ids=["images", "repeated ids", "no ids", "other columns", "nested"],
)
def test_a_file_without_a_usable_prediction_is_an_error(
    cli: Cli, trained: Path, fresh: Path, tmp_path: Path, change: Callable[[dict[str, Any]], dict[str, Any]], told: str
) -> None:
    write_documents(fresh, [change(document(fresh, number)) for number in range(100, 120)])
    output = tmp_path / "new.parquet"
    result = cli("predict", trained, "--model", "additive", "--source", fresh / "documents.jsonl", "-o", output)
    assert result.exit_code == 1
    assert told in " ".join(result.output.split())


def test_documents_that_lack_something_keep_their_row(cli: Cli, trained: Path, fresh: Path, tmp_path: Path) -> None:
    rows = [document(fresh, number) for number in range(100, 105)]
    del rows[0]["image"], rows[1]["text"], rows[2]["image"], rows[2]["text"], rows[2]["title"], rows[4]["label"]
    rows[3]["image"] = "images/absent.png"
    write_documents(fresh, rows)
    output = tmp_path / "new.parquet"
    arguments = ("--model", "additive", "--source", fresh / "documents.jsonl", "-o", output)
    result = cli("predict", trained, *arguments, "--set", "run.allowed_failures=0.2")
    assert result.exit_code == 0, result.output
    result = cli("predict", trained, *arguments, "--set", "run.allowed_failures=0.19")
    assert result.exit_code == 1
    assert "first: no_image, doc-0103 at documents.jsonl:4" in " ".join(result.output.split())
    found = predicted(output)
    assert found["status"].to_list() == ["ok", "ok", "no_input", "ok", "ok"]
    assert found["label"].is_null().to_list() == [False, False, True, False, False]


def test_training_documents_get_the_predictions_of_the_run(cli: Cli, trained: Path, tmp_path: Path) -> None:
    output = tmp_path / "again.parquet"
    source = trained.parent / "documents.jsonl"
    result = cli("predict", trained, "--model", "additive", "--source", source, "-o", output)
    assert result.exit_code == 0, result.output
    published = pl.read_parquet(trained.parent / "out" / "latest" / "predictions.parquet")
    same = ["id", "label", "score", "top_k", "status", "importance"]
    expected = published.filter(pl.col("model") == "additive").sort("id").select(same)
    assert predicted(output).select(same).equals(expected)


def test_an_unknown_model_is_told_with_the_nearest_name(cli: Cli, trained: Path, tmp_path: Path) -> None:
    result = cli("predict", trained, "--model", "aditive", "--source", "x.jsonl", "-o", tmp_path / "new.parquet")
    assert result.exit_code == 2
    assert "'additive'" in result.output
    assert "did you mean 'additive'?" in " ".join(result.output.split())


@pytest.mark.parametrize("change", ["embed.image.dtype=float32", "embed.image.options.runtime=torch"])
def test_features_of_another_encoder_are_refused(
    cli: Cli, trained: Path, fresh: Path, tmp_path: Path, change: str
) -> None:
    used = key_of(trained, "embed/image")
    source = ("--source", fresh / "documents.jsonl")
    result = cli("predict", trained, "--model", "additive", *source, "-o", tmp_path / "n.parquet", "--set", change)
    assert result.exit_code == 2, result.output
    line = " ".join(result.output.split())
    assert "embed/image" in line
    assert used in line
    assert line.count("weights ") == 2
    assert not (tmp_path / "n.parquet").exists()


def test_features_of_another_codebook_are_refused(cli: Cli, trained: Path, fresh: Path, tmp_path: Path) -> None:
    used = key_of(trained, "codebooks/pq")
    source = ("--source", fresh / "documents.jsonl", "-o", tmp_path / "n.parquet")
    result = cli("predict", trained, "--model", "pq", *source, "--set", "quantize.pq.options.codewords=8")
    assert result.exit_code == 2, result.output
    line = " ".join(result.output.split())
    assert "pq" in line
    assert used in line


def test_an_untrained_root_is_one_line(cli: Cli, trained: Path, fresh: Path, tmp_path: Path) -> None:
    values = {**settings(trained.parent), "root": str(tmp_path / "empty")}
    config = write_config(fresh, values)
    source = ("--source", fresh / "documents.jsonl", "-o", tmp_path / "n.parquet")
    result = cli("predict", config, "--model", "additive", *source)
    assert result.exit_code == 1
    assert "run `fuseline run` first" in " ".join(result.output.split())


def test_a_model_whose_codebook_was_fitted_again_is_refused(tmp_path: Path) -> None:
    """The dataset key of a model knows its codebook's settings, not which version of the codebook taught it."""
    source, root = Source(tmp_path / "x.jsonl"), open_root(tmp_path / "root")
    nodes = visual(source.write(pictures(40)))
    run(nodes, root)
    check_trained(nodes.model, root)
    source.write(pictures(60))
    run(nodes[:3], root)
    run([nodes.codebook], root, refit="now")
    with pytest.raises(MismatchError, match="codebooks/q of model m: expected 'the version it was trained on', got"):
        check_trained(nodes.model, root)
    run(nodes, root)
    check_trained(nodes.model, root)


def test_a_source_that_is_not_there_is_one_line(cli: Cli, trained: Path, tmp_path: Path) -> None:
    source = ("--source", tmp_path / "absent.jsonl", "-o", tmp_path / "n.parquet")
    result = cli("predict", trained, "--model", "text", *source)
    assert result.exit_code in (1, 2)
    assert result.exception is None or isinstance(result.exception, SystemExit)
    assert "absent.jsonl" in result.output
