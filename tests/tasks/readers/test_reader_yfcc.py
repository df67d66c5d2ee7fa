"""YFCC100M: lines of 25 or 23 fields, companion files joined by id, images under the names of the store."""

import zipfile

import pytest
from fixtures.pieces import JPEGS, put

from stores.errors import ConfigError
from tasks.readers.yfcc import FIELDS


def told(rows, *names):
    return [tuple(row[name] for name in names) for row in rows]


def uris(rows):
    return [row["image"] and row["image"]["uri"] for row in rows]


def core(**values: str) -> str:
    return "\t".join(values.get(name, "0" if name == "marker" else "") for name in FIELDS) + "\n"


def test_first_release_has_23_columns_and_its_hashes_beside(tmp_path, load):
    """No line number and no hash: those lie in files of their own, aligned by line."""
    lines = [core(photoid=str(number), title="a+b", marker="0") for number in (7, 8, 9)]
    old = ["\t".join([line.split("\t")[1], *line.split("\t")[3:]]) for line in lines]
    put(tmp_path / "yfcc100m_dataset-0", "".join(old))
    put(tmp_path / "yfcc100m_hash", "7\tabcdef012\n55\tfff\n9\t" + "1" * 31 + "\n")
    rows = load("yfcc", tmp_path, hashes="yfcc100m_hash")
    assert told(rows, "id", "title", "status") == [("7", "a b", "ok"), ("8", "a b", "misaligned"), ("9", "a b", "ok")]
    assert uris(rows) == ["data/images/abc/def/abcdef012.jpg", None, f"data/images/111/111/{'1' * 31}.jpg"]


def test_the_stored_hash_counts_however_long(tmp_path, load):
    for digest in ("a" * 30, "b" * 31, "c" * 32):
        put(tmp_path / "y.tsv", core(line="0", photoid="1", hash=digest))
        assert uris(load("yfcc", tmp_path / "y.tsv")) == [f"data/images/{digest[:3]}/{digest[3:6]}/{digest}.jpg"]


def test_videos_are_marked_or_kept(tmp_path, load):
    put(tmp_path / "y.tsv", core(photoid="1", hash="abcdef", marker="1", title="t") + core(photoid="2", title="u"))
    assert told(load("yfcc", tmp_path / "y.tsv"), "id", "status", "title") == [("1", "video", None), ("2", "ok", "u")]
    kept = load("yfcc", tmp_path / "y.tsv", videos="keep", image="data/videos/{ext}/{h3}/{h6}/{hash}.{ext}")
    assert told(kept, "status", "title") == [("ok", "t"), ("ok", "u")]
    assert uris(kept) == ["data/videos/mp4/abc/def/abcdef.mp4", None]


def test_autotags_above_a_confidence_are_labels(tmp_path, load):
    put(tmp_path / "y.tsv", core(photoid="1", usertags="x") + core(photoid="2") + core(photoid="3") + core(photoid="4"))
    put(tmp_path / "tags", "1\tdune:0.5100,a:b:0.9,fog:0.8610,odd:x\n2\t\n9\tfog:0.9\n")
    rows = load("yfcc", tmp_path / "y.tsv", labels="autotags", autotags="tags", min_confidence=0.6)
    assert told(rows, "labels", "status") == [
        (["a:b", "fog"], "ok"), ([], "ok"), ([], "misaligned"), ([], "misaligned"),
    ]  # fmt: skip
    with pytest.raises(ConfigError, match="autotags"):
        load("yfcc", tmp_path / "y.tsv", labels="autotags")
    assert load("yfcc", tmp_path / "y.tsv", labels="none")[0]["labels"] == []


def test_ten_files_of_one_release_and_no_database(tmp_path, load):
    put(tmp_path / "yfcc100m_dataset-1", core(photoid="2", longitude="-77.0", accuracy="16"))
    put(tmp_path / "yfcc100m_dataset-0", core(photoid="1", machinetags="geo:lat=1,b"))
    put(tmp_path / "yfcc100m_dataset.sql", b"SQLite format 3\0")
    put(tmp_path / "yfcc100m_autotags", "1\tfog:0.9\n")
    rows = load("yfcc", tmp_path, labels="machinetags", tabular={"longitude": "number", "accuracy": "category"})
    assert told(rows, "id", "labels", "num_longitude", "cat_accuracy") == [
        ("1", ["geo:lat=1", "b"], None, None), ("2", [], -77.0, "16"),
    ]  # fmt: skip
    with pytest.raises(ConfigError, match="name a column of the release"):
        load("yfcc", tmp_path, tabular={"nonsense": "number"})


def test_bytes_that_are_no_utf_8_are_replaced_or_marked(tmp_path, load):
    broken = core(photoid="1", title="cafEE", usertags="EEx", ext="jpg").encode().replace(b"EE", b"\xe9")
    put(tmp_path / "y.tsv", broken + core(photoid="2", title="caf\u00e9").encode())
    rows = load("yfcc", tmp_path / "y.tsv")
    assert told(rows, "id", "title", "labels", "status") == [
        ("1", "caf\ufffd", ["\ufffdx"], "ok"), ("2", "caf\u00e9", [], "ok"),
    ]  # fmt: skip
    marked = load("yfcc", tmp_path / "y.tsv", encoding_errors="mark")
    assert told(marked, "id", "title", "status") == [("1", None, "bad_encoding"), ("2", "caf\u00e9", "ok")]


@pytest.mark.parametrize("images", ["reference", "copy"])
@pytest.mark.parametrize("root", [None, "store"])
def test_an_image_that_is_no_jpg_lies_under_its_original_extension(tmp_path, load, images, root):
    """The store keeps <hash>.jpg; where there is none, the same stem with the extension of the upload."""
    own = {"aaa1": "png", "aaa2": "jpg", "aaa3": "png", "aaa4": "gif", "aaa5": "../x", "aaa6": "", "aaa7": "gif"}
    lines = [core(photoid=stem, hash=stem, ext=ext, marker=str(int(stem == "aaa7"))) for stem, ext in own.items()]
    put(tmp_path / "y.tsv", "".join(lines))
    folder = tmp_path / (root or "") / "data/images/aaa"
    for name in ("1/aaa1.png", "2/aaa2.jpg", "3/aaa3.png", "3/aaa3.jpg", "6/aaa6.jpg", "7/aaa7.gif"):
        put(folder / name, JPEGS[0])
    rows = load("yfcc", tmp_path / "y.tsv", images=images, root=root, videos="keep")
    assert [uri.removeprefix("data/images/aaa/") for uri in uris(rows)] == [
        "1/aaa1.png", "2/aaa2.jpg", "3/aaa3.jpg", "4/aaa4.jpg", "5/aaa5.jpg", "6/aaa6.jpg", "7/aaa7.mp4",
    ]  # fmt: skip
    assert {row["status"] for row in rows} == {"ok"}


def test_images_in_zips_under_their_original_extension(tmp_path, load):
    put(tmp_path / "y.tsv", core(photoid="1", hash="abc1", ext="png") + core(photoid="2", hash="abc2", ext="png"))
    with zipfile.ZipFile(tmp_path / "abc.zip", "w") as archive:
        archive.writestr("abc1.png", JPEGS[0] + b"0")
        archive.writestr("abc2.jpg", JPEGS[1] + b"00")
        archive.writestr("abc2.png", JPEGS[2] + b"000")
    rows = load("yfcc", tmp_path / "y.tsv", image="{h3}.zip/{hash}.{ext}")
    assert [row["image"]["length"] for row in rows] == [len(JPEGS[0]) + 1, len(JPEGS[1]) + 2]


@pytest.mark.parametrize(("image", "got"), [("{name}.jpg", "'name'"), ("all.jpg", "'all.jpg'"), ("", "''")])
def test_a_template_that_names_nothing_of_the_row_is_refused(tmp_path, load, image, got):
    put(tmp_path / "y.tsv", core(photoid="1"))
    with pytest.raises(ConfigError, match=rf"source\.options\.image: .* got {got}; use one of the names in braces"):
        load("yfcc", tmp_path / "y.tsv", image=image)
    assert uris(load("yfcc", tmp_path / "y.tsv", image=None)) == [None]
