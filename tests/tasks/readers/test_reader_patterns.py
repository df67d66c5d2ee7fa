"""Paths of images out of the columns of a row, where the rows name no file (A7 of the first use)."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fixtures.pieces import JPEGS, put

from fuseline.stores.errors import ConfigError
from fuseline.tasks.engine.images import ImageLimits, open_image
from fuseline.tasks.readers import READERS, image_root

ROWS = [{"id": "a", "n": 3, "split": "train"}, {"id": "b", "n": 4, "split": "test"}]
PATTERN = {"pattern": "images/{split}/{id}-{n}.jpg"}
TABLES = {
    "csv": ("d.csv", "".join(",".join(map(str, row)) + "\n" for row in (ROWS[0], *(one.values() for one in ROWS)))),
    "ads_parallelity": ("d.csv", "id,n,split\na,3,train\nb,4,test\n"),
    "jsonl": ("d.jsonl", "".join(json.dumps(row) + "\n" for row in ROWS)),
}


def uris(rows):
    return [row["image"] and row["image"]["uri"] for row in rows]


@pytest.fixture(params=[*TABLES, "parquet"])
def table(request, tmp_path):
    """Write the rows as a table; return (reader, folder)."""
    if request.param == "parquet":
        (tmp_path / "set").mkdir()
        pq.write_table(pa.Table.from_pylist(ROWS), tmp_path / "set/d.parquet")
    else:
        name, data = TABLES[request.param]
        put(tmp_path / "set" / name, data)
    return request.param, tmp_path / "set"


def test_every_column_may_stand_in_braces(table, load):
    reader, folder = table
    put(folder / "images/train/a-3.jpg", JPEGS[0])
    rows = load(reader, folder, images=PATTERN)
    assert uris(rows) == ["images/train/a-3.jpg", "images/test/b-4.jpg"]
    root = image_root(str(folder), READERS[reader].options(images=PATTERN))
    assert open_image(rows[0]["image"], root, ImageLimits()) == JPEGS[0]
    assert [row["id"] for row in rows] == ["a", "b"]


def test_the_bytes_may_be_copied_too(table, load):
    reader, folder = table
    put(folder / "images/train/a-3.jpg", JPEGS[0])
    rows = load(reader, folder, images={**PATTERN, "mode": "copy"})
    assert [row["image"]["bytes"] for row in rows] == [JPEGS[0], None]


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("images/{idd}.jpg", r"images\.pattern in d\.\w+: expected \['id', 'n', 'split'\], got 'idd'"),
        ("images/x.jpg", "images\\.pattern: expected 'a name in braces', got 'images/x.jpg'"),
    ],
)
def test_unknown_columns_are_named(table, load, pattern, said):
    reader, folder = table
    with pytest.raises(ConfigError, match=said):
        load(reader, folder, images={"pattern": pattern})


def test_a_role_stands_for_its_column(tmp_path, load):
    put(tmp_path / "d.csv", "name,text\n7,x\n")
    for columns, pattern in (({"id": "name"}, "{id}.jpg"), ({"id": "#line"}, "{name}.jpg")):
        assert uris(load("csv", tmp_path, columns=columns, images={"pattern": pattern})) == ["7.jpg"]
    assert uris(load("csv", tmp_path, columns={"id": "#line"}, images={"pattern": "{id}.jpg"})) == ["d.csv:2.jpg"]


def test_a_value_leads_nowhere_else(tmp_path, load):
    """Such a path is refused like any reference (R11); a row without the value has no image."""
    put(tmp_path / "d.csv", "id,x\n1,../../secret\n2,a\\..\\b\n3,\n4,fine\n")
    rows = load("csv", tmp_path, images={"pattern": "images/{x}.jpg"})
    assert [row["status"] for row in rows] == ["bad_path", "bad_path", "ok", "ok"]
    assert uris(rows) == [None, None, None, "images/fine.jpg"]
    rows = load("csv", tmp_path, images={"pattern": "{x}.jpg"})
    assert uris(rows) == [None, None, None, "fine.jpg"]


def test_the_pattern_starts_at_the_tables_folder_or_the_root(tmp_path, load):
    put(tmp_path / "set/part/d.csv", "id\n1\n")
    pattern = {"pattern": "{id}.jpg"}
    assert uris(load("csv", tmp_path / "set", images=pattern)) == ["part/1.jpg"]
    assert uris(load("csv", tmp_path / "set", images=pattern, root=str(tmp_path))) == ["1.jpg"]


@pytest.mark.parametrize("reader", ["fasttext", "flickrtag"])
def test_lines_of_label_files(tmp_path, load, reader):
    put(tmp_path / "train", "__label__a x\n__label__b y\n")
    assert uris(load(reader, tmp_path, images={"pattern": "{line}.jpg"})) == ["1.jpg", "2.jpg"]
    options = READERS[reader].options(images={"pattern": "{line}.jpg"})
    put(tmp_path / "1.jpg", JPEGS[0])
    assert "1.jpg" in [file.uri for file in READERS[reader].files(str(tmp_path), options)]
    with pytest.raises(ConfigError, match=r"images\.pattern: expected .*\{line\}.*, got '\{n\}'"):
        load(reader, tmp_path, images={"pattern": "{n}.jpg"})


def test_a_column_or_a_pattern_but_not_both(tmp_path, load):
    put(tmp_path / "d.csv", "id,image\n1,x\n")
    with pytest.raises(ConfigError, match=r"images\.pattern: expected 'no columns\.image beside it', got 'image'"):
        load("csv", tmp_path, images={"pattern": "{id}.jpg"}, columns={"image": "image"})
    assert uris(load("csv", tmp_path, images={"pattern": "{id}.jpg"})) == ["1.jpg"]  # over a column of a usual name


@pytest.mark.parametrize("reader", ["food101", "webdataset", "imagefolder", "petfinder", "yfcc"])
def test_readers_that_know_their_images_take_no_pattern(reader):
    with pytest.raises(ValueError, match=r"images\.pattern: expected 'no pattern', got '\{id\}\.jpg'; leave it out"):
        READERS[reader].options(images={"pattern": "{id}.jpg"})


def test_both_forms_of_the_option_are_checked():
    options = READERS["csv"].options
    assert options(images="copy").copies_images
    assert options(images={"mode": "copy"}).copies_images
    assert not options().copies_images
    for wrong in ("cpoy", {"mode": "cpoy"}, {"patern": "x"}, 7):
        with pytest.raises(ValueError, match=r"images"):
            options(images=wrong)
