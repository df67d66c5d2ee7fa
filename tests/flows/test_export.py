"""`fuseline export`: the documents of every split as label files, with the visual tokens of a model that reads them."""

from pathlib import Path

import orjson

from fuseline.tasks.readers import READERS
from tests.flows.conftest import Cli


def test_documents_are_written_as_the_model_reads_them(cli: Cli, finished: Path, tmp_path: Path) -> None:
    result = cli("export", finished, "--model", "pq", "-o", tmp_path / "lines")
    assert result.exit_code == 0, result.output
    files = sorted((tmp_path / "lines").iterdir())
    assert [file.name for file in files] == ["test.txt", "train.txt", "valid.txt"]
    lines = [line for file in files for line in file.read_text("utf-8").splitlines()]
    documents = [orjson.loads(line) for line in (finished.parent / "documents.jsonl").read_bytes().splitlines()]
    assert len(lines) == len(documents) == 50
    tokens = [[word for word in line.split() if word.startswith("_q-_")] for line in lines]
    assert {len(own) for own in tokens} == {4}
    reader = READERS["fasttext"]
    back = [row for part in reader.read(str(tmp_path / "lines"), reader.options()) for row in part.to_pylist()]
    assert len(back) == 50
    assert {row["split"] for row in back} == {"train", "valid", "test"}
    result = cli("export", finished, "--model", "text", "-o", tmp_path / "words")
    assert "_q-_" not in (tmp_path / "words" / "train.txt").read_text("utf-8")


def test_what_cannot_be_written_is_refused(cli: Cli, finished: Path, tmp_path: Path) -> None:
    result = cli("export", finished, "--model", "tree", "-o", tmp_path / "lines")
    assert result.exit_code == 2
    stale = cli("export", finished, "--model", "text", "-o", tmp_path / "lines", "--set", "clean.fields=[title]")
    assert stale.exit_code == 1
    assert "run `fuseline run` first" in stale.stderr
    assert not (tmp_path / "lines").exists()
