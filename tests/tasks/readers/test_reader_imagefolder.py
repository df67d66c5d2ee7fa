"""Image folders: what folder names mean, metadata files, and names that are no text."""

import io
import json
import os
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fixtures.pieces import JPEGS

from fuseline.stores.errors import ConfigError, DataError
from fuseline.tasks.engine.images import ImageLimits, open_image
from fuseline.tasks.readers import READERS


def make(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"image of " + name.encode())
    return root


def told(rows):
    return [(row["id"], row["split"], row["labels"]) for row in rows]


def test_split_and_label_folders(tmp_path, load):
    root = make(
        tmp_path,
        "train/cat/2.jpg",
        "train/cat/10.JPG",
        "train/dog/1.png",
        "val/dog/1.png",
        "readme.txt",
        ".hidden/x.jpg",
    )
    assert told(load("imagefolder", root)) == [
        ("train/cat/10.JPG", "train", ["cat"]),
        ("train/cat/2.jpg", "train", ["cat"]),
        ("train/dog/1.png", "train", ["dog"]),
        ("val/dog/1.png", "valid", ["dog"]),
    ]


def test_labels_without_splits_and_neither(tmp_path, load):
    assert told(load("imagefolder", make(tmp_path / "a", "cat/1.jpg", "dog/1.jpg"))) == [
        ("cat/1.jpg", None, ["cat"]),
        ("dog/1.jpg", None, ["dog"]),
    ]
    flat = load("imagefolder", make(tmp_path / "b", "1.jpg", "2.jpg"))
    assert told(flat) == [("1.jpg", None, []), ("2.jpg", None, [])]
    assert flat[0]["image"] == {"uri": "1.jpg", "offset": None, "length": None, "bytes": None}
    uneven = make(tmp_path / "c", "cat/1.jpg", "dog/x/1.jpg")
    assert told(load("imagefolder", uneven)) == [("cat/1.jpg", None, []), ("dog/x/1.jpg", None, [])]
    assert told(load("imagefolder", uneven, layout="label")) == [
        ("cat/1.jpg", None, ["cat"]),
        ("dog/x/1.jpg", None, ["x"]),
    ]
    assert told(load("imagefolder", make(tmp_path / "d", "train/1.jpg", "test/1.jpg"))) == [
        ("test/1.jpg", "test", []),
        ("train/1.jpg", "train", []),
    ]


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_metadata_rules_over_folders(tmp_path, load, kind):
    make(tmp_path, "train/cat/1.jpg", "train/cat/unlisted.jpg", "test/dog/1.jpg")
    for split, name in (("train", "cat/1.jpg"), ("test", "dog/1.jpg")):
        rows = {"file_name": [name], "text": [f"a {split} text"]}
        file = tmp_path / split / f"metadata.{kind}"
        if kind == "csv":
            file.write_text(f"file_name,text\n{name},a {split} text\n")
        elif kind == "jsonl":
            file.write_text(f'{{"file_name": "{name}", "text": "a {split} text"}}\n')
        else:
            pq.write_table(pa.table(rows), file)
        (tmp_path / split / f"other.{kind}").write_text("not read")
    rows = load("imagefolder", tmp_path)
    assert told(rows) == [("test/dog/1.jpg", "test", []), ("train/cat/1.jpg", "train", [])]
    assert [row["text"] for row in rows] == ["a test text", "a train text"]
    assert [row["image"]["uri"] for row in rows] == ["test/dog/1.jpg", "train/cat/1.jpg"]


def test_two_formats_of_metadata_are_refused(tmp_path, load):
    make(tmp_path, "metadata.csv", "sub/metadata.jsonl")
    with pytest.raises(DataError, match="one format"):
        load("imagefolder", tmp_path)


def test_names_that_are_no_text_or_hold_anything(tmp_path, load):
    make(tmp_path, "a\nb.jpg", "caf\u00e9.jpg", "cafe\u0301.jpg", "x y'\".jpg")
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.jpg")).write_bytes(b"x")
    rows = load("imagefolder", tmp_path)
    assert {row["id"] for row in rows} == {"a\nb.jpg", "caf\u00e9.jpg", "cafe\u0301.jpg", "x y'\".jpg", None}
    assert [row["status"] for row in rows if row["id"] is None] == ["bad_name"]
    assert len(rows) == 5


def test_links_in_a_circle_end(tmp_path, load):
    make(tmp_path, "a/1.jpg")
    (tmp_path / "a" / "again").symlink_to(tmp_path)
    assert ("a/1.jpg", None, []) in told(load("imagefolder", tmp_path))
    assert len(load("imagefolder", tmp_path)) < 5


def test_an_empty_folder_is_no_error_and_a_missing_one_is(tmp_path, load):
    assert load("imagefolder", tmp_path) == []
    with pytest.raises(ConfigError, match=r"source\.path"):
        load("imagefolder", tmp_path / "absent")


def test_the_listing_tells_a_changed_image(tmp_path):
    entry = READERS["imagefolder"]
    make(tmp_path, "cat/1.jpg", "dog/1.jpg")
    first = list(entry.files(str(tmp_path), entry.options()))
    assert [file.uri for file in first] == ["cat/1.jpg", "dog/1.jpg"]
    assert list(entry.files(str(tmp_path), entry.options())) == first
    (tmp_path / "dog/1.jpg").write_bytes(b"another, longer image of a dog")
    changed = list(entry.files(str(tmp_path), entry.options()))
    assert (changed[0], changed[1] == first[1]) == (first[0], False)


def test_batches_are_bounded_and_in_order(tmp_path):
    make(tmp_path, *(f"{index:03d}.jpg" for index in range(25)))
    entry = READERS["imagefolder"]
    tables = list(entry.read(str(tmp_path), entry.options(batch_rows=10)))
    assert [len(table) for table in tables] == [10, 10, 5]
    assert [one for table in tables for one in table["id"].to_pylist()] == sorted(
        f"{index:03d}.jpg" for index in range(25)
    )


def zip_of(path: Path, members: dict[str, bytes], kind: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", kind) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def metadata_of(kind: str, rows: list[dict[str, str]]) -> bytes:
    if kind == "parquet":
        buffer = io.BytesIO()
        pq.write_table(pa.Table.from_pylist(rows), buffer)
        return buffer.getvalue()
    if kind == "jsonl":
        return "".join(json.dumps(row) + "\n" for row in rows).encode()
    return "\n".join([",".join(rows[0]), *(",".join(row.values()) for row in rows)]).encode()


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
@pytest.mark.parametrize("packing", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_metadata_in_zips_rules_as_in_folders(tmp_path, load, kind, packing):
    """The same documents as from the folders that the zips unpack to; unlisted images are none."""
    rows = {
        "train": [{"file_name": "a/1.jpg", "text": "one"}, {"file_name": "a/gone.jpg", "text": "two"}],
        "test": [{"file_name": "2.jpg", "text": "three"}],
    }
    images = {"train": {"sub/a/1.jpg": JPEGS[0], "sub/a/unlisted.jpg": JPEGS[1]}, "test": {"2.jpg": JPEGS[2]}}
    for split, folder in (("train", "sub/"), ("test", "")):
        members = {**images[split], f"{folder}metadata.{kind}": metadata_of(kind, rows[split])}
        zip_of(tmp_path / f"{split}.zip", members, packing)
    got = load("imagefolder", tmp_path)
    assert [(row["id"], row["split"], row["text"], row["status"]) for row in got] == [
        ("test/2.jpg", "test", "three", "ok"),
        ("train/sub/a/1.jpg", "train", "one", "ok"),
        ("train/sub/a/gone.jpg", "train", "two", "missing"),
    ]
    assert [row["source"].partition(":")[0] for row in got] == [f"test.zip/metadata.{kind}"] + [
        f"train.zip/sub/metadata.{kind}"
    ] * 2
    shown = [row["image"] and open_image(row["image"], str(tmp_path), ImageLimits()) for row in got]
    assert shown == [JPEGS[2], JPEGS[0], None]
    stored = packing == zipfile.ZIP_STORED
    assert (got[0]["image"]["uri"], got[0]["image"]["bytes"] is None) == ("test.zip" if stored else None, stored)


def test_metadata_in_zips_that_lie(tmp_path, load):
    row = metadata_of("jsonl", [{"file_name": "../../etc/passwd"}, {"file_name": "1.jpg"}])
    bomb = row + b" " * (100 << 20)
    zip_of(tmp_path / "a.zip", {"1.jpg": JPEGS[0], "metadata.jsonl": row, "../metadata.jsonl": row})
    zip_of(tmp_path / "b.zip", {"1.jpg": JPEGS[0], "metadata.jsonl": bomb}, zipfile.ZIP_DEFLATED)
    (tmp_path / "c.zip").write_bytes(b"PK\x03\x04 no zip")
    got = load("imagefolder", tmp_path)
    told = [(row["source"], row["id"], row["status"]) for row in got]
    assert told[:5] == [
        ("b.zip/metadata.jsonl", None, "bomb"),
        ("c.zip", None, "bad_file"),
        ("a.zip/metadata.jsonl:1", "../../etc/passwd", "bad_path"),
        ("a.zip/metadata.jsonl:2", "a/1.jpg", "ok"),
        ("b.zip/metadata.jsonl:1", "../../etc/passwd", "bad_path"),
    ]
    zip_of(tmp_path / "c.zip", {"metadata.csv": b"file_name\n"})
    with pytest.raises(DataError, match="one format"):
        load("imagefolder", tmp_path)
