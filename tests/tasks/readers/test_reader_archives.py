"""Archives: references that lead to the bytes, and archives that lie."""

import bz2
import gzip
import io
import tarfile
import zipfile
from pathlib import Path

import pytest
import zstandard
from fixtures.layouts_archives import add
from fixtures.pieces import JPEGS

from fuseline.stores.errors import DataError
from fuseline.tasks.engine.images import ImageLimits, open_image
from fuseline.tasks.readers import READERS, image_root
from fuseline.tasks.readers.archives import tar_members
from fuseline.tasks.readers.places import place


def tar(path: Path, *members: tuple[str, bytes] | tarfile.TarInfo, kind: int = tarfile.USTAR_FORMAT) -> Path:
    with tarfile.open(path, "w", format=kind) as archive:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                archive.addfile(member)
            else:
                add(archive, *member)
    return path


def told(rows, *names):
    return [tuple(row[name] for name in names) for row in rows]


def link(name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def test_keys_fields_and_json(tmp_path, load):
    """The key ends at the first dot of the base name; a key that comes again is another document."""
    tar(
        tmp_path / "train-000000.tar",
        ("d.x/a.b.jpg", JPEGS[0]),
        ("d.x/a.JPG", JPEGS[1]),
        ("d.x/a.txt", "café".encode()),
        ("d.x/a.json", b'{"title": "T", "label": [1, 2], "id": "other"}'),
        ("c.txt", b"text"),
        ("c.cls", b"3\n"),
        ("__meta__", b"x"),
        ("nodot", b"x"),
        ("d.x/a.txt", b"again"),
    )
    rows = load("webdataset", tmp_path)
    assert told(rows, "id", "title", "text", "labels", "status") == [
        ("d.x/a", "T", "café", ["1", "2"], "ok"),
        ("c", None, "text", ["3"], "ok"),
        ("d.x/a", None, "again", [], "ok"),
    ]
    assert open_image(rows[0]["image"], str(tmp_path), ImageLimits()) == JPEGS[0]
    assert rows[0]["image"]["uri"] == "train-000000.tar"


def test_a_field_twice_bad_json_and_bad_text_stay_as_rows(tmp_path, load):
    tar(tmp_path / "a.tar", ("a.txt", b"1"), ("a.txt", b"2"), ("b.json", b"{"), ("c.txt", b"\xff"), ("d.txt", b"fine"))
    assert told(load("webdataset", tmp_path), "id", "status", "text") == [
        ("a", "bad_row", None), ("b", "bad_json", None), ("c", "bad_encoding", None), ("d", "ok", "fine"),
    ]  # fmt: skip


def test_members_that_climb_or_link_out_are_never_followed(tmp_path, load):
    tar(
        tmp_path / "a.tar",
        ("../../up.txt", b"x"),
        ("/abs.txt", b"x"),
        link("l.jpg", "/etc/passwd"),
        link("h.jpg", "a.txt", tarfile.LNKTYPE),
        link("dev.txt", "", tarfile.CHRTYPE),
        ("fine.txt", b"x"),
    )
    rows = load("webdataset", tmp_path)
    assert told(rows, "id", "status") == [(None, "bad_member")] * 5 + [("fine", "ok")]
    assert rows[0]["source"] == "a.tar:../../up.txt"


@pytest.mark.parametrize("kind", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT, tarfile.USTAR_FORMAT])
@pytest.mark.parametrize("name", ["short.jpg", "x" * 150 + "/" + "y" * 90 + ".jpg", "n\nl é.jpg"])
def test_our_headers_agree_with_tarfile(tmp_path, kind, name):
    path = tar(tmp_path / "a.tar", (name, JPEGS[0]), ("z" + name, JPEGS[1]), kind=kind)
    with tarfile.open(path) as archive:
        want = [(info.name, info.offset_data, info.size) for info in archive]
    got = [(one.name, one.offset, one.length) for one in tar_members(place(str(path)), READERS["webdataset"].options())]
    assert got == want


@pytest.mark.parametrize("keep", [100, 600, 1200, 2047])
def test_a_tar_that_ends_early_keeps_what_came_before(tmp_path, load, keep):
    path = tar(tmp_path / "a.tar", ("a.txt", b"1" * 600), ("b.txt", b"2" * 600))
    path.write_bytes(path.read_bytes()[:keep] if keep < 2047 else path.read_bytes()[: 512 + 1024 + 512 + 100])
    rows = load("webdataset", tmp_path)
    assert told(rows, "status")[-1] == ("bad_file",)
    assert told(rows[:-1], "id", "status") == ([("a", "ok")] if keep >= 1112 else [])


@pytest.mark.parametrize("garbage", [b"", b"\0" * 1024, b"no tar at all" * 100, b"\xff" * 2048])
def test_what_is_no_tar(tmp_path, load, garbage):
    (tmp_path / "a.tar").write_bytes(garbage)
    want = [] if garbage == b"\0" * 1024 else [(None, "bad_file")]
    assert told(load("webdataset", tmp_path), "id", "status") == want


@pytest.mark.parametrize(
    ("suffix", "pack"), [(".gz", gzip.compress), (".bz2", bz2.compress), (".zst", zstandard.compress)]
)
def test_packed_tars_come_with_bytes(tmp_path, load, suffix, pack):
    data = tar(tmp_path / "a.tar", ("a.jpg", JPEGS[0]), ("a.txt", b"x")).read_bytes()
    (tmp_path / "a.tar").unlink()
    (tmp_path / f"a.tar{suffix}").write_bytes(pack(data))
    (row,) = load("webdataset", tmp_path)
    assert (row["image"]["uri"], row["image"]["bytes"], row["text"]) == (None, JPEGS[0], "x")


def test_img2dataset_is_joined_by_key_not_by_position(tmp_path, load):
    import pyarrow as pa
    import pyarrow.parquet as pq

    tar(tmp_path / "00000.tar", ("000000002.jpg", JPEGS[2]), ("000000000.jpg", JPEGS[0]))
    status = ["success", "failed_to_download", "success", "success"]
    keys = [f"{row:09d}" for row in range(4)]
    pq.write_table(pa.table({"caption": list("abcd"), "key": keys, "status": status}), tmp_path / "00000.parquet")
    rows = load("img2dataset", tmp_path)
    assert told(rows, "id", "text", "status") == [
        ("000000000", "a", "ok"), ("000000001", "b", "failed_to_download"), ("000000002", "c", "ok"),
        ("000000003", "d", "missing"),
    ]  # fmt: skip
    shown = [row["image"] and open_image(row["image"], str(tmp_path), ImageLimits()) for row in rows]
    assert shown == [JPEGS[0], None, JPEGS[2], None]


def test_a_zip_per_split_stored_or_deflated(tmp_path, load):
    for split, kind in (("train", zipfile.ZIP_STORED), ("test", zipfile.ZIP_DEFLATED)):
        with zipfile.ZipFile(tmp_path / f"{split}.zip", "w", kind) as archive:
            archive.writestr("cat/1.jpg", JPEGS[0])
            archive.writestr("dog/1.jpg", JPEGS[1])
            archive.writestr("../up.jpg", JPEGS[2])
    rows = load("imagefolder", tmp_path)
    assert told(rows, "id", "split", "labels", "status") == [
        ("test/cat/1.jpg", "test", ["cat"], "ok"), ("test/dog/1.jpg", "test", ["dog"], "ok"),
        (None, None, [], "bad_member"),
        ("train/cat/1.jpg", "train", ["cat"], "ok"), ("train/dog/1.jpg", "train", ["dog"], "ok"),
        (None, None, [], "bad_member"),
    ]  # fmt: skip
    assert rows[0]["image"]["bytes"] == JPEGS[0]
    assert (rows[3]["image"]["uri"], rows[3]["image"]["bytes"]) == ("train.zip", None)
    assert open_image(rows[4]["image"], str(tmp_path), ImageLimits()) == JPEGS[1]


def test_manifests_in_a_zip_and_zips_that_lie(tmp_path, load):
    with zipfile.ZipFile(tmp_path / "a.jsonl.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x/a.jsonl", '{"id": "1"}\n{"id": "2"}\n')
        archive.writestr("x/b.jsonl", b'{"id": "3"}\n' + b"\0" * (300 << 20))
    rows = load("jsonl", tmp_path)
    assert told(rows, "id", "status", "source") == [
        ("1", "ok", "a.jsonl.zip/x/a.jsonl:1"), ("2", "ok", "a.jsonl.zip/x/a.jsonl:2"),
        ("3", "ok", "a.jsonl.zip/x/b.jsonl:1"),
        (None, "bomb", "a.jsonl.zip/x/b.jsonl:2"),
    ]  # fmt: skip
    (tmp_path / "a.jsonl.zip").write_bytes(b"PK\x03\x04 no zip")
    assert told(load("jsonl", tmp_path), "id", "status") == [(None, "bad_file")]


def test_urls_are_read_like_folders(tmp_path, load):
    import fsspec

    memory = fsspec.filesystem("memory")
    memory.pipe("/set/train/cat/1.jpg", JPEGS[0])
    memory.pipe("/set/test/dog/2.jpg", JPEGS[1])
    memory.pipe("/rows/d.jsonl", b'{"id": "1", "image": "i/1.jpg"}\n')
    memory.pipe("/rows/i/1.jpg", JPEGS[2])
    rows = load("imagefolder", "memory://set")
    assert told(rows, "id", "split") == [("test/dog/2.jpg", "test"), ("train/cat/1.jpg", "train")]
    entry = READERS["imagefolder"]
    assert open_image(rows[0]["image"], image_root("memory://set", entry.options()), ImageLimits()) == JPEGS[1]
    assert list(entry.files("memory://set", entry.options())) == list(entry.files("memory://set", entry.options()))
    (row,) = load("jsonl", "memory://rows/d.jsonl", images="copy")
    assert row["image"]["bytes"] == JPEGS[2]
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("d.csv", "id,text\n1,x\n")
    assert told(load("csv", f"zip://d.csv::{tmp_path}/a.zip"), "id", "text") == [("1", "x")]


def test_hdf5_posters_come_back_upright_and_in_their_colours(tmp_path, load):
    h5py = pytest.importorskip("h5py")
    import json

    import numpy as np
    from PIL import Image

    colour = np.zeros((256, 160, 3), np.uint8)
    colour[:100] = (200, 30, 90)
    stored = colour[:, :, ::-1].transpose(2, 0, 1) - np.array([103.939, 116.779, 123.68])[:, None, None]
    with h5py.File(tmp_path / "multimodal_imdb.hdf5", "w") as file:
        file["images"] = stored.astype(np.int32)[None]
        file["genres"] = np.array([[1, 0, 1]], np.int32)
        file["genres"].attrs["target_names"] = json.dumps(["Drama", "Comedy", "Film-Noir"])
        file["imdb_ids"] = np.array([b"0012345"], "S7")
    (row,) = load("mmimdb", tmp_path / "multimodal_imdb.hdf5")
    assert (row["id"], row["labels"], row["split"]) == ("0012345", ["Drama", "Film-Noir"], None)
    got = np.asarray(Image.open(io.BytesIO(row["image"]["bytes"])).convert("RGB")).astype(int)
    assert got.shape == (256, 160, 3)
    assert abs(got - colour).max() <= 1


@pytest.mark.parametrize("listed", [False, True])
@pytest.mark.parametrize("text", ["S5", "str"])
def test_hdf5_split_table_holds_whatever_the_number_of_rows(tmp_path, load, listed, text):
    """Fuel writes one row per split and source; a split is a range of rows or a list of them."""
    file = h5_with_splits(tmp_path, {"train": (0, 2), "dev": (2, 3), "test": (3, 4)}, listed=listed, text=text)
    want = ["train", "valid", "train", "test", None] if listed else ["train", "train", "valid", "test", None]
    assert [row["split"] for row in load("mmimdb", file)] == want


def test_hdf5_split_table_whose_lists_are_no_references_is_one_line(tmp_path, load):
    h5py = pytest.importorskip("h5py")
    import numpy as np

    file = h5_with_splits(tmp_path, {"train": (0, 2)})
    with h5py.File(file, "a") as opened:
        table = np.asarray(opened["/"].attrs["split"])
        fields = [(name, "i8" if name == "indices" else table.dtype[name]) for name in table.dtype.names]
        other = np.zeros(len(table), fields)
        for name in table.dtype.names:
            other[name] = 7 if name == "indices" else table[name]
        opened.attrs["split"] = other
    with pytest.raises(DataError, match="the Fuel file of MM-IMDB"):
        load("mmimdb", file)


@pytest.mark.parametrize("splits", [{"train": (0, 9)}, {"train": (-2, 1)}, {"train": (2, 1)}, None])
def test_hdf5_split_table_that_lies_is_one_line(tmp_path, load, splits):
    with pytest.raises(DataError, match="split table"):
        load("mmimdb", h5_with_splits(tmp_path, splits))


def h5_with_splits(folder, splits, *, listed=False, text="S5"):
    """Write five films with Fuel's split table; `listed`: dev is row 1, train 0 and 2. None: numbers alone."""
    h5py = pytest.importorskip("h5py")
    import numpy as np

    with h5py.File(folder / "multimodal_imdb.hdf5", "w") as file:
        file["images"], file["genres"] = np.zeros((5, 3, 2, 2), np.int32), np.ones((5, 1), np.int32)
        file["genres"].attrs["target_names"] = '["Drama"]'
        file["imdb_ids"] = np.array([f"{row:07}".encode() for row in range(5)])
        names = h5py.string_dtype() if text == "str" else text
        kinds = [("split", names), ("source", "S7"), ("start", "i8"), ("stop", "i8"), ("indices", h5py.ref_dtype)]
        table = np.zeros(2 * len(splits or ()), [*kinds, ("available", "?"), ("comment", "S1")])
        for index, (name, (start, stop)) in enumerate((splits or {}).items()):
            rows = {"train": [0, 2], "dev": [1]}.get(name) if listed else None
            place = h5py.Reference() if rows is None else file.create_dataset(f"rows_{name}", data=rows).ref
            name = name if text == "str" else name.encode()
            table[2 * index] = (name, b"images", start, stop, place, True, b".")
            table[2 * index + 1] = (name, b"features", 0, 0, h5py.Reference(), False, b".")
        file.attrs["split"] = np.arange(3) if splits is None else table
    return folder / "multimodal_imdb.hdf5"


def yfcc_line(line: int, digest: str) -> str:
    return "\t".join([str(line), str(line), digest, *[""] * 21, "0"]) + "\n"


def test_yfcc_zips_by_line_number(tmp_path, load):
    """SLIP: 8 digits, two for the folder, three for the zip, three for the member; what is not there is no image."""
    (tmp_path / "images/12").mkdir(parents=True)
    with zipfile.ZipFile(tmp_path / "images/12/345.zip", "w") as archive:
        archive.writestr("677.jpg", JPEGS[0])
        archive.writestr("678.jpg", JPEGS[1])
        archive.writestr(zipfile.ZipInfo("679.jpg"), JPEGS[2] + bytes(2000), zipfile.ZIP_DEFLATED)
    (tmp_path / "images/12/346.zip").write_bytes(b"PK\x03\x04 no zip")
    numbers = (12_345_678, 12_345_679, 12_345_680, 12_346_000, 99_999_999, 7)
    (tmp_path / "yfcc100m_dataset").write_text("".join(yfcc_line(line, "ab") for line in numbers))
    rows = load("yfcc", tmp_path, image="images/{l2}/{l3}.zip/{m3}.jpg")
    assert rows[0]["image"]["uri"] == "images/12/345.zip"
    assert open_image(rows[0]["image"], str(tmp_path), ImageLimits()) == JPEGS[1]
    assert rows[1]["image"]["bytes"] == JPEGS[2] + bytes(2000)
    assert [row["image"] for row in rows[2:]] == [None] * 4
    assert {row["status"] for row in rows} == {"ok"}


def test_yfcc_zips_by_hash_and_members_that_lie(tmp_path, load):
    link_info = zipfile.ZipInfo("abd.jpg")
    link_info.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "abc.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("abc1.jpg", JPEGS[0], zipfile.ZIP_STORED)
        archive.writestr("abc2.jpg", bytes(5000))
    with zipfile.ZipFile(tmp_path / "abd.zip", "w") as archive:
        archive.writestr(link_info, "/etc/passwd")
    hashes = ("abc1", "abc2", "abd", "", "../../x")
    (tmp_path / "y.tsv").write_text("".join(yfcc_line(line, digest) for line, digest in enumerate(hashes)))
    rows = load("yfcc", tmp_path / "y.tsv", image="{h3}.zip/{hash}.jpg", max_image_bytes=1000)
    assert told(rows, "id", "status") == [
        ("0", "ok"), ("1", "too_large"), ("2", "bad_member"), ("3", "ok"), ("4", "ok"),
    ]  # fmt: skip
    assert [bool(row["image"]) for row in rows] == [True, False, False, False, False]
    entry = READERS["yfcc"]
    options = entry.options(image="{h3}.zip/{hash}.jpg")
    assert [file.uri for file in entry.files(str(tmp_path / "y.tsv"), options)] == ["y.tsv", "abc.zip", "abd.zip"]


def test_the_zips_that_are_kept_open_are_bounded(tmp_path, monkeypatch):
    """Each archive is indexed once while it is kept; beyond the bound the oldest goes."""
    from fuseline.tasks.readers import zipindex

    for name in "abc":
        with zipfile.ZipFile(tmp_path / f"{name}.zip", "w") as archive:
            archive.writestr("1.jpg", name)
    built = []
    whole = zipindex.build_index
    monkeypatch.setattr(zipindex, "build_index", lambda file: built.append(file.name) or whole(file))
    monkeypatch.setattr(zipindex, "HELD", 2)
    store = zipindex.ZipStore(place(str(tmp_path)), READERS["yfcc"].options())
    for name in "aabacabc":
        (member,) = store.find([f"{name}.zip/1.jpg"])
        assert (tmp_path / f"{name}.zip").read_bytes()[member.offset :][: member.length] == name.encode()
    assert "".join(built) == "a.zipb.zipc.zipb.zipc.zip"
