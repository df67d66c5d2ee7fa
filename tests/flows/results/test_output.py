"""Files that users name for output: never a device, a folder or the source; standard output on request."""

import io
import os
from pathlib import Path

import pytest

from fuseline.flows.results.output import check_output, written
from fuseline.stores.errors import ConfigError, StorageError
from tests.flows.conftest import Cli


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "documents.jsonl"
    path.write_text("{}\n")
    return path


def refusal(output: Path | str, source: Path) -> str:
    with pytest.raises(ConfigError, match="--output: expected") as caught:
        check_output(str(output), str(source))
    return str(caught.value)


def test_a_new_file_and_a_regular_one_are_written(tmp_path: Path, source: Path) -> None:
    for path in (tmp_path / "new" / "deep.parquet", tmp_path / "old.parquet", tmp_path / "old.parquet"):
        check_output(str(path), str(source))
        with written(str(path)) as partial:
            partial.write_bytes(b"rows")
        assert path.read_bytes() == b"rows"
        assert list(path.parent.glob(".*")) == []


def test_a_folder_a_device_and_a_pipe_are_refused_and_stay(tmp_path: Path, source: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert "(a folder)" in refusal(tmp_path, source)
    assert "(a pipe or socket)" in refusal(tmp_path / "pipe", source)
    assert "(a device)" in refusal("/dev/null", source)
    (tmp_path / "link").symlink_to("/dev/null")
    assert "(a device)" in refusal(tmp_path / "link", source)
    assert Path("/dev/null").is_char_device()


def test_the_source_is_not_overwritten(tmp_path: Path, source: Path) -> None:
    (tmp_path / "link").symlink_to(source)
    for output in (source, tmp_path / "link", tmp_path / "x" / ".." / "documents.jsonl"):
        assert "another file than --source" in refusal(output, source)


def test_a_path_below_a_file_is_refused(source: Path) -> None:
    assert "a folder that can be written" in refusal(source / "new.parquet", source)


def test_a_link_stays_and_its_file_is_replaced(tmp_path: Path, source: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "link.parquet").symlink_to(tmp_path / "there" / "real.parquet")
    check_output(str(tmp_path / "link.parquet"), str(source))
    with written(str(tmp_path / "link.parquet")) as partial:
        partial.write_bytes(b"rows")
    assert (tmp_path / "link.parquet").is_symlink()
    assert (tmp_path / "there" / "real.parquet").read_bytes() == b"rows"


def test_a_failure_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "old.parquet"
    path.write_bytes(b"before")
    with pytest.raises(StorageError), written(str(path)) as partial:
        partial.write_bytes(b"half")
        raise OSError(28, "No space left on device")
    assert path.read_bytes() == b"before"


def test_standard_output_gets_the_bytes_unless_it_is_a_terminal(monkeypatch: pytest.MonkeyPatch, source: Path) -> None:
    stream = io.TextIOWrapper(io.BytesIO())
    monkeypatch.setattr("sys.stdout", stream)
    check_output("-", str(source))
    with written("-") as path:
        path.write_bytes(b"PAR1\x00\xff")
    assert stream.buffer.getvalue() == b"PAR1\x00\xff"
    monkeypatch.setattr(stream, "isatty", lambda: True)
    assert "a terminal" in refusal("-", source)


def test_the_command_refuses_before_it_works(cli: Cli, trained: Path, tmp_path: Path) -> None:
    arguments = ("predict", trained, "--model", "pq", "--source", trained.parent / "documents.jsonl")
    result = cli(*arguments, "-o", tmp_path)
    assert result.exit_code == 2
    assert "--output: expected 'a new or a regular file'" in result.output
    result = cli(*arguments, "-o", trained.parent / "documents.jsonl")
    assert result.exit_code == 2
    assert (trained.parent / "documents.jsonl").read_bytes().startswith(b"{")
