"""YFCC100M: lines of 25 or 23 fields, companion files joined by id, images under the names of the store."""

import bz2
import errno
import gzip
import tempfile
import zipfile
from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from fixtures.pieces import JPEGS, put

from fuseline.stores.errors import ConfigError, DataError, StorageError
from fuseline.tasks.readers import READERS, partners
from fuseline.tasks.readers.yfcc import FIELDS, YfccOptions


def told(rows, *names):
    return [tuple(row[name] for name in names) for row in rows]


def uris(rows):
    return [row["image"] and row["image"]["uri"] for row in rows]


def core(**values: str) -> str:
    return "\t".join(values.get(name, "0" if name == "marker" else "") for name in FIELDS) + "\n"


def old(*ids: str, **values: str) -> str:
    """Return lines of the first release: without line number and hash."""
    fields = [core(photoid=one, **values).split("\t") for one in ids]
    return "".join("\t".join([line[1], *line[3:]]) for line in fields)


@pytest.mark.parametrize("batch_rows", [1, 2, 4096])
def test_first_release_has_23_columns_and_its_hashes_and_lines_beside(tmp_path, load, batch_rows):
    """Both files are keyed by id: nothing says that they lie in the order of the lines."""
    put(tmp_path / "yfcc100m_dataset-0", old("7", "8") + "\n" + old("9") + "broken\n")
    put(tmp_path / "yfcc100m_dataset-1", old("10", "8", title="a+b"))
    put(
        tmp_path / "yfcc100m_hash", bz2.compress(b"55\tfff\r\n9\t" + b"1" * 31 + b"\n\n10\tcccddd1\n8\tbbbddd1\n8\t0\n")
    )
    put(tmp_path / "yfcc100m_lines", "12345679\t8\n12345678\t7\n3\t10\n4\t99\n12345680\t9\n")
    options = {"hashes": "yfcc100m_hash", "batch_rows": batch_rows}
    rows = load("yfcc", tmp_path, **options)
    assert told(rows, "id", "status", "title") == [
        ("7", "no_hash", None), ("8", "ok", None), ("9", "ok", None), (None, "bad_row", None),
        ("10", "ok", "a b"), ("8", "ok", "a b"),
    ]  # fmt: skip
    places = [None, "bbb/ddd/bbbddd1", f"111/111/{'1' * 31}", None, "ccc/ddd/cccddd1", "bbb/ddd/bbbddd1"]
    assert uris(rows) == [one and f"data/images/{one}.jpg" for one in places]
    both = load("yfcc", tmp_path, lines="yfcc100m_lines", image="{line}/{l2}{l3}{m3}/{hash}", **options)
    assert [row["status"] for row in both] == [row["status"] for row in rows]
    assert uris(both)[1:3] == ["12345679/12345679/bbbddd1", f"12345680/12345680/{'1' * 31}"]
    assert uris(both)[4] == "3/00000003/cccddd1"
    kept = load("yfcc", tmp_path, lines="yfcc100m_lines", image=None, tabular={"line": "number"})
    assert [row["num_line"] for row in kept] == [12345678, 12345679, 12345680, None, 3, 12345679]


def test_what_a_line_of_25_columns_says_of_itself_counts(tmp_path, load):
    put(
        tmp_path / "y.tsv",
        core(photoid="1", hash="aaabbb", line="5") + core(photoid="2") + core(photoid="3", marker="1"),
    )
    put(tmp_path / "hashes", "2\tdddeee\n1\tzzz\n")
    rows = load("yfcc", tmp_path / "y.tsv", hashes="hashes")
    assert told(rows, "id", "status") == [("1", "ok"), ("2", "ok"), ("3", "video")]
    assert uris(rows) == ["data/images/aaa/bbb/aaabbb.jpg", "data/images/ddd/eee/dddeee.jpg", None]


@pytest.mark.parametrize("data", ["", "5\taaa\n", "aaa\t1\n", "1\n2\n", "1\t\n2\t\n", "1\ta\tb\n"])
def test_a_file_that_has_none_of_the_ids_is_an_error(tmp_path, load, data):
    put(tmp_path / "y.tsv", core(photoid="1") + core(photoid="2"))
    put(tmp_path / "hashes", data)
    with pytest.raises(DataError, match=r"source\.options\.hashes: expected 'ids of .*of this file is id TAB hash"):
        load("yfcc", tmp_path / "y.tsv", hashes="hashes")
    put(tmp_path / "y.tsv", "broken\n")
    assert told(load("yfcc", tmp_path / "y.tsv", hashes="hashes"), "id", "status") == [(None, "bad_row")]


def no_image(names):
    return np.zeros(len(names), bool)


def test_rows_after_the_damage_of_a_file_are_marked(tmp_path, load):
    put(tmp_path / "y.tsv", "".join(core(photoid=str(number)) for number in range(50_000)))
    packed = gzip.compress("".join(f"{number}\tabc{number}\n" for number in range(50_000)).encode(), mtime=0)
    put(tmp_path / "hashes", packed[: len(packed) // 2])
    counts = Counter(row["status"] for row in load("yfcc", tmp_path / "y.tsv", hashes="hashes"))
    assert counts["ok"] > 10_000
    assert counts["no_hash"] > 10_000
    assert counts.total() == 50_000
    found = list(READERS["yfcc"].findings(str(tmp_path / "y.tsv"), YfccOptions(hashes="hashes"), no_image))
    assert [one.slug for one in found] == ["extra_line"]  # where the damage is


def test_a_join_that_finds_no_room_is_told_in_one_line(tmp_path, load, monkeypatch):
    put(tmp_path / "y.tsv", core(photoid="1"))
    put(tmp_path / "hashes", "1\taaa\n")

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(pa.ipc, "new_stream", full)
    with pytest.raises(StorageError, match=r"cannot write .*fuseline-.*; the disk is full: free some space"):
        load("yfcc", tmp_path / "y.tsv", hashes="hashes")


@pytest.mark.parametrize("window", [1, 7, 1 << 16])
def test_a_join_gives_each_row_its_own_whatever_is_held_at_once(monkeypatch, window):
    """Ids by chance, some of them twice, some unknown, in tables and takes of any size."""
    for name, value in {"WINDOW": window, "BATCH": 3, "HELD_ROWS": 50}.items():
        monkeypatch.setattr(partners, name, value)
    rng = np.random.default_rng(window)
    ids = [None if one % 9 == 0 else str(one) for one in rng.integers(0, 400, 500).tolist()]
    keys = [None if one % 7 == 0 else str(one) for one in rng.integers(0, 500, 300).tolist()]
    known = dict(zip(reversed(keys), reversed(range(300)), strict=True))  # the first of each

    def tables(schema, *columns):
        for start in range(0, len(columns[0]), 70):
            yield pa.table([column[start : start + 70] for column in columns], schema=schema)

    pairs = (keys, [f"v{line}" for line in range(300)], list(range(300)))
    with partners.joined(tables(partners.IDS, ids), {"x": tables(partners.PAIRS, *pairs)}) as found:
        taken = [value for count in (1, 0, 200, 299) for value in found["x"].take(count).to_pylist()]
    assert taken == [None if one is None or one not in known else f"v{known[one]}" for one in ids]
    extra = [line for line, key in enumerate(keys) if key is None or key not in ids or known[key] != line]
    assert list(partners.extra_lines(tables(partners.IDS, ids), tables(partners.PAIRS, *pairs))) == extra


def test_a_join_leaves_nothing_behind(tmp_path, load, monkeypatch):
    (tmp_path / "scratch").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "scratch"))
    put(tmp_path / "y.tsv", core(photoid="1") + core(photoid="2"))
    put(tmp_path / "hashes", "1\taaa\n2\tbbb\n")
    reading = READERS["yfcc"].read(str(tmp_path / "y.tsv"), YfccOptions(hashes="hashes", batch_rows=1))
    next(reading)
    assert list((tmp_path / "scratch").iterdir())
    reading.close()
    assert not list((tmp_path / "scratch").iterdir())


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
    put(tmp_path / "tags", "9\tfog:0.9\n2\t\n4\tsea:0.7\n1\tdune:0.5100,a:b:0.9,fog:0.8610,odd:x\n")
    rows = load("yfcc", tmp_path / "y.tsv", labels="autotags", autotags="tags", min_confidence=0.6)
    assert told(rows, "labels", "status") == [
        (["a:b", "fog"], "ok"), ([], "ok"), ([], "no_autotags"), (["sea"], "ok"),
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
