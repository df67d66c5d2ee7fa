"""Tables whose rows name members of an archive beside them."""

import json
import tarfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fixtures.layouts_archives import add
from fixtures.pieces import JPEGS, put, uris

from fuseline.stores.errors import ConfigError, DataError
from fuseline.tasks.engine.images import ImageError, ImageLimits, open_image
from fuseline.tasks.readers import READERS, image_root
from fuseline.tasks.readers.guess import guess

ROWS = [{"id": n, "text": "word", "label": "x", "image": f"{n}.jpg"} for n in "abc"]


def write_tar(file, names=("a.jpg", "b.jpg"), mode="w"):
    with tarfile.open(file, mode) as archive:
        for name, data in zip(names, JPEGS, strict=False):
            add(archive, name, data)


@pytest.fixture(params=["csv", "jsonl", "parquet"])
def table(request, tmp_path):
    """Write three rows as a table beside a tar that holds two of their images; return (reader, folder)."""
    folder = tmp_path / "set"
    folder.mkdir()
    if request.param == "parquet":
        pq.write_table(pa.Table.from_pylist(ROWS), folder / "d.parquet")
    elif request.param == "csv":
        put(folder / "d.csv", "".join(",".join(row) + "\n" for row in (ROWS[0], *(one.values() for one in ROWS))))
    else:
        put(folder / "d.jsonl", "".join(json.dumps(row) + "\n" for row in ROWS))
    write_tar(folder / "images.tar")
    return request.param, folder


def opened(reader, folder, image, **options):
    return open_image(image, image_root(str(folder), READERS[reader].options(**options)), ImageLimits())


def test_members_of_a_tar_are_read_where_they_lie_and_others_are_missing(table, load):
    reader, folder = table
    options = {"images": {"archive": "images.tar"}}
    rows = load(reader, folder, **options)
    assert uris(rows) == ["images.tar", "images.tar", "c.jpg"]
    assert [opened(reader, folder, row["image"], **options) for row in rows[:2]] == JPEGS[:2]
    with pytest.raises(ImageError, match="no_image"):
        opened(reader, folder, rows[2]["image"], **options)
    assert [row["status"] for row in rows] == ["ok"] * 3


def test_the_archive_is_listed_so_that_a_change_is_seen(table):
    reader, folder = table
    listed = READERS[reader].files(str(folder), READERS[reader].options(images={"archive": "images.tar"}))
    assert "images.tar" in [file.uri for file in listed]


def test_copies_hold_the_bytes(table, load):
    reader, folder = table
    rows = load(reader, folder, images={"archive": "images.tar", "mode": "copy"})
    assert [row["image"]["bytes"] for row in rows] == [*JPEGS[:2], None]


def test_a_pattern_names_members(tmp_path, load):
    put(tmp_path / "d.csv", "id\na\nb\n")
    write_tar(tmp_path / "images.tar", ("pictures/a.jpg", "./pictures/b.jpg"))
    rows = load("csv", tmp_path / "d.csv", images={"archive": "images.tar", "pattern": "pictures/{id}.jpg"})
    assert [opened("csv", tmp_path / "d.csv", row["image"]) for row in rows] == JPEGS[:2]


def test_a_member_lies_where_it_would_be_unpacked(tmp_path, load):
    put(tmp_path / "d.csv", "id,image\na,photos/a.jpg\n")
    (tmp_path / "photos").mkdir()
    write_tar(tmp_path / "photos/all.tar")
    assert uris(load("csv", tmp_path, images={"archive": "photos/all.tar"})) == ["photos/all.tar"]


@pytest.mark.parametrize("stored", [pa.binary(), pa.large_binary()])
def test_a_parquet_file_holds_images_by_name(tmp_path, load, stored):
    pq.write_table(pa.Table.from_pylist(ROWS), tmp_path / "documents.parquet")
    images = {"note": ["-"] * 3, "name": ["b.jpg", "x.jpg", "a.jpg"], "data": pa.array(JPEGS[:3], stored)}
    pq.write_table(pa.table(images), tmp_path / "images.parquet", row_group_size=1)
    rows = load("parquet", tmp_path, images={"archive": "images.parquet"})
    assert [row["id"] for row in rows] == ["a", "b", "c"]
    assert [row["image"]["bytes"] for row in rows] == [JPEGS[2], JPEGS[0], None]
    assert uris(rows) == [None, None, "c.jpg"]
    found = guess(str(tmp_path))
    assert (found.reader, found.options["images"]) == ("parquet", {"archive": "images.parquet"})


def test_what_is_no_file_of_images_is_refused(tmp_path, load):
    pq.write_table(pa.Table.from_pylist(ROWS), tmp_path / "d.parquet")
    pq.write_table(pa.table({"n": [1]}), tmp_path / "images.parquet")
    with pytest.raises(DataError, match=r"images\.parquet: expected 'names and bytes of images', got \['n'\]"):
        load("parquet", tmp_path / "d.parquet", images={"archive": "images.parquet"})


def test_damage_and_members_that_cannot_be_used_are_rows_with_a_slug(tmp_path, load):
    put(tmp_path / "d.csv", "id,image\na,a.jpg\nb,b.jpg\nc,c.jpg\n")
    with tarfile.open(tmp_path / "images.tar", "w") as archive:
        add(archive, "a.jpg", JPEGS[0])
        for name in ("c.jpg", "d.jpg"):
            link = tarfile.TarInfo(name)
            link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
            archive.addfile(link)
        add(archive, "b.jpg", JPEGS[1])
    data = (tmp_path / "images.tar").read_bytes()
    (tmp_path / "images.tar").write_bytes(data[: data.index(JPEGS[1]) + 100])
    rows = load("csv", tmp_path / "d.csv", images={"archive": "images.tar"})
    assert [(row["id"], row["status"]) for row in rows] == [
        ("a", "ok"), ("b", "ok"), ("c", "bad_member"), (None, "bad_file"), (None, "bad_member")
    ]  # fmt: skip
    assert [row["image"] and row["image"]["uri"] for row in rows[:3]] == ["images.tar", "images.tar", None]


def test_images_without_a_row_are_found(table):
    reader, folder = table
    entry, options = READERS[reader], READERS[reader].options(images={"archive": "images.tar"})
    first = next(iter(entry.read(str(folder), options)))["image"][0].as_py()
    known = [f"images.tar:{first['offset']}"]
    found = list(entry.findings(str(folder), options, lambda names: np.isin(names, known)))
    assert [(one.slug, one.place) for one in found] == [("no_row", "images.tar:b.jpg")]


@pytest.mark.parametrize(
    ("reader", "archive", "said"),
    [
        ("csv", "image.tar", r"source\.options\.images\.archive: expected 'image\.tar', got .*'images\.tar'"),
        ("csv", "images.zip", r"expected a name that ends in \.tar or \.parquet, got 'images\.zip'; unpack it"),
        ("imagefolder", "images.tar", r"images\.archive: expected 'no archive', got 'images\.tar'; leave it out"),
    ],
)
def test_an_archive_that_cannot_be_is_refused(tmp_path, load, reader, archive, said):
    put(tmp_path / "d.csv", "id,image\na,a.jpg\n")
    write_tar(tmp_path / "images.tar")
    with pytest.raises((ConfigError, ValueError), match=said):
        load(reader, tmp_path, images={"archive": archive})


def test_a_packed_tar_is_refused_whatever_its_name(tmp_path, load):
    put(tmp_path / "d.csv", "id,image\na,a.jpg\n")
    write_tar(tmp_path / "images.tar", mode="w:gz")
    with pytest.raises(DataError, match=r"images\.archive: expected 'an uncompressed tar', got 'images\.tar'; unpack"):
        load("csv", tmp_path / "d.csv", images={"archive": "images.tar"})


def test_the_archive_beside_a_table_is_guessed(table):
    reader, folder = table
    for source in (folder, next(folder.glob("d.*"))):
        found = guess(str(source))
        assert (found.reader, found.options["images"]) == (reader, {"archive": "images.tar"})
        assert uris(found.sample.to_pylist())[:2] == ["images.tar"] * 2


def test_an_archive_that_holds_none_of_the_images_is_not_guessed(table):
    _, folder = table
    write_tar(folder / "images.tar", ("x.jpg",))
    assert "images" not in guess(str(folder)).options
    (folder / "images.tar").unlink()
    assert "images" not in guess(str(folder)).options
