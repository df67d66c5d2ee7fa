"""Archives and tables of images fed with any bytes: rows in, counted without the reader, are the rows that come out."""

import io
import tarfile
from collections.abc import Callable
from itertools import groupby
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fixtures.fuzzing import (
    JSON,
    dump,
    filled,
    fuzzed,
    put_all,
    quoted_starts,
    rows_of,
    run,
    sources,
)
from hypothesis import strategies as st

TABLES = sources(
    b"a.jpg,t,x\n", b'"b\n.jpg",t,x\n', b"../c.jpg,t,x\n", b'{"file_name": "a.jpg", "text": ["t"]}\n', b",,\n"
)


def imagefolder(folder: Path, data: bytes) -> None:
    """Metadata beside the images: CSV in one set, JSON lines in the other."""
    head, first = b"file_name,text,label\n", b'{"file_name": "a.jpg", "text": "t", "label": 1}\n'
    put_all(folder / "c", {"train/metadata.csv": head + data, "valid/metadata.csv": head + data, "train/a.jpg": b"x"})
    rows = rows_of("imagefolder", folder / "c")
    assert len(rows) == 2 * (len(quoted_starts(head + data)) - 1)
    put_all(folder / "j", {"train/metadata.jsonl": first + data, "train/a.jpg": b"x"})
    assert len(rows_of("imagefolder", folder / "j")) == filled(first + data)


VALUES = (
    st.none() | st.sampled_from(["000000001", "000000002", "success", "failed_to_download", ""]) | st.text(max_size=5)
)
FAILED = st.lists(st.tuples(VALUES, VALUES, VALUES), max_size=7)
# fmt: off
PLACES = (
    "a.jpg", "a.txt", "a.cls", "a.json", "b.jpg", "b.x.jpg", "B.JPG", "d/a.txt", "d/a.json", "../a.txt", "/a.txt",
    "__m__", ".hidden", "nodot", "000000001.jpg", "000000002.json", "000000002.txt", "é.txt", "a.title", "n\nl.txt",
)
# fmt: on
MEMBERS = st.lists(
    st.tuples(
        st.sampled_from(PLACES),
        JSON.map(dump) | st.binary(max_size=30),
        st.sampled_from([tarfile.REGTYPE, tarfile.REGTYPE, tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.DIRTYPE]),
    ),
    max_size=9,
)


def tarred(members: list[tuple[str, bytes, bytes]]) -> bytes:
    """Return a tar of members, in their order."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, data, kind in members:
            info = tarfile.TarInfo(name)
            info.type, info.size, info.linkname = kind, len(data) if kind == tarfile.REGTYPE else 0, "/etc/passwd"
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def is_bad(name: str, kind: bytes) -> bool:
    """Return whether a member leads out of the archive."""
    return kind == tarfile.SYMTYPE or (kind != tarfile.DIRTYPE and (name.startswith("/") or ".." in name.split("/")))


def img2dataset(folder: Path, data: tuple[list[tuple[Any, ...]], list[tuple[str, bytes, bytes]], int]) -> None:
    """The table lists failures too: each of its rows is a document, and each member that cannot be used a row more."""
    table, members, keep = data
    columns = zip(*table, strict=True) if table else ([], [], [])
    kinds = [pa.array(values, pa.string()) for values in columns]
    pq.write_table(pa.table(kinds, names=["key", "status", "caption"]), folder / "00000.parquet")
    put_all(folder, {"00000.tar": tarred(members)})
    rows = rows_of("img2dataset", folder)
    bad = sum(is_bad(name, kind) for name, _, kind in members)
    assert len(rows) == len(table) + bad
    assert sum(row["status"] == "bad_member" for row in rows) == bad
    whole = (folder / "00000.parquet").read_bytes()
    put_all(folder, {"00000.parquet": whole[: keep * len(whole) // 100] + whole[-8:]})
    cut = run("img2dataset", folder)
    assert cut, "a table that was cut is at least one row that says so"


def webdataset(folder: Path, data: tuple[list[tuple[str, bytes, bytes]], int]) -> None:
    """A document is a run of members with one key; a link or a climbing name is a row, and parts no run."""
    members, keep = data
    put_all(folder, {"train-000000.tar": tarred(members)})
    bad = sum(is_bad(name, kind) for name, _, kind in members)
    names = [name for name, _, kind in members if kind != tarfile.DIRTYPE and not is_bad(name, kind)]
    parts = [(name.rpartition("/")[0], *name.rpartition("/")[2].partition(".")) for name in names]
    keys = [f"{folder}/{stem}".removeprefix("/") for folder, stem, dot, _ in parts if dot and stem]
    rows = rows_of("webdataset", folder)
    assert len(rows) == len(list(groupby(keys))) + bad
    assert [row["id"] for row in rows if row["status"] != "bad_member"] == [key for key, _ in groupby(keys)]
    for options in ({"encoding_errors": "replace"}, {"tabular": {"score": "number"}}):
        assert len(run("webdataset", folder, **options) or rows) == len(rows)
    whole = tarred(members)
    put_all(folder, {"train-000000.tar": whole[: keep * len(whole) // 100]})
    cut = rows_of("webdataset", folder)
    assert len(cut) <= len(rows) + 1
    ends = [row for row in cut if row["status"] == "bad_file"]
    assert len(ends) <= 1
    assert [row["id"] for row in cut[: len(cut) - 1 - len(ends)]] == [
        row["id"] for row in rows[: max(len(cut) - 1 - len(ends), 0)]
    ]


KEEP = st.integers(0, 99)


CHECKS: dict[Callable[[Path, Any], None], st.SearchStrategy[Any]] = {
    imagefolder: TABLES,
    img2dataset: st.tuples(FAILED, MEMBERS, KEEP),
    webdataset: st.tuples(MEMBERS, KEEP),
}


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_rows_in_are_rows_out(check):
    fuzzed(check, CHECKS[check], 50)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_ten_thousand_sources_are_accounted_for(check):
    fuzzed(check, CHECKS[check], 10_000)


TYPED = [
    pa.array([1, 2, None]),
    pa.array([["a"], [], None]),
    pa.array([{"x": 1}, None, {}]),
    pa.array([b"\xff", b"", None]),
    pa.array([1.5, float("nan"), None]),
    pa.array([1, 2, None], pa.timestamp("ns")),
    pa.array(["a", "b", None]).dictionary_encode(),
    pa.array([[{"bytes": b"x", "path": "p"}], [], None]),
    pa.array([[("a", 1)], [], None], pa.map_(pa.string(), pa.int64())),
    pa.nulls(3),
]


@pytest.mark.parametrize("column", ["key", "status", "caption", "jpg", "image"])
@pytest.mark.parametrize("reader", ["img2dataset", "parquet"])
def test_a_column_of_any_type_loses_no_row(tmp_path, reader, column):
    """A status that was a list ended the run, and a column jpg that held numbers made one row of all."""
    for number, values in enumerate(TYPED):
        columns = {"key": ["1", "2", "3"], "status": ["success"] * 3, "caption": ["x"] * 3, column: values}
        pq.write_table(pa.table(columns), tmp_path / "00000.parquet")
        assert len(rows_of(reader, tmp_path)) == 3, number
