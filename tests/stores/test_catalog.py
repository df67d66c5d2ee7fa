"""The analysts' catalog: it works wherever the root lies, and its rewrite disturbs nobody."""

import shutil
import struct
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fuseline.stores.catalog import Part, build_catalog
from fuseline.stores.errors import StorageError
from fuseline.stores.places import open_root
from fuseline.stores.root import Root
from fuseline.stores.schemas import (
    INGESTED,
    PREDICTIONS,
    RESULTS,
    STATISTICS,
    codes,
    comment_of,
    commented,
    embedding,
)
from fuseline.stores.tables import FEATURES, TABLES, in_catalog


def rows(path: Path, query: str):
    with duckdb.connect(str(path), read_only=True) as connection:
        return connection.execute(query).fetchall()


def write(path: Path, found: list[dict[str, object]], schema: pa.Schema) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(found, schema=schema), path)
    return path


def metrics(path: Path, values: list[float]) -> Path:
    return write(path, [{"model": "m", "value": value} for value in values], RESULTS)


def documents(path: Path, ids: str, **fields: object) -> Path:
    found = [{"id": i, "source_file": "x", "status": "ok", "labels": ["l"], **fields} for i in ids]
    return write(path, found, INGESTED)


def small_root(root: Root, ids: str = "ab") -> Path:
    """Write a root with two documents; as in datasets, the name of their file tells their content."""
    file = documents(root.local() / "documents" / f"{ids}.parquet", ids)
    scores = metrics(root.local() / "latest" / "metrics.parquet", [0.5])
    return built(root, {"metrics": [scores]}, {"documents": [Part([file])]})


def built(root: Root, tables: dict[str, list[Path]], views: dict[str, list[Part]]) -> Path:
    """Build a catalog over files given by their paths, and return its own."""

    def names(paths: Sequence[Path]) -> list[str]:
        return [path.relative_to(root.local()).as_posix() for path in paths]

    small = {name: names(paths) for name, paths in tables.items()}
    build_catalog(root, small, {k: [part._replace(files=names(part.files)) for part in v] for k, v in views.items()})
    return root.local("catalog.duckdb")


def answers(catalog: Path | str, folder: Path) -> str:
    """Ask a catalog from another process, as an analyst would, in some working directory."""
    script = """
import duckdb, sys
with duckdb.connect(sys.argv[1], read_only=True) as connection:
    print(connection.execute("SELECT id FROM documents").fetchall(), connection.execute("FROM metrics").fetchall())
"""
    done = subprocess.run([sys.executable, "-c", script, str(catalog)], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("how", ["stays", "moved", "copied", "read-only"])
def test_the_catalog_works_wherever_the_root_lies(tmp_path: Path, how: str) -> None:
    root, place = (
        open_root(tmp_path / "root"),
        tmp_path / ("root" if how in ("stays", "read-only") else "else where/[new] root"),
    )
    small_root(root)
    if how == "moved":
        place.parent.mkdir()
        root.local().rename(place)
    elif how == "copied":
        shutil.copytree(root.local(), place)
        shutil.rmtree(root.local() / "documents")  # what the catalog was written for is not what it reads
    elif how == "read-only":
        for path in (place, *place.rglob("*")):
            path.chmod(0o555 if path.is_dir() else 0o444)
    try:
        for catalog, folder in (
            (place / "catalog.duckdb", tmp_path),
            (f"{place.name}/catalog.duckdb", place.parent),
            ("catalog.duckdb", place),
        ):
            assert answers(catalog, folder).startswith("[('a',), ('b',)] [('m', ")
    finally:
        for path in (place, *place.rglob("*")):
            path.chmod(0o755)


def test_attached_catalogs_read_the_place_they_were_written_for_or_the_one_that_is_set(tmp_path: Path) -> None:
    small_root(open_root(tmp_path / "one"), "ab")
    small_root(open_root(tmp_path / "two"), "cd")
    with duckdb.connect() as session:
        session.execute(f"ATTACH '{tmp_path}/one/catalog.duckdb' AS one (READ_ONLY)")
        session.execute(f"ATTACH '{tmp_path}/two/catalog.duckdb' AS two (READ_ONLY)")
        both = "SELECT id FROM one.documents UNION ALL SELECT id FROM two.documents"
        assert sorted(session.execute(both).fetchall()) == [("a",), ("b",), ("c",), ("d",)]
        (tmp_path / "one").rename(tmp_path / "moved")
        with pytest.raises(duckdb.IOException, match="one/documents"):
            session.execute("FROM one.documents").fetchall()
        session.execute(f"SET VARIABLE fuseline_root = '{tmp_path}/moved'")
        assert session.execute("SELECT id FROM one.documents").fetchall() == [("a",), ("b",)]


def test_a_catalog_attached_to_another_never_shows_the_others_rows(tmp_path: Path) -> None:
    """Its views look beside the main catalog: their files' names hold digests, so that nothing is found there."""
    small_root(open_root(tmp_path / "one"), "ab")
    small_root(open_root(tmp_path / "two"), "cd")
    with duckdb.connect(str(tmp_path / "one" / "catalog.duckdb"), read_only=True) as session:
        session.execute(f"ATTACH '{tmp_path}/two/catalog.duckdb' AS two (READ_ONLY)")
        assert session.execute("SELECT id FROM documents").fetchall() == [("a",), ("b",)]
        with pytest.raises(duckdb.IOException, match=r"one/documents/cd\.parquet"):
            session.execute("FROM two.documents").fetchall()


def test_a_session_with_temporary_files_elsewhere_reads_the_place_it_was_written_for(tmp_path: Path) -> None:
    catalog = small_root(open_root(tmp_path / "root"))
    with duckdb.connect(str(catalog), read_only=True, config={"temp_directory": str(tmp_path / "tmp")}) as session:
        assert session.execute("SELECT id FROM documents").fetchall() == [("a",), ("b",)]


def test_versions_of_duckdb_since_the_first_stable_one_can_open_it(tmp_path: Path) -> None:
    """DuckDB 2.0 writes storage version 999 by default, which no 1.x reads."""
    head = small_root(open_root(tmp_path / "root")).read_bytes()[:20]
    magic, version = struct.unpack("4sQ", head[8:12] + b"\0\0\0\0" + head[12:20])
    assert (magic, version) == (b"DUCK", 64)


def test_every_table_and_column_says_what_it_holds(tmp_path: Path) -> None:
    schema = INGESTED.append(pa.field("num_price", pa.float64())).append(pa.field("cat_shop", pa.string()))
    priced = [{"id": "a", "source_file": "x", "status": "ok", "labels": [], "num_price": 1.0}]
    file = write(tmp_path / "d.parquet", priced, schema)
    path = built(open_root(tmp_path), {}, {"documents": [Part([file])]})
    tables = rows(path, "SELECT table_name, comment FROM duckdb_tables()")
    views = rows(path, "SELECT view_name, comment FROM duckdb_views() WHERE NOT internal")
    assert dict([*tables, *views]) == {name: one.summary for name, one in in_catalog().items()}
    said = rows(path, "SELECT table_name, column_name, data_type, comment FROM duckdb_columns() WHERE NOT internal")
    assert len(said) > 150
    for table, column, kind, comment in said:
        head, _, meaning = comment.partition(": ")
        assert head == kind, (table, column)
        assert len(meaning) > 10, (table, column)
    prices = [one for one in said if one[1] == "num_price"]
    assert [one[0] for one in prices] == ["documents", "results"]
    assert "number of the source's column price" in prices[0][3]


def test_every_published_column_says_what_it_holds() -> None:
    for name, published in in_catalog().items():
        for field in published.schema:
            assert len(comment_of(field.name, published.schema)) > 10, (name, field.name)


def test_comments_go_into_parquet_files_and_change_no_value(tmp_path: Path) -> None:
    table = pa.table({"model": ["m"], "value": [0.5], "num_x": [1.0], "unknown": [1]})
    pq.write_table(commented(table, RESULTS), tmp_path / "m.parquet")
    found = pq.read_table(tmp_path / "m.parquet")
    assert found.equals(table)
    assert found.schema.field("model").metadata[b"comment"] == b"name of the model in the configuration"
    assert b"column x" in found.schema.field("num_x").metadata[b"comment"]
    assert found.schema.field("unknown").metadata[b"comment"] == b""


def test_absent_datasets_are_empty_with_their_columns(tmp_path: Path) -> None:
    path = built(open_root(tmp_path), {}, {"documents": [Part([])]})
    for name, published in in_catalog().items():
        assert rows(path, f"FROM {name}") == []
        described = [column[0] for column in rows(path, f"DESCRIBE {name}")]
        assert sorted(described) == sorted(published.schema.names)


def test_an_empty_view_has_the_types_of_a_full_one(tmp_path: Path) -> None:
    names = [name for name in in_catalog() if name not in {"results", "features"}]
    files = {name: [tmp_path / f"{name}.parquet"] for name in names}
    for name in names:
        pq.write_table(TABLES[name].schema.empty_table(), files[name][0])
    views = {name: [Part(found)] for name, found in files.items()}
    full, empty = built(open_root(tmp_path), {}, views), built(open_root(tmp_path / "empty"), {}, {})
    for name in in_catalog():
        assert [column[:2] for column in rows(full, f"DESCRIBE {name}")] == [
            column[:2] for column in rows(empty, f"DESCRIBE {name}")
        ]


def test_features_of_several_sizes_meet_in_one_view_that_names_their_dataset(tmp_path: Path) -> None:
    head = {"id": "a", "status": "ok", "present": True}
    small = write(tmp_path / "s.parquet", [{**head, "embedding": [1.0, 2.0]}], embedding(2, pa.float32()))
    half = write(tmp_path / "h.parquet", [{**head, "embedding": [1.0] * 3}], embedding(3, pa.float16()))
    coded = write(tmp_path / "c.parquet", [{**head, "codes": [1, 255], "error": 0.5}], codes(2))
    parts = {"embed/small": small, "embed/half": half, "quantize/pq": coded}
    path = built(
        open_root(tmp_path), {}, {"features": [Part([file], {"dataset": name}) for name, file in parts.items()]}
    )
    found = rows(path, "SELECT dataset, len(embedding), codes FROM features ORDER BY ALL")
    assert found == [("embed/half", 3, None), ("embed/small", 2, None), ("quantize/pq", None, [1, 255])]
    assert [column[0] for column in rows(path, "DESCRIBE features")] == FEATURES.names
    assert rows(path, "SELECT DISTINCT typeof(embedding), typeof(codes) FROM features") == [("FLOAT[]", "UTINYINT[]")]


def test_results_are_documents_with_labels_and_predictions_in_one_row(tmp_path: Path) -> None:
    known = documents(tmp_path / "d.parquet", "ab")
    odd = documents(tmp_path / "e.parquet", "c", labels=[])
    said = {
        "top_k": [],
        "predicted": [],
        "importance": [],
        "element_shares": [],
        "model_key": "k",
        "dataset_keys": [],
        "status": "ok",
    }
    labels = {"x": "lml", "y": [None, "l", "l"]}
    guesses = [
        {"id": i, "model": model, "label": label, **said}
        for model, guessed in labels.items()
        for i, label in zip("abc", guessed, strict=True)
    ]
    file = write(tmp_path / "p.parquet", guesses, PREDICTIONS)
    views = {"documents": [Part([known, odd], vary=True)], "predictions": [Part([file])]}
    path = built(open_root(tmp_path), {}, views)
    found = rows(path, "SELECT id, model, labels, label, correct, document_status, status FROM results ORDER BY 2, 1")
    assert found == [
        ("a", "x", ["l"], "l", True, "ok", "ok"),
        ("b", "x", ["l"], "m", False, "ok", "ok"),
        ("c", "x", [], "l", None, "ok", "ok"),
        ("a", "y", ["l"], None, False, "ok", "ok"),
        ("b", "y", ["l"], "l", True, "ok", "ok"),
        ("c", "y", [], "l", None, "ok", "ok"),
    ]


def test_versions_of_predictions_are_told_apart(tmp_path: Path) -> None:
    said = {
        "label": "l",
        "top_k": [],
        "predicted": [],
        "importance": [],
        "element_shares": [],
        "model_key": "k",
        "dataset_keys": [],
    }
    new, old = (
        write(tmp_path / f"{i}.parquet", [{"id": i, "model": "x", "status": "ok", **said}], PREDICTIONS) for i in "no"
    )
    parts = [
        Part([new], {"key": "k2", "run": "r", "latest": True}),
        Part([old], {"key": "k1", "run": None, "latest": False}),
    ]
    path = built(open_root(tmp_path), {}, {"predictions": parts[:1], "predictions_history": parts})
    assert rows(path, "SELECT id FROM predictions") == [("n",)]
    assert rows(path, "SELECT id, key, run, latest FROM predictions_history ORDER BY key") == [
        ("o", "k1", None, False), ("n", "k2", "r", True)
    ]  # fmt: skip


def test_an_open_old_catalog_neither_blocks_nor_changes(tmp_path: Path) -> None:
    old, new = documents(tmp_path / "a.parquet", "a"), documents(tmp_path / "b.parquet", "b")
    path = built(open_root(tmp_path), {}, {"documents": [Part([old])]})
    with duckdb.connect(str(path)) as analyst:  # even one who can write
        assert analyst.execute("SELECT id FROM documents").fetchall() == [("a",)]
        built(open_root(tmp_path), {}, {"documents": [Part([new])]})
        assert analyst.execute("SELECT id FROM documents").fetchall() == [("a",)]
    assert [file.name for file in tmp_path.iterdir() if "partial" in file.name] == []
    assert rows(path, "SELECT id FROM documents") == [("b",)]


@pytest.mark.parametrize("name", ["it's", 'a "b"', "a[1]b", "a*b", "ümläut ☃", "100%", "$1"])
def test_odd_folder_names(tmp_path: Path, name: str) -> None:
    file = documents(tmp_path / name / name / "a.parquet", "a")
    documents(tmp_path / "a1b" / "a1b" / "a.parquet", "z")
    path = built(open_root(tmp_path / name), {}, {"documents": [Part([file])]})
    assert rows(path, "SELECT id FROM documents") == [("a",)]
    with duckdb.connect() as session:
        quoted = str(path).replace("'", "''")
        session.execute(f"ATTACH '{quoted}' AS other (READ_ONLY)")
        assert session.execute("SELECT id FROM other.documents").fetchall() == [("a",)]


def test_tables_of_several_files_and_statistics_that_add(tmp_path: Path) -> None:
    files = [
        write(
            tmp_path / f"s{number}.parquet",
            [{"split": "train", "field": "documents", "measure": "documents", "value": number}],
            STATISTICS,
        )
        for number in (1, 2)
    ]
    path = built(open_root(tmp_path), {"statistics": files}, {})
    assert rows(path, "SELECT sum(value) FROM statistics") == [(3,)]


def test_a_path_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "catalog.duckdb").mkdir()
    with pytest.raises(StorageError, match=r"cannot write .*catalog.duckdb"):
        built(open_root(tmp_path), {}, {})
    assert [file.name for file in tmp_path.iterdir()] == ["catalog.duckdb"]


def test_a_damaged_file_behind_it_is_named(tmp_path: Path) -> None:
    (tmp_path / "m.parquet").write_bytes(b"PAR1 but no more")
    with pytest.raises(StorageError, match=r"m\.parquet"):
        built(open_root(tmp_path), {"metrics": [tmp_path / "m.parquet"]}, {})


def test_documents_keep_their_tabular_columns(tmp_path: Path) -> None:
    one = {"id": "a", "source_file": "x", "status": "ok", "labels": ["l"], "num_price": 2.5}
    file = write(tmp_path / "d.parquet", [one], INGESTED.append(pa.field("num_price", pa.float64())))
    path = built(open_root(tmp_path), {}, {"documents": [Part([file])]})
    assert rows(path, "SELECT id, labels[1], num_price FROM results") == [("a", "l", 2.5)]


def test_files_that_vary_in_their_columns_meet(tmp_path: Path) -> None:
    plain = documents(tmp_path / "a.parquet", "a")
    priced = {"id": "b", "source_file": "x", "status": "ok", "labels": [], "num_price": 2.5}
    file = write(tmp_path / "b.parquet", [priced], INGESTED.append(pa.field("num_price", pa.float64())))
    path = built(open_root(tmp_path), {}, {"documents": [Part([plain, file], vary=True)]})
    assert rows(path, "SELECT id, num_price FROM documents ORDER BY id") == [("a", None), ("b", 2.5)]
