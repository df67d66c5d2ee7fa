"""Parquet: the image columns of the wild, names of labels in the schema, damage."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fuseline.stores.errors import ConfigError


def test_image_structs_bytes_and_paths(tmp_path, load):
    images = {
        "struct": pa.array(
            [
                {"bytes": b"a", "path": "hint.jpg"},
                {"bytes": None, "path": "b.jpg"},
                None,
                {"bytes": None, "path": "../c"},
            ]
        ),
        "turned": pa.array(
            [{"path": "x", "bytes": b"a"}, None, None, {"path": "y", "bytes": None}],
            pa.struct([("path", pa.string()), ("bytes", pa.binary())]),
        ),
        "only_bytes": pa.array([{"bytes": b"a"}, None, None, None]),
        "binary": pa.array([b"a", None, b"", b"d"], pa.large_binary()),
        "path": pa.array(["a.jpg", None, "", "/d.jpg"]),
        "list": pa.array([[{"bytes": b"a"}, {"bytes": b"z"}], [], None, [{"bytes": b"d"}]]),
    }
    want = {
        "struct": [(None, b"a"), ("b.jpg", None), None, None],
        "turned": [(None, b"a"), None, None, ("y", None)],
        "only_bytes": [(None, b"a"), None, None, None],
        "binary": [(None, b"a"), None, (None, b""), (None, b"d")],
        "path": [("a.jpg", None), None, None, None],
        "list": [(None, b"a"), None, None, (None, b"d")],
    }
    for name, array in images.items():
        pq.write_table(pa.table({"id": ["0", "1", "2", "3"], "image": array}), tmp_path / f"{name}.parquet")
        rows = load("parquet", tmp_path / f"{name}.parquet")
        assert [row["image"] and (row["image"]["uri"], row["image"]["bytes"]) for row in rows] == want[name], name
        assert [row["status"] for row in rows] == ["ok"] * 3 + ["bad_path" if name in ("struct", "path") else "ok"], (
            name
        )


def test_integer_labels_get_the_names_of_the_schema(tmp_path, load):
    names = {"info": {"features": {"label": {"names": ["cat", "dog"], "_type": "ClassLabel"}}}}
    table = pa.table({"id": pa.array([3804725264, 2**63 - 1, 5]), "label": [1, 0, None]})
    pq.write_table(table.replace_schema_metadata({"huggingface": json.dumps(names)}), tmp_path / "a.parquet")
    rows = load("parquet", tmp_path / "a.parquet")
    assert [(row["id"], row["labels"]) for row in rows] == [
        ("3804725264", ["dog"]),
        (str(2**63 - 1), ["cat"]),
        ("5", []),
    ]
    pq.write_table(table.replace_schema_metadata({"huggingface": "no json"}), tmp_path / "a.parquet")
    assert load("parquet", tmp_path / "a.parquet")[0]["labels"] == ["1"]


def test_types_that_writers_choose(tmp_path, load):
    table = pa.table(
        {
            "id": pa.array(["a", "b"], pa.large_string()),
            "title": pa.array(["x", "y"]).dictionary_encode(),
            "labels": pa.array([["l", "m"], None], pa.large_list(pa.string())),
            "age": pa.array([1, None], pa.int8()),
            "fee": pa.array([1.5, float("inf")]),
        }
    )
    pq.write_table(table, tmp_path / "a.parquet")
    rows = load("parquet", tmp_path / "a.parquet", tabular={"age": "number", "fee": "number"})
    assert [(row["id"], row["title"], row["labels"], row["num_age"], row["num_fee"]) for row in rows] == [
        ("a", "x", ["l", "m"], 1.0, 1.5),
        ("b", "y", [], None, None),
    ]


def test_strings_that_are_not_utf8(tmp_path, load):
    text = pa.Array.from_buffers(pa.string(), 2, pa.array([b"ok", b"\xff"], pa.binary()).buffers())
    pq.write_table(pa.table({"id": ["1", "2"], "text": text}), tmp_path / "a.parquet")
    assert [(row["status"], row["text"]) for row in load("parquet", tmp_path / "a.parquet")] == [
        ("ok", "ok"),
        ("bad_encoding", None),
    ]


def test_shards_and_damage(tmp_path, load):
    for name in ("train-00000-of-00002", "train-00001-of-00002", "test-00000-of-00001"):
        pq.write_table(
            pa.table({"id": [f"{name}/{i}" for i in range(50)]}), tmp_path / f"{name}.parquet", row_group_size=10
        )
    whole = (tmp_path / "train-00001-of-00002.parquet").read_bytes()
    (tmp_path / "train-00001-of-00002.parquet").write_bytes(whole[: len(whole) // 2])
    rows = load("parquet", tmp_path, batch_rows=7)
    assert [row["split"] for row in rows] == ["test"] * 50 + ["train"] * 50 + [None]
    assert (rows[-1]["id"], rows[-1]["status"], rows[-1]["source"]) == (
        None,
        "bad_file",
        "train-00001-of-00002.parquet",
    )


def test_an_unknown_column_is_refused(tmp_path, load):
    pq.write_table(pa.table({"id": ["1"]}), tmp_path / "a.parquet")
    with pytest.raises(ConfigError, match=r"tabular.age in a.parquet: expected \['id'\]"):
        load("parquet", tmp_path / "a.parquet", tabular={"age": "number"})
