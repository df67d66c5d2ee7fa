"""Any bytes at all: no exception but ours, and no line lost: lines in = documents + rows without an id."""

from collections.abc import Callable
from pathlib import Path

import pytest
from fixtures.fuzzing import filled, line_numbers, lines, one, quoted_starts, run, sources
from hypothesis import HealthCheck, given, settings

TEXT = sources()


def jsonl(folder: Path, data: bytes) -> None:
    (folder / "d.jsonl").write_bytes(data)
    rows = run("jsonl", folder / "d.jsonl", columns={"id": "#line"}, batch_rows=3)
    if rows is not None:
        assert len(rows) == filled(data)
    run("jsonl", folder / "d.jsonl")


def csv_quoted(folder: Path, data: bytes) -> None:
    (folder / "d.csv").write_bytes(b"id,text,image\n" + data)
    rows = run("csv", folder / "d.csv", batch_rows=3)
    assert rows is not None
    assert line_numbers(rows) == [start for start in quoted_starts(b"x\n" + data) if start > 1]
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
    rows = run("yfcc", folder / "y.tsv", tabular={"longitude": "number"}, batch_rows=3)
    assert rows is not None
    assert len(rows) == sum(line != "" for line in lines(data))
    tagged = run("yfcc", folder / "y.tsv", autotags="tags", labels="autotags", batch_rows=3)
    assert tagged is None or [row["source"] for row in tagged] == [row["source"] for row in rows]


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
