"""JSON lines: mapping, and every kind of bad line in its place."""

import base64
import bz2
import gzip
import json
from pathlib import Path

import pytest
import zstandard

from fuseline.stores.errors import ConfigError, DataError


def write(path: Path, *lines: str | bytes) -> Path:
    path.write_bytes(b"\n".join(line if isinstance(line, bytes) else line.encode() for line in lines))
    return path


def test_obvious_columns_need_no_mapping(tmp_path, load):
    row = {
        "id": "7",
        "title": "T",
        "description": "D",
        "text": "x",
        "html": "<p>",
        "labels": ["a", "b"],
        "image": "i/1.jpg",
        "split": "dev",
    }
    (got,) = load("jsonl", write(tmp_path / "d.jsonl", json.dumps(row)))
    assert got == {
        **{name: row[name] for name in ("id", "title", "description", "text", "html", "labels")},
        "source": "d.jsonl:1",
        "status": "ok",
        "split": "valid",
        "group": None,
        "image": {"uri": "i/1.jpg", "offset": None, "length": None, "bytes": None},
    }


def test_each_bad_line_stays_in_its_place(tmp_path, load):
    path = write(
        tmp_path / "d.jsonl",
        '{"id": "a", "text": "fine"}',
        '{"id": "b", "text": ',
        "garbage",
        '["a", "list"]',
        b'{"id": "c", "text": "\xff"}',
        '{"text": "no id"}',
        '{"id": "d", "text": {"nested": 1}}',
        "",
        "[" * 10_000,
        '{"id": "e", "text": "n\\u0000ul"}',
        '{"id": "../f/g", "text": ""}',
    )
    rows = load("jsonl", path)
    assert [(row["id"], row["status"], row["source"].rpartition(":")[2]) for row in rows] == [
        ("a", "ok", "1"),
        ("b", "bad_json", "2"),
        (None, "bad_json", "3"),
        (None, "bad_row", "4"),
        ("c", "bad_encoding", "5"),
        (None, "missing_id", "6"),
        ("d", "bad_value", "7"),
        (None, "bad_json", "9"),
        ("e", "ok", "10"),
        ("../f/g", "ok", "11"),
    ]
    assert all(row["text"] is None for row in rows if row["status"] != "ok")
    assert [row["text"] for row in rows if row["status"] == "ok"] == ["fine", "nul", None]


def test_encoding_errors_can_be_replaced(tmp_path, load):
    (row,) = load("jsonl", write(tmp_path / "d.jsonl", b'{"id": "c", "text": "a\xffb"}'), encoding_errors="replace")
    assert (row["status"], row["text"]) == ("ok", "a\ufffdb")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig"])
def test_a_byte_order_mark_is_stripped(tmp_path, load, encoding):
    (tmp_path / "d.jsonl").write_bytes('{"id": "é"}\r\n\r\n'.encode(encoding))
    assert [row["id"] for row in load("jsonl", tmp_path / "d.jsonl")] == ["é"]


def test_ids_keep_every_digit(tmp_path, load):
    ids = ['"0012345"', "3804725264", "123456789012345678901234567890", "1.0", '"010-mll+S7JL"']
    rows = load("jsonl", write(tmp_path / "d.jsonl", *(f'{{"id": {one}}}' for one in ids)))
    assert [row["id"] for row in rows] == [one.strip('"') for one in ids]


def test_labels_of_every_shape(tmp_path, load):
    values = ['"a"', '["a", "b", "a"]', "3", "null", '"a|b| "', "[]", '[["x"]]']
    path = write(
        tmp_path / "d.jsonl", *(f'{{"id": "{index}", "label": {value}}}' for index, value in enumerate(values))
    )
    rows = load("jsonl", path, label_separator="|")
    assert [row["labels"] for row in rows] == [["a"], ["a", "b"], ["3"], [], ["a", "b"], [], []]
    assert [row["status"] for row in rows] == ["ok"] * 6 + ["bad_value"]


def test_integer_labels_get_their_names(tmp_path, load):
    path = write(tmp_path / "d.jsonl", '{"id": "0", "label": 1}', '{"id": "1", "label": 9}')
    assert [row["labels"] for row in load("jsonl", path, label_names=("cat", "dog"))] == [["dog"], []]


def test_unknown_labels_are_dropped_with_or_without_their_row_or_refused(tmp_path, load):
    path = write(tmp_path / "d.jsonl", '{"id": "0", "label": ["a", "z"]}', '{"id": "1", "label": "a"}')
    kept = load("jsonl", path, vocabulary=("a",))
    assert [(row["id"], row["labels"], row["status"]) for row in kept] == [("0", ["a"], "ok"), ("1", ["a"], "ok")]
    gone = load("jsonl", path, vocabulary=("a",), unknown_label="drop_row")
    assert [(row["id"], row["labels"], row["status"]) for row in gone] == [
        (None, [], "unknown_label"),
        ("1", ["a"], "ok"),
    ]
    with pytest.raises(DataError, match=r"d.jsonl:1.*got \['z'\]"):
        load("jsonl", path, vocabulary=("a",), unknown_label="error")


@pytest.mark.parametrize(
    "uri",
    [
        "/etc/passwd",
        "../x.jpg",
        "a/../../x.jpg",
        "..",
        "file:///etc/passwd",
        "s3://b/x",
        "C:\\\\x.jpg",
        "a\\u0000b",
        "x::file:///etc/passwd",
    ],
)
def test_references_that_climb_out_are_refused(tmp_path, load, uri):
    (row,) = load("jsonl", write(tmp_path / "d.jsonl", f'{{"id": "1", "text": "kept", "image": "{uri}"}}'))
    if "u0000" in uri:  # the NUL is dropped, what is left is a name
        assert row["image"]["uri"] == "ab"
    else:
        assert (row["status"], row["image"], row["text"]) == ("bad_path", None, "kept")


@pytest.mark.parametrize(
    ("uri", "kept"),
    [
        ("./a/b.jpg", "a/b.jpg"),
        ("a..b.jpg", "a..b.jpg"),
        ("https://h/x.jpg", "https://h/x.jpg"),
        ("a\\nb.jpg", "a\nb.jpg"),
    ],
)
def test_references_that_are_kept(tmp_path, load, uri, kept):
    (row,) = load("jsonl", write(tmp_path / "d.jsonl", f'{{"id": "1", "image": "{uri}"}}'))
    assert (row["status"], row["image"]["uri"]) == ("ok", kept)


def test_inline_images_become_bytes(tmp_path, load):
    good = "data:image/png;base64," + base64.b64encode(b"png").decode()
    path = write(
        tmp_path / "d.jsonl",
        *(json.dumps({"id": str(i), "image": uri}) for i, uri in enumerate([good, "data:image/png;base64,?", "a.jpg"])),
    )
    rows = load("jsonl", path)
    assert [row["status"] for row in rows] == ["ok", "bad_value", "ok"]
    assert [row["image"] and (row["image"]["bytes"], row["image"]["uri"]) for row in rows] == [
        (b"png", None),
        None,
        (None, "a.jpg"),
    ]


def test_an_image_path_can_be_a_template(tmp_path, load):
    rows = load(
        "jsonl",
        write(tmp_path / "d.jsonl", '{"id": "7", "p": 3}', '{"id": "8"}'),
        columns={"image": "img/{id}_{p}.jpg"},
    )
    assert [row["image"] and row["image"]["uri"] for row in rows] == ["img/7_3.jpg", None]


def test_tabular_columns_keep_their_kind(tmp_path, load):
    path = write(
        tmp_path / "d.jsonl",
        '{"id": "1", "age": 3, "breed": 7}',
        '{"id": "2", "age": "old", "breed": null}',
        '{"id": "3", "age": "1.50"}',
    )
    rows = load("jsonl", path, tabular={"age": "number", "breed": "category"})
    assert [(row["num_age"], row["cat_breed"]) for row in rows] == [(3.0, "7"), (None, None), (1.5, None)]


def test_an_unknown_column_is_refused_with_those_seen(tmp_path, load):
    with pytest.raises(ConfigError, match=r"columns.title in d.jsonl: expected \['id', 'text'\], got 'titel'"):
        load("jsonl", write(tmp_path / "d.jsonl", '{"id": "1", "text": "x"}'), columns={"title": "titel"})
    with pytest.raises(ConfigError, match=r"columns\.id"):
        load("jsonl", write(tmp_path / "d.jsonl", '{"text": "x"}'))


def test_lines_can_be_their_own_ids(tmp_path, load):
    rows = load("jsonl", write(tmp_path / "d.jsonl", '{"text": "x"}', "bad", '{"text": "y"}'), columns={"id": "#line"})
    assert [(row["id"], row["status"]) for row in rows] == [
        ("d.jsonl:1", "ok"),
        ("d.jsonl:2", "bad_json"),
        ("d.jsonl:3", "ok"),
    ]


def test_a_column_that_may_be_absent_is_used_where_it_is_there(tmp_path, load):
    path = write(tmp_path / "d.jsonl", '{"id": "1", "kind": "x"}')
    assert load("jsonl", path, columns={"labels": "kind"}, optional=["labels"])[0]["labels"] == ["x"]
    assert load("jsonl", path, columns={"labels": "sort"}, optional=["labels"])[0]["labels"] == []
    with pytest.raises(ConfigError, match=r"columns\.labels in"):
        load("jsonl", path, columns={"labels": "sort"})


def test_a_split_nobody_knows_is_told_and_the_ingest_decides(tmp_path, load):
    path = write(
        tmp_path / "d.jsonl",
        '{"id": "1", "split": "test_seen", "text": "x"}',
        '{"id": "2", "split": "Val"}',
        '{"id": "3"}',
    )
    assert [(row["split"], row["status"]) for row in load("jsonl", path)] == [
        (None, "bad_split"),
        ("valid", "ok"),
        (None, "ok"),
    ]
    assert load("jsonl", path)[0]["text"] == "x"
    assert load("jsonl", path, splits={"test_seen": "test"})[0]["split"] == "test"


def test_a_folder_is_read_in_name_order_and_names_tell_splits(tmp_path, load):
    (tmp_path / "sub").mkdir()
    for name in ("test.jsonl", "dev_seen.jsonl", "sub/train-00000-of-00002.jsonl", "notes.txt"):
        write(tmp_path / name, json.dumps({"id": name, "image": "x.jpg"}))
    rows = load("jsonl", tmp_path)
    assert [(row["id"], row["split"], row["image"]["uri"]) for row in rows] == [
        ("dev_seen.jsonl", "valid", "x.jpg"),
        ("sub/train-00000-of-00002.jsonl", "train", "sub/x.jpg"),
        ("test.jsonl", "test", "x.jpg"),
    ]


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lambda data: zstandard.compress(data)])
def test_packed_files_are_told_by_their_magic(tmp_path, load, pack):
    (tmp_path / "d.jsonl").write_bytes(pack(b'{"id": "1"}\n{"id": "2"}\n'))
    assert [row["id"] for row in load("jsonl", tmp_path / "d.jsonl")] == ["1", "2"]


def test_a_packed_file_that_ends_early_keeps_its_rows(tmp_path, load):
    data = gzip.compress(b"".join(b'{"id": "%d", "text": "%x"}\n' % (i, i * 7919**5) for i in range(20_000)))
    (tmp_path / "d.jsonl.gz").write_bytes(data[: len(data) // 2])
    rows = load("jsonl", tmp_path)
    assert rows[-1]["status"] == "bad_file"
    assert len(rows) > 5000
    assert {row["status"] for row in rows[:-1]} == {"ok"}


def test_a_line_over_the_limit_is_one_row(tmp_path, load):
    path = write(tmp_path / "d.jsonl", '{"id": "1"}', '{"id": "2", "text": "' + "x" * 3_000_000 + '"}', '{"id": "3"}')
    rows = load("jsonl", path, max_line_bytes=1 << 20)
    assert [(row["id"], row["status"], row["source"]) for row in rows] == [
        ("1", "ok", "d.jsonl:1"),
        ("2", "too_large", "d.jsonl:2"),
        ("3", "ok", "d.jsonl:3"),
    ]


def test_a_bomb_is_stopped(tmp_path, load):
    bomb = zstandard.compress(b'{"id": "1"}\n' + b"\0" * (200 << 20))
    (tmp_path / "d.jsonl").write_bytes(bomb)
    rows = load("jsonl", tmp_path / "d.jsonl")
    assert [(row["id"], row["status"]) for row in rows] == [("1", "ok"), (None, "bomb")]


def test_nothing_and_nowhere(tmp_path, load):
    assert load("jsonl", tmp_path) == []
    assert load("jsonl", write(tmp_path / "d.jsonl", "", "")) == []
    with pytest.raises(ConfigError, match=r"source\.path"):
        load("jsonl", tmp_path / "absent.jsonl")


def test_images_can_be_copied_in(tmp_path, load):
    (tmp_path / "a.jpg").write_bytes(b"jpeg")
    path = write(
        tmp_path / "d.jsonl", '{"id": "1", "image": "a.jpg"}', '{"id": "2", "image": "absent.jpg"}', '{"id": "3"}'
    )
    rows = load("jsonl", path, images="copy")
    assert [row["image"] and (row["image"]["uri"], row["image"]["bytes"]) for row in rows] == [
        ("a.jpg", b"jpeg"),
        ("absent.jpg", None),
        None,
    ]
    (large, *_) = load("jsonl", path, images="copy", max_image_bytes=3)
    assert (large["status"], large["image"]["bytes"]) == ("too_large", None)


def test_a_field_that_only_later_lines_have_is_read(tmp_path, load):
    """Roles were once taken from the first megabyte alone, and every picture after one long line was lost."""
    first = json.dumps({"id": "a", "text": "x" * (1 << 21), "label": "c"})
    second = json.dumps({"id": "b", "label": "c", "image": "b.png", "html": "<p>b"})
    rows = load("jsonl", write(tmp_path / "d.jsonl", first, second))
    assert (rows[1]["image"]["uri"], rows[1]["html"]) == ("b.png", "<p>b")


def test_a_nul_in_the_id_of_a_file_of_bad_lines_is_dropped(tmp_path, load):
    """Found by fuzzing: where no line of a file was an object, the ids that could be told kept their NUL (R10)."""
    (tmp_path / "d.jsonl").write_bytes(b'{"id": "a\\u0000b", broken\n{"id": "' + b"x" * 5000 + b'", broken\n')
    assert [(row["id"], row["status"]) for row in load("jsonl", tmp_path / "d.jsonl")] == [
        ("ab", "bad_json"),
        (None, "bad_json"),
    ]
