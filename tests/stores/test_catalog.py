"""The analysts' catalog: it works from anywhere, and its rewrite disturbs nobody."""

import subprocess
import sys
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stores.catalog import VIEWS, build_catalog
from stores.errors import StorageError
from stores.schemas import DOCUMENTS, METRICS, STATISTICS, codes, embedding


def rows(path: Path, query: str):
    with duckdb.connect(str(path), read_only=True) as connection:
        return connection.execute(query).fetchall()


def metrics(path: Path, values: list[float]) -> Path:
    table = pa.Table.from_pylist([{"model": "m", "value": value} for value in values], schema=METRICS)
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path)
    return path


def test_the_catalog_works_from_another_working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    metrics(tmp_path / "metrics" / "a.parquet", [0.5])
    metrics(tmp_path / "metrics" / "b.parquet", [0.25])
    build_catalog(Path("catalog.duckdb"), {"metrics": [Path("metrics/*.parquet")]})
    script = "import duckdb, sys; print(duckdb.connect(sys.argv[1], read_only=True).execute('FROM metrics').fetchall())"
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "catalog.duckdb")],
        cwd=elsewhere, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "0.5" in done.stdout
    assert "b.parquet" in done.stdout


def test_absent_datasets_are_empty_views_with_their_columns(tmp_path):
    path = tmp_path / "catalog.duckdb"
    build_catalog(path, {"documents": [tmp_path / "nothing" / "*.parquet"]})
    for name, schema in VIEWS.items():
        assert rows(path, f"FROM {name}") == []
        described = rows(path, f"DESCRIBE {name}")
        assert [column[0] for column in described] == [*schema.names, "filename"]


def test_an_empty_view_has_the_types_of_a_full_one(tmp_path):
    tables = {name: schema for name, schema in VIEWS.items() if name not in {"features", "detections"}}
    files = {name: [tmp_path / f"{name}.parquet"] for name in tables}
    for name, schema in tables.items():
        pq.write_table(schema.empty_table(), files[name][0])
    build_catalog(tmp_path / "full.duckdb", files)
    build_catalog(tmp_path / "empty.duckdb", {})
    for name in tables:
        full, empty = (
            [column[:2] for column in rows(tmp_path / f"{kind}.duckdb", f"DESCRIBE {name}")]
            for kind in ("full", "empty")
        )
        assert full == empty


def test_features_of_several_sizes_and_documents_with_other_columns_meet_in_one_view(tmp_path):
    small, large, coded = (tmp_path / f"{name}.parquet" for name in ("small", "large", "coded"))
    head = {"id": "a", "status": "ok", "present": True}
    pq.write_table(pa.Table.from_pylist([{**head, "embedding": [1.0, 2.0]}], schema=embedding(2, pa.float32())), small)
    pq.write_table(pa.Table.from_pylist([{**head, "embedding": [1.0] * 3}], schema=embedding(3, pa.float32())), large)
    pq.write_table(pa.Table.from_pylist([{**head, "codes": [1, 255], "error": 0.5}], schema=codes(2)), coded)
    build_catalog(tmp_path / "c.duckdb", {"features": [small, large, coded]})
    found = rows(tmp_path / "c.duckdb", "SELECT len(embedding), codes FROM features ORDER BY ALL")
    assert found == [(2, None), (3, None), (None, [1, 255])]


def test_an_open_old_catalog_neither_blocks_nor_changes(tmp_path):
    path, old, new = tmp_path / "c.duckdb", tmp_path / "old.parquet", tmp_path / "new.parquet"
    metrics(old, [0.5])
    metrics(new, [0.75])
    build_catalog(path, {"metrics": [old]})
    with duckdb.connect(str(path)) as analyst:  # even one who can write
        assert analyst.execute("SELECT value FROM metrics").fetchall() == [(0.5,)]
        build_catalog(path, {"metrics": [new]})
        assert analyst.execute("SELECT value FROM metrics").fetchall() == [(0.5,)]
    assert [file.name for file in tmp_path.iterdir() if "partial" in file.name] == []
    with duckdb.connect(str(path.rename(tmp_path / "moved.duckdb")), read_only=True) as fresh:
        assert fresh.execute("SELECT value FROM metrics").fetchall() == [(0.75,)]


@pytest.mark.parametrize("name", ["it's", 'a "b"', "a[1]b", "a*b", "ümläut ☃", "100%"])
def test_odd_folder_names(tmp_path, name):
    metrics(tmp_path / name / "a.parquet", [0.5])
    metrics(tmp_path / "a1b" / "a.parquet", [0.9])
    build_catalog(tmp_path / name / "c.duckdb", {"metrics": [tmp_path / name / "*.parquet"]})
    assert rows(tmp_path / name / "c.duckdb", "SELECT value FROM metrics") == [(0.5,)]


def test_views_of_your_own_and_statistics_that_add(tmp_path):
    for number in (1, 2):
        table = pa.Table.from_pylist(
            [{"split": "train", "field": "documents", "measure": "documents", "value": number}], schema=STATISTICS
        )
        pq.write_table(table, tmp_path / f"s{number}.parquet")
    path = tmp_path / "c.duckdb"
    build_catalog(path, {"statistics": [tmp_path / "s*.parquet"], "clean": [tmp_path / "s1.parquet"]})
    assert rows(path, "SELECT sum(value) FROM statistics") == [(3,)]
    assert len(rows(path, "FROM clean")) == 1


def test_a_path_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "folder").mkdir()
    with pytest.raises(StorageError, match=r"cannot write .*folder"):
        build_catalog(tmp_path / "folder", {"documents": []})
    assert [file.name for file in tmp_path.iterdir()] == ["folder"]


def test_documents_keep_their_tabular_columns(tmp_path):
    schema = DOCUMENTS.append(pa.field("num_price", pa.float64()))
    one = {"id": "a", "source": "x", "status": "ok", "labels": ["l"], "num_price": 2.5}
    pq.write_table(pa.Table.from_pylist([one], schema=schema), tmp_path / "d.parquet")
    build_catalog(tmp_path / "c.duckdb", {"documents": [tmp_path / "d.parquet"]})
    assert rows(tmp_path / "c.duckdb", "SELECT id, labels[1], num_price FROM documents") == [("a", "l", 2.5)]
