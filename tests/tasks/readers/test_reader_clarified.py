"""What private checks of the formats made clear: labels without names, splits by folder, images as text, orphans."""

import base64
import io
import json
import tarfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fixtures.pieces import JPEGS


def lines(path: Path, *rows: dict[str, object]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def tar(path: Path, **members: bytes) -> None:
    with tarfile.open(path, "w") as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))


@pytest.mark.parametrize(
    ("label", "labels", "status"),
    [
        (1, ["dog"], "ok"), (-1, [], "ok"), (9, [], "unknown_label"), (-2, [], "unknown_label"), ("1", ["dog"], "ok"),
        ("other", ["other"], "ok"), ([0, -1], ["cat"], "ok"), ([0, 9], ["cat"], "unknown_label"),
    ],
)  # fmt: skip
def test_minus_one_is_no_label_and_an_index_beyond_the_names_is_unknown(
    tmp_path: Path, load, label: object, labels: list[str], status: str
) -> None:
    """Hidden test labels are -1; 99 of ten classes was a class called "99"."""
    path = lines(tmp_path / "d.jsonl", {"id": "0", "label": label})
    (row,) = load("jsonl", path, label_names=("cat", "dog"))
    assert (row["labels"], row["status"]) == (labels, status)


def test_class_labels_of_parquet_files_too(tmp_path: Path, load) -> None:
    features = {"info": {"features": {"label": {"names": ["cat", "dog"], "_type": "ClassLabel"}}}}
    table = pa.table({"id": ["a", "b", "c"], "label": [-1, 1, 99]})
    table = table.replace_schema_metadata({"huggingface": json.dumps(features)})
    pq.write_table(table, tmp_path / "d.parquet")
    rows = load("parquet", tmp_path / "d.parquet")
    assert [(row["labels"], row["status"]) for row in rows] == [([], "ok"), (["dog"], "ok"), ([], "unknown_label")]


@pytest.mark.parametrize(("folder", "split"), [("train", "train"), ("val", "valid"), ("test", "test"), ("a", None)])
def test_a_single_file_gets_the_split_of_its_folder(tmp_path: Path, load, folder: str, split: str | None) -> None:
    lines(tmp_path / folder / "x.jsonl", {"id": "1"})
    assert [row["split"] for row in load("jsonl", tmp_path)] == [split]
    (tmp_path / folder / "x.jsonl").unlink()
    (tmp_path / folder / "a.jpg").write_bytes(JPEGS[0])
    (tmp_path / folder / "metadata.csv").write_text("file_name,text\na.jpg,hello\n")
    (row,) = load("imagefolder", tmp_path)
    assert (row["split"], row["text"], row["image"]["uri"]) == (split, "hello", f"{folder}/a.jpg")


@pytest.mark.parametrize("wrap", [False, True])
def test_bare_base64_is_an_image(tmp_path: Path, load, wrap: bool) -> None:
    text = (base64.encodebytes if wrap else base64.b64encode)(JPEGS[0]).decode()
    path = lines(tmp_path / "d.jsonl", {"id": "1", "image": text}, {"id": "2", "image": "iVBORw0KGgo/x.png"})
    rows = load("jsonl", path)
    assert rows[0]["image"]["bytes"] == JPEGS[0]
    assert rows[1]["image"]["uri"] == "iVBORw0KGgo/x.png"


def test_members_about_an_archive_are_no_documents(tmp_path: Path, load) -> None:
    tar(
        tmp_path / "t.tar",
        **{"__meta__/x.json": b"{}", "a.jpg": JPEGS[0], "a.json": b'{"title": "T"}', "__x.json": b"1"},
    )
    assert [(row["id"], row["title"]) for row in load("webdataset", tmp_path)] == [("a", "T"), ("__x", None)]


def test_a_shard_that_lost_its_table_is_listed(tmp_path: Path, load) -> None:
    for name in ("00000.tar", "00001.tar"):
        tar(tmp_path / name, **{"a.jpg": JPEGS[0]})
    pq.write_table(pa.table({"key": ["a"], "caption": ["c"], "status": ["success"]}), tmp_path / "00000.parquet")
    rows = load("img2dataset", tmp_path)
    assert [(row["source"], row["status"]) for row in rows] == [("00001.tar", "no_table"), ("00000.parquet:1", "ok")]
