"""What a run leaves for analysts: the catalog and the Parquet files of latest/, with their history."""

from pathlib import Path

import duckdb
import pyarrow.parquet as pq
import pytest

from fuseline.flows.config import load_config
from fuseline.flows.graph import build
from fuseline.stores.errors import ConfigError
from fuseline.stores.places import open_root
from tests.flows.conftest import Cli
from tests.flows.test_run import copied as copied


def ask(root: Path, query: str) -> list[tuple[object, ...]]:
    """Ask the catalog of a root."""
    with duckdb.connect(str(root / "catalog.duckdb"), read_only=True) as connection:
        return connection.execute(query).fetchall()


def test_every_column_of_every_published_file_says_what_it_holds(finished: Path) -> None:
    root = finished.parent / "out"
    files = [*(root / "latest").glob("*.parquet"), *(root / "metrics").glob("*.parquet")]
    assert len(files) == 28
    for file in files:
        for field in pq.read_schema(file):
            assert field.metadata.get(b"comment"), (file.name, field.name)
    silent = ask(root, "SELECT table_name, column_name FROM duckdb_columns() WHERE NOT internal AND "
                       "(comment IS NULL OR ends_with(comment, ': '))")  # fmt: skip
    assert silent == []


def test_results_agree_with_the_metrics(finished: Path) -> None:
    root = finished.parent / "out"
    counted = ask(root, "SELECT model, split, avg(correct::INTEGER), count(*) FROM results GROUP BY ALL ORDER BY ALL")
    scored = ask(root, "SELECT model, split, value, n FROM metrics WHERE metric = 'accuracy' ORDER BY ALL")
    known = {(model, split): pytest.approx((value, n)) for model, split, value, n in scored}
    assert len(known) >= 6
    assert {(model, split): (value, n) for model, split, value, n in counted if (model, split) in known} == known


def test_a_root_that_was_moved_answers_from_where_it_is(cli: Cli, copied: Path) -> None:
    root = copied.parent / "out"
    before = ask(root, "SELECT id, model, label, score FROM results ORDER BY ALL")
    moved = root.rename(copied.parent / "elsewhere")
    assert ask(moved, "SELECT id, model, label, score FROM results ORDER BY ALL") == before
    assert len(before) == 150


def test_earlier_runs_stay_in_the_history_until_gc_removes_them(cli: Cli, copied: Path) -> None:
    root, changed = copied.parent / "out", ("--set", "models.text.options.epochs=2")
    assert cli("run", copied, *changed).exit_code == 0
    kept = "SELECT model, latest, count(*) FROM predictions_history GROUP BY ALL ORDER BY ALL"
    assert ask(root, kept) == [
        ("additive", True, 50), ("pq", True, 50), ("text", False, 50), ("text", True, 50)
    ]  # fmt: skip
    runs = "SELECT latest, count(DISTINCT run), max(run) FROM predictions_history GROUP BY ALL ORDER BY ALL"
    (earlier, now) = ask(root, runs)
    assert (earlier[1], now[1]) == (1, 1)
    assert earlier[2] < now[2]
    assert ask(root, "SELECT DISTINCT run FROM metrics") == [(now[2],)]
    assert ask(root, "SELECT count(DISTINCT run) FROM metrics_history") == [(3,)]  # `copied` published once more
    assert ask(root, "SELECT count(DISTINCT run) FROM metrics") == [(1,)]
    assert cli("gc", copied, *changed).exit_code == 0
    assert ask(root, kept) == [("additive", True, 50), ("pq", True, 50), ("text", True, 50)]


def test_vectors_are_lists_of_floats(finished: Path) -> None:
    root = finished.parent / "out"
    there = "FROM features WHERE embedding IS NOT NULL"
    kinds = ask(root, f"SELECT dataset, typeof(embedding), len(embedding), count(*) {there} GROUP BY ALL")
    assert kinds == [("embed/image", "FLOAT[]", 1280, 50)]
    (node,) = [node for node in build(load_config(finished)) if node.name == "embed/image"]
    stored = node.dataset(open_root(root))
    first = stored.read(stored.records()[0], ("id", "embedding")).slice(0, 1).to_pylist()[0]
    assert dict(ask(root, f"SELECT id, embedding {there}"))[first["id"]] == pytest.approx(first["embedding"])


def test_vectors_are_those_of_embeddings(finished: Path) -> None:
    with pytest.raises(ConfigError, match=r"report.vectors: expected \['image'\], got 'imagse'; did you mean 'image'"):
        load_config(finished, ["report.vectors=[imagse]"])


def test_a_document_says_where_it_stood(finished: Path) -> None:
    place = "SELECT source_file, source_row FROM results WHERE id = 'doc-0003' AND model = 'text'"
    assert ask(finished.parent / "out", place) == [("documents.jsonl", 4)]
