"""The list of what lies beside the datasets: damage is found, and nothing is blessed by accident."""

from pathlib import Path

import pytest

from fuseline.stores.errors import DataError
from fuseline.stores.places import open_root
from fuseline.stores.published import FILE, Published, publishing, relist, repair
from fuseline.stores.root import Root


@pytest.fixture
def root(tmp_path: Path) -> Root:
    """Return a root with results."""
    with publishing(open_root(tmp_path), "latest", "catalog.duckdb", "reports", inputs="abc"):
        write(tmp_path / "latest" / "report.html", b"page")
        write(tmp_path / "reports" / "run-1" / "index.html", b"page")
        write(tmp_path / "latest" / "metrics.parquet", b"numbers")
        write(tmp_path / "catalog.duckdb", b"views")
    return open_root(tmp_path)


def write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def test_what_a_block_wrote_is_listed_and_nothing_else(root):
    listed = Published.load(root)
    assert listed.inputs == "abc"
    assert set(listed.files) == {
        "latest/report.html", "latest/metrics.parquet", "reports/run-1/index.html", "catalog.duckdb"
    }  # fmt: skip
    assert listed.whole(root)
    assert Published.damaged(root) == []
    write(root.local() / "latest" / "mine.txt", b"a user's own file")
    assert Published.damaged(root) == []


@pytest.mark.parametrize("data", [b"PAGE", b"p", b"", None])
def test_any_harm_is_found(root, data):
    path = root.local() / "latest" / "report.html"
    path.unlink() if data is None else path.write_bytes(data)
    assert Published.damaged(root) == ["latest/report.html"]
    assert Published.load(root).whole(root) == (data == b"PAGE")  # a plan compares sizes alone


@pytest.mark.parametrize("data", [b"{}", b"[]", b"5", b"", None])
def test_a_lost_list_is_found_and_made_of_what_is_there(root, data):
    (root.local() / FILE).unlink() if data is None else (root.local() / FILE).write_bytes(data)
    assert Published.damaged(root) == [FILE]
    if data is not None:
        with pytest.raises(DataError, match=r"published.json.*(fuseline repair|another Fuseline version)"):
            Published.load(root)
    relist(root)
    assert Published.damaged(root) == []
    again = Published.load(root)
    assert (again.inputs, again.forgotten, len(again.files)) == ("", 0, 4)


def test_no_list_is_missed_where_nothing_was_published(tmp_path):
    assert Published.damaged(open_root(tmp_path)) == Published.damaged(open_root(tmp_path / "nowhere")) == []
    assert Published.load(open_root(tmp_path)) == Published()


class StoppedError(Exception):
    """The process died, or the disk was full."""


def test_a_block_that_ends_early_leaves_no_false_alarm_and_nothing_current(root):
    with pytest.raises(StoppedError), publishing(root, "latest", inputs="def"):
        write(root.local() / "latest" / "report.html", b"other")
        raise StoppedError
    assert Published.damaged(root) == []
    assert Published.load(root).inputs == ""
    assert set(Published.load(root).files) == {"reports/run-1/index.html", "catalog.duckdb"}


def test_other_files_are_listed_beside_what_is_current(root):
    with publishing(root, "sweep/trials.parquet"):
        write(root.local() / "sweep" / "trials.parquet", b"trials")
    assert Published.load(root).inputs == "abc"
    assert "sweep/trials.parquet" in Published.load(root).files
    write(root.local() / "latest" / "metrics.parquet", b"NUMBERS")
    with publishing(root, "sweep/trials.parquet"):
        (root.local() / "sweep" / "trials.parquet").unlink()
    assert "sweep/trials.parquet" not in Published.load(root).files
    assert Published.damaged(root) == ["latest/metrics.parquet"]  # what a block does not name is not read again


def test_a_file_that_lies_there_twice_is_put_back(root):
    (root.local() / "reports" / "run-1" / "index.html").write_bytes(b"PAGE")
    assert repair(root, "reports/run-1/index.html") is None
    assert (root.local() / "reports" / "run-1" / "index.html").read_bytes() == b"page"
    assert Published.damaged(root) == []


def test_results_are_removed_to_be_published_again(root):
    (root.local() / "latest" / "metrics.parquet").write_bytes(b"NUMBERS")
    assert repair(root, "latest/metrics.parquet") is None
    assert not (root.local() / "latest" / "metrics.parquet").exists()
    assert not Published.load(root).whole(root)


@pytest.mark.parametrize("name", ["metrics/run-0.parquet", "runs/run-0.json"])
def test_history_that_nobody_can_make_again_is_said_to_be_lost(root, name):
    with publishing(root, name):
        write(root.local() / name, b"history")
    (root.local() / name).write_bytes(b"HISTORY")
    assert "cannot be made again" in repair(root, name)
    assert not (root.local() / name).exists()
    assert Published.damaged(root) == []
    assert Published.load(root).inputs == "abc"


def test_a_list_that_is_lost_is_begun_with_what_is_there(root):
    (root.local() / FILE).unlink()
    with publishing(root, "runs/run-1.json"):
        write(root.local() / "runs" / "run-1.json", b"run")
    assert len(Published.load(root).files) == 5
    assert Published.load(root).inputs == ""


def test_some_places_can_be_looked_at_alone(root):
    write(root.local() / "latest" / "metrics.parquet", b"NUMBERS")
    assert Published.damaged(root, "reports", "lat") == []
    assert Published.damaged(root, "reports", "latest") == ["latest/metrics.parquet"]
