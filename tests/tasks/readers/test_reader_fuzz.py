"""Any bytes at all: no exception but ours, and no line lost: lines in = documents + rows without an id."""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from stores.errors import FuselineError
from tasks.readers import READERS

PIECES = [
    *(
        b'{"id": "a',
        b'"',
        b'"}',
        b'""',
        b',"',
        b'",',
        b"\n",
        b"\n",
        b"\n",
        b"\r\n",
        b"\r",
        b",",
        b"\t",
        b"[",
        b"{",
        b"}",
    ),
    *(
        b"\xff",
        b"\0",
        b"\xef\xbb\xbf",
        b"\\",
        b"\\ud800",
        b"\\u0000",
        b"1e999",
        b"null",
        b" ",
        b"\x0b",
        b"\x1e",
        b"%",
        b"%1E",
    ),
    *(
        b"%FF",
        b"+",
        b"__label__",
        b"__label__a",
        b"id",
        b"text",
        b"../",
        b"/x.jpg",
        b"file://",
        b"data:x;base64,",
        b"9" * 30,
    ),
    *("é\u2028\u0085\u00a0".encode(), b'{"id": 1, "text": "x", "label": ["a", {}], "image": [1], "split": "dev"}\n'),
    *(b"\t" * 24, b"\t" * 22, b"7\t7\t7\t7", b"a_1.jpg,t,a\n", b"x,y,z\n", b'\n5,"', b"{}\n"),
]
TEXT = st.one_of(
    st.lists(st.sampled_from(PIECES), max_size=40).map(b"".join),
    st.binary(max_size=200),
    st.lists(st.sampled_from(PIECES) | st.binary(max_size=8), max_size=30).map(b"".join),
)
# a file that says it is packed or UTF-16 has other lines than its bytes show
MAGIC = (b"\x1f\x8b", b"BZh", b"\x28\xb5\x2f\xfd", b"PK", b"\xff\xfe", b"\xfe\xff")
BOM = b"\xef\xbb\xbf"


def lines(data: bytes) -> list[str]:
    """Return the lines as an editor shows them, without what stands for nothing."""
    text = data.removeprefix(BOM).decode("utf-8", "replace")
    return [line.removesuffix("\r").replace("\0", "") for line in text.removesuffix("\n").split("\n")] if text else []


def run(reader: str, path: Path, **options: Any) -> list[dict[str, Any]] | None:
    """Read, or return None when the reader refuses the source in our words."""
    entry = READERS[reader]
    try:
        tables = list(entry.read(str(path), entry.options(**options)))
    except FuselineError:
        return None
    rows = [row for table in tables for row in table.to_pylist()]
    for row in rows:
        assert row["status"]
        uri = (row["image"] or {}).get("uri")
        assert uri is None or not (uri.startswith(("/", "file:")) or ".." in uri.split("/"))
        assert row["id"] is None or "\0" not in row["id"]
    return rows


def jsonl(folder: Path, data: bytes) -> None:
    (folder / "d.jsonl").write_bytes(data)
    rows = run("jsonl", folder / "d.jsonl", columns={"id": "#line"}, batch_rows=3)
    if rows is not None:
        assert len(rows) == sum(not line.isspace() and line != "" for line in lines(data))
    run("jsonl", folder / "d.jsonl")


def csv_quoted(folder: Path, data: bytes) -> None:
    (folder / "d.csv").write_bytes(b"id,text,image\n" + data)
    rows = run("csv", folder / "d.csv", batch_rows=3)
    assert rows is not None
    starts = [int(row["source"].rpartition(":")[2]) for row in rows]
    assert starts == sorted(set(starts))
    filled = [number for number, line in enumerate(lines(b"x\n" + data), 1) if number > 1 and line.strip("\r")]
    assert (not filled and not starts) or starts[0] == filled[0]
    assert all(row["text"] is None for row in rows if row["status"] not in ("ok", "bad_path", "bad_value"))


def csv_plain(folder: Path, data: bytes) -> None:
    (folder / "d.tsv").write_bytes(b"id\ttext\n" + data)
    rows = run("csv", folder / "d.tsv", quoting=False, batch_rows=3)
    assert rows is not None
    assert len(rows) == sum(line != "" for line in lines(b"x\n" + data)[1:])


def fasttext(folder: Path, data: bytes) -> None:
    (folder / "train.txt").write_bytes(data)
    rows = run("fasttext", folder, batch_rows=3)
    assert rows is not None
    assert len(rows) == len(lines(data))
    (folder / "ids").write_bytes(data)
    tagged = run("flickrtag", folder / "train.txt", ids="ids", image="{id}.jpg", batch_rows=3)
    assert tagged is not None
    assert len(tagged) == len(rows)


def yfcc(folder: Path, data: bytes) -> None:
    (folder / "y.tsv").write_bytes(data)
    (folder / "tags").write_bytes(data)
    rows = run(
        "yfcc", folder / "y.tsv", autotags="tags", labels="autotags", tabular={"longitude": "number"}, batch_rows=3
    )
    assert rows is not None
    assert len(rows) == sum(line != "" for line in lines(data))
    run("yfcc", folder / "y.tsv")


def food101(folder: Path, data: bytes) -> None:
    (folder / "images/train").mkdir(parents=True)
    (folder / "texts").mkdir()
    (folder / "texts/train_titles.csv").write_bytes(data)
    rows = run("food101", folder, batch_rows=3)
    assert rows is not None
    headers = ("image", "name", "img", "path", "file", "filename", "file_name", "image_path")
    first = [line.partition(",")[0].strip('"').lower() for line in lines(data) if line.strip()]
    assert len(rows) == sum(head not in headers for head in first)


def releases(folder: Path, data: bytes) -> None:
    """Files that a release keeps beside its documents: damage there is refused or marked, never a crash."""
    for name in (
        "info/synsets.txt",
        "info/train_filelist_google.txt",
        "info/train_meta_list_google.txt",
        "google/q1.json",
    ):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(data if "synsets" not in name else b"n1 a\n" + data)
    run("webvision", folder)
    for name in (
        "dataset/0000001.json",
        "train/train.csv",
        "breed_labels.csv",
        "train_sentiment/a.json",
        "X_train_update.csv",
    ):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(data)
    run("mmimdb", folder)
    run("petfinder", folder)
    run("products", folder, preset="rakuten")
    for name in (
        "styles.csv",
        "Topics.json",
        "train.jsonl",
        "meta_x.jsonl",
        "listings_0.json",
        "images.csv",
        "a.tar",
        "a.parquet",
    ):
        (folder / name).write_bytes(data)
    for preset in ("fashion", "amazon", "abo", "hateful_memes"):
        run("products", folder, preset=preset)
    for reader in ("pitt_ads", "webdataset", "img2dataset", "parquet", "imagefolder"):
        run(reader, folder)


CHECKS: list[Callable[[Path, bytes], None]] = [jsonl, csv_quoted, csv_plain, fasttext, yfcc, food101, releases]


def one(check: Callable[[Path, bytes], None], data: bytes) -> None:
    assume(not data.removeprefix(BOM).startswith(MAGIC) and not data.startswith(MAGIC) and not data.startswith(BOM * 2))
    with tempfile.TemporaryDirectory(dir=os.environ.get("FUZZ_DIR")) as folder:
        check(Path(folder), data)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_no_line_is_lost_and_nothing_escapes(check):
    @settings(max_examples=150 if check is not releases else 40, deadline=None, suppress_health_check=list(HealthCheck))
    @given(TEXT)
    def fuzz(data: bytes) -> None:
        one(check, data)

    fuzz()


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_ten_thousand_sources(check):
    @settings(max_examples=10_000, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(TEXT)
    def fuzz(data: bytes) -> None:
        one(check, data)

    fuzz()
