"""WebVision as it is downloaded: tars that are read where they lie, some of them unpacked, and tars that lie."""

import gzip
import os
import random
import shutil
import tarfile
from pathlib import Path

import pytest
from fixtures.layouts_archives import TARS, add, pack, webvision_tars
from fixtures.layouts_sets import webvision
from fixtures.pieces import JPEGS, put

from fuseline.stores.errors import DataError
from fuseline.tasks.engine.images import ImageError, ImageLimits, open_image
from fuseline.tasks.readers import READERS

ROWS = 40
TOLD = ("id", "title", "description", "text", "labels", "split", "status")


def told(rows: list[dict], root: Path) -> list[dict]:
    """Return what documents say, and their images' bytes."""
    images = [row["image"] and open_image(row["image"], str(root), ImageLimits()) for row in rows]
    return [{**{name: row[name] for name in TOLD}, "bytes": data} for row, data in zip(rows, images, strict=True)]


def small(root: Path) -> Path:
    """Write two queries of two images in tars: info.tar, google.tar with the arrays, google_images.tar."""
    put(root / "info/synsets.txt", "n0 cat\nn1 dog\n")
    put(root / "info/train_filelist_google.txt", "".join(f"google/q{q}/i{q}{n}.jpg {q}\n" for q, n in IMAGES))
    put(root / "info/train_meta_list_google.txt", "".join(f"google/q{q}.json {n + 1}\n" for q, n in IMAGES))
    for q in (0, 1):
        rows = ", ".join(f'{{"id": "i{q}{n}", "title": "title i{q}{n}"}}' for n in (0, 1))
        put(root / f"google/q{q}.json", f"[{rows}]")
    for q, n in IMAGES:
        put(root / f"google/q{q}/i{q}{n}.jpg", JPEGS[2 * q + n])
    for tar, patterns in SMALL.items():
        pack(root, tar, *patterns)
    for name in ("google", "info"):
        shutil.rmtree(root / name)
    return root


IMAGES = [(0, 0), (0, 1), (1, 0), (1, 1)]
SMALL = {"info.tar": ["info/*"], "google.tar": ["google/*.json"], "google_images.tar": ["google/*/*.jpg"]}
NAMES = [f"google/q{q}/i{q}{n}.jpg" for q, n in IMAGES]


def rewrite(tar: Path, change: dict[str, bytes | tarfile.TarInfo | None], *, kind: int = tarfile.GNU_FORMAT) -> None:
    """Write a tar again with some members changed, taken out, or of another kind; new names come last."""
    with tarfile.open(tar) as archive:
        held = {one.name: archive.extractfile(one).read() for one in archive if one.isreg()}
    with tarfile.open(tar, "w", format=kind) as archive:
        for name, data in {**held, **change}.items():
            if isinstance(data, tarfile.TarInfo):
                archive.addfile(data)
            elif data is not None:
                add(archive, name, data)


def statuses(rows: list[dict]) -> dict[str | None, str]:
    return {row["id"] or row["source"]: row["status"] for row in rows}


@pytest.mark.parametrize("version", [1, 2])
def test_documents_in_tars_are_those_of_the_unpacked_release(tmp_path, load, version):
    webvision(tmp_path / "plain", ROWS, version=version)
    webvision_tars(tmp_path / "tars", ROWS, version=version)
    assert not [path for path in (tmp_path / "tars").iterdir() if path.is_dir()]
    plain = told(load("webvision", tmp_path / "plain"), tmp_path / "plain")
    rows = load("webvision", tmp_path / "tars")
    assert told(rows, tmp_path / "tars") == plain
    assert all(row["image"]["uri"].endswith(".tar") and row["image"]["length"] for row in rows)
    copies = told(load("webvision", tmp_path / "tars", images="copy"), tmp_path / "tars")
    assert copies == plain


def test_a_line_of_a_list_in_a_tar_is_named_by_both(tmp_path, load):
    rows = load("webvision", small(tmp_path))
    assert [row["source"] for row in rows] == [f"info.tar/info/train_filelist_google.txt:{n}" for n in (1, 2, 3, 4)]
    entry = READERS["webvision"]
    assert entry.vocabulary(str(tmp_path), entry.options()) == ("n0", "n1")


@pytest.mark.parametrize("left", [*TARS[2], "lists"])
def test_some_may_be_unpacked(tmp_path, load, left):
    """Each tar in turn is unpacked; and all tars with the lists beside them."""
    webvision(tmp_path / "plain", ROWS, version=2)
    shutil.copytree(tmp_path / "plain", tmp_path / "mixed")
    for tar, patterns in TARS[2].items():
        if tar != left and (left != "lists" or tar != "info.tar"):
            pack(tmp_path / "mixed", tar, *patterns)
    assert told(load("webvision", tmp_path / "mixed"), tmp_path / "mixed") == told(
        load("webvision", tmp_path / "plain"), tmp_path / "plain"
    )


@pytest.mark.parametrize("start", ["./", "bare", "deep"])
def test_members_may_be_named_otherwise_and_tars_lie_anywhere(tmp_path, load, start):
    """./google/q0/x.jpg; names without the folder that the tar is named after; tars in a folder of their own."""
    plain = told(load("webvision", small(tmp_path / "plain")), tmp_path / "plain")
    root = small(tmp_path / "root")
    for tar in SMALL:
        with tarfile.open(root / tar) as archive:
            held = [(one.name, archive.extractfile(one).read()) for one in archive]
        where = root / "download" / tar if start == "deep" else root / tar
        (root / tar).unlink()
        where.parent.mkdir(exist_ok=True)
        with tarfile.open(where, "w") as archive:
            for name, data in held:
                shown = {"bare": name.partition("/")[2], "./": f"./{name}", "deep": name}[start]
                add(archive, shown, data)
    assert told(load("webvision", root), root) == plain


@pytest.mark.parametrize("kind", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_long_names_in_every_kind_of_tar(tmp_path, load, kind):
    small(tmp_path)
    name = f"google/q0/{'long' * 30}é.jpg"
    lists = {"info/train_filelist_google.txt": f"{name} 0\n".encode(), "info/train_meta_list_google.txt": None}
    rewrite(tmp_path / "info.tar", lists)
    (tmp_path / "google_images.tar").unlink()
    with tarfile.open(tmp_path / "google_images.tar", "w", format=kind) as archive:
        try:
            add(archive, name, JPEGS[5])
        except ValueError:  # the oldest kind holds no longer names: 100 bytes, and 155 before a slash
            name = f"google/q0/{'x' * 90}.jpg"
            add(archive, name, JPEGS[5])
            rewrite(tmp_path / "info.tar", {"info/train_filelist_google.txt": f"{name} 0\n".encode()})
    (row,) = load("webvision", tmp_path)
    assert (row["id"], open_image(row["image"], str(tmp_path), ImageLimits())) == (name, JPEGS[5])


def test_an_unpacked_file_comes_before_tars_and_the_last_tar_before_others(tmp_path, load):
    small(tmp_path)
    put(tmp_path / NAMES[0], JPEGS[6])
    for tar, shade in (("google_a.tar", 4), ("google_z.tar", 5)):
        with tarfile.open(tmp_path / tar, "w") as archive:
            add(archive, NAMES[0], JPEGS[3])
            add(archive, NAMES[1], JPEGS[0])
            add(archive, NAMES[1], JPEGS[shade])
    rows = load("webvision", tmp_path)
    assert rows[0]["image"] == {"uri": NAMES[0], "offset": None, "length": None, "bytes": None}
    assert [row["image"]["uri"] for row in rows[1:]] == ["google_z.tar", *["google_images.tar"] * 2]
    assert [one["bytes"] for one in told(rows, tmp_path)] == [JPEGS[6], JPEGS[5], JPEGS[2], JPEGS[3]]
    put(tmp_path / "google/q1.json", '[{"id": "i10", "title": "mine"}, {"id": "i11", "title": "mine"}]')
    put(tmp_path / "info/synsets.txt", "n7 bird\nn8 fish\n")
    put(tmp_path / "info/train_filelist_google.txt", "".join(f"{name} 1\n" for name in NAMES))
    rows = load("webvision", tmp_path)
    assert [(row["title"], row["labels"]) for row in rows[1:3]] == [("title i01", ["n8"]), ("mine", ["n8"])]


@pytest.mark.parametrize("folder", ["metadata", "metadata/", "/metadata/"])
@pytest.mark.parametrize("inside", [False, True])
def test_a_metadata_root_works_with_and_without_a_slash(tmp_path, load, folder, inside):
    """The tar of the arrays lies in that folder, or the arrays in a folder of that name in the tar."""
    small(tmp_path)
    (tmp_path / "metadata").mkdir()
    if inside:
        with tarfile.open(tmp_path / "google.tar") as archive:
            archive.extractall(tmp_path / "metadata", filter="data")
        pack(tmp_path, "google.tar", "metadata/google/*.json")
        shutil.rmtree(tmp_path / "metadata")
    else:
        (tmp_path / "google.tar").rename(tmp_path / "metadata/google.tar")
    titles = [f"title i{q}{n}" for q, n in IMAGES]
    assert [row["title"] for row in load("webvision", tmp_path, metadata_root=folder)] == titles
    if inside:
        assert statuses(load("webvision", tmp_path)) == dict.fromkeys(NAMES, "bad_metadata")


@pytest.mark.parametrize("harm", ["missing", "damaged", "other", "link", "no row", "lost line"])
def test_metadata_in_tars_is_of_the_right_image_or_marked(tmp_path, load, harm):
    small(tmp_path)
    link = tarfile.TarInfo("google/q0.json")
    link.type, link.linkname = tarfile.SYMTYPE, "q1.json"
    rows = b'[{"id": "i01", "title": "title i01"}]'
    change = {"missing": None, "damaged": b'[{"id"', "other": b'{"title": "of all"}', "link": link, "no row": rows}
    if harm == "lost line":
        rewrite(tmp_path / "info.tar", {"info/train_meta_list_google.txt": b"google/q0.json 2\ngoogle/q1.json 1\n"})
    else:
        rewrite(tmp_path / "google.tar", {"google/q0.json": change[harm]})
    bad = {"lost line": set(), "no row": {NAMES[0]}}.get(harm, {*NAMES[:2]})
    for row in load("webvision", tmp_path):
        stem = Path(row["id"]).stem
        expected = (None, "bad_metadata") if row["id"] in bad else (f"title {stem}", "ok")
        assert (row["title"], row["status"]) == expected
        assert (row["labels"], row["image"]["uri"]) == ([f"n{stem[1]}"], "google_images.tar")


def member(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


KINDS = {
    "symbolic link": tarfile.SYMTYPE, "hard link": tarfile.LNKTYPE, "device": tarfile.CHRTYPE,
    "pipe": tarfile.FIFOTYPE, "sparse": tarfile.GNUTYPE_SPARSE,
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_an_image_that_is_no_plain_member_is_marked(tmp_path, load, kind):
    secret = put(tmp_path / "secret.jpg", b"secret")
    root = small(tmp_path / "root")
    rewrite(root / "google_images.tar", {NAMES[1]: member(NAMES[1], KINDS[kind], str(secret))})
    rows = load("webvision", root, images="copy")
    assert statuses(rows) == {**dict.fromkeys(NAMES, "ok"), NAMES[1]: "bad_member"}
    assert (rows[1]["title"], rows[1]["labels"], rows[1]["image"]) == ("title i01", ["n0"], None)
    assert b"secret" not in str(rows).encode()


def test_members_that_no_line_names_are_rows_of_their_own_when_they_lie(tmp_path, load):
    root = small(tmp_path / "root")
    odd = {
        "../../up.jpg": b"x",
        "google/x/../q1/i10.jpg": b"x",
        "/abs.jpg": b"x",
        "l.jpg": member("l.jpg", tarfile.SYMTYPE, "/etc/passwd"),
    }
    rewrite(root / "google_images.tar", odd)
    rewrite(root / "info.tar", {"info/train_filelist_google.txt": "".join(f"{n} 0\n" for n in LYING).encode()})
    assert statuses(load("webvision", root)) == {
        "../../up.jpg": "bad_path", NAMES[2]: "ok",
        "google_images.tar:/abs.jpg": "bad_member", "google_images.tar:l.jpg": "bad_member",
        "google_images.tar:../../up.jpg": "bad_member", "google_images.tar:google/x/../q1/i10.jpg": "bad_member",
    }  # fmt: skip
    assert [path.name for path in tmp_path.iterdir()] == ["root"]


LYING = ["../../up.jpg", NAMES[2]]


def test_a_tar_that_ends_early_keeps_what_came_before_and_is_listed(tmp_path, load):
    small(tmp_path)
    with tarfile.open(tmp_path / "google_images.tar") as archive:
        third = archive.getmember(NAMES[2])
    data = (tmp_path / "google_images.tar").read_bytes()
    (tmp_path / "google_images.tar").write_bytes(data[: third.offset_data + 10])
    rows = load("webvision", tmp_path)
    assert statuses(rows) == {**dict.fromkeys(NAMES, "ok"), f"google_images.tar:{NAMES[2]}": "bad_file"}
    assert [row["image"]["uri"] for row in rows[:4]] == [*["google_images.tar"] * 3, NAMES[3]]
    assert open_image(rows[1]["image"], str(tmp_path), ImageLimits()) == JPEGS[1]
    for row, reason in ((rows[2], "bad_image"), (rows[3], "no_image")):
        with pytest.raises(ImageError, match=reason):
            open_image(row["image"], str(tmp_path), ImageLimits())


def test_a_list_that_ends_with_its_tar_is_not_whole(tmp_path, load):
    small(tmp_path)
    rewrite(tmp_path / "info.tar", {"info/train_meta_list_google.txt": None})
    with tarfile.open(tmp_path / "info.tar") as archive:
        lines = archive.getmember("info/train_filelist_google.txt")
    data = (tmp_path / "info.tar").read_bytes()
    rewrite(tmp_path / "info.tar", {"info/train_filelist_google.txt": None})
    cut = data[lines.offset : lines.offset_data + 20]  # the first line, whole
    whole = (tmp_path / "info.tar").read_bytes()
    end = whole.rindex(b"n1 dog") // 512 * 512 + 512
    (tmp_path / "info.tar").write_bytes(whole[:end] + cut)
    found = statuses(load("webvision", tmp_path))
    assert found.pop("info.tar:info/train_filelist_google.txt") == "bad_file"
    assert found.pop(NAMES[0]) == "ok"
    assert set(found.values()) == {"bad_row"}


@pytest.mark.parametrize("size", [b"77777777777", b"\x80" + b"\xff" * 10 + b"\x00", b"\xff" * 12, b"notanumber "])
def test_sizes_that_lie_end_their_tar(tmp_path, load, size):
    small(tmp_path)
    data = bytearray((tmp_path / "google_images.tar").read_bytes())
    with tarfile.open(tmp_path / "google_images.tar") as archive:
        at = archive.getmember(NAMES[1]).offset
    data[at + 124 : at + 136] = size.ljust(12, b"\0")
    (tmp_path / "google_images.tar").write_bytes(data)
    rows = load("webvision", tmp_path)
    assert [row["status"] for row in rows] == ["ok"] * 4 + ["bad_file"]
    assert open_image(rows[0]["image"], str(tmp_path), ImageLimits()) == JPEGS[0]
    for row in rows[1:4]:
        with pytest.raises(ImageError, match=r"bad_image|no_image"):
            open_image(row["image"], str(tmp_path), ImageLimits())


def test_a_compressed_tar_is_listed_and_not_unpacked(tmp_path, load):
    small(tmp_path)
    data = (tmp_path / "google_images.tar").read_bytes()
    (tmp_path / "google_images.tar").unlink()
    put(tmp_path / "google_images.tar.gz", gzip.compress(data))
    rows = load("webvision", tmp_path)
    assert statuses(rows) == {**dict.fromkeys(NAMES, "ok"), "google_images.tar.gz": "packed"}
    assert [row["image"]["uri"] for row in rows[:4]] == NAMES
    (tmp_path / "google_images.tar.gz").rename(tmp_path / "google_images.tar")
    assert statuses(load("webvision", tmp_path))["google_images.tar"] == "packed"
    put(tmp_path / "info.tar", gzip.compress((tmp_path / "info.tar").read_bytes()))
    with pytest.raises(DataError, match=r"info/synsets\.txt.*info\.tar"):
        load("webvision", tmp_path)


def test_names_that_are_no_utf_8_never_stand_for_each_other(tmp_path, load):
    small(tmp_path)
    with tarfile.open(tmp_path / "google_images.tar", "w", format=tarfile.GNU_FORMAT, encoding="latin-1") as archive:
        add(archive, "google/q0/é.jpg", JPEGS[0])
        add(archive, "google/q0/è.jpg", JPEGS[1])
    rewrite(tmp_path / "info.tar", {"info/train_filelist_google.txt": "google/q0/é.jpg 0\n".encode("latin-1")})
    rows = load("webvision", tmp_path)
    assert (rows[0]["id"], rows[0]["status"], rows[0]["image"]) == ("google/q0/\ufffd.jpg", "bad_member", None)


@pytest.mark.parametrize("folder", [b"", b"odd\xff/"])
def test_a_tar_whose_own_name_is_no_utf_8_is_listed(tmp_path, load, folder):
    small(tmp_path)
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + folder + (b"" if folder else b"\xff") + b"google_images.tar"))
    odd.parent.mkdir(exist_ok=True)
    (tmp_path / "google_images.tar").rename(odd)
    rows = load("webvision", tmp_path)
    assert [row["status"] for row in rows] == ["ok"] * 4 + ["bad_name"]
    assert [row["image"]["uri"] for row in rows[:4]] == NAMES


def test_images_in_tars_below_a_root_of_their_own(tmp_path, load):
    small(tmp_path / "set")
    (tmp_path / "big").mkdir()
    (tmp_path / "set/google_images.tar").rename(tmp_path / "big/google_images.tar")
    rows = load("webvision", tmp_path / "set", root=str(tmp_path / "big"))
    assert statuses(rows) == dict.fromkeys(NAMES, "ok")
    assert [one["bytes"] for one in told(rows, tmp_path / "big")] == JPEGS[:4]
    entry = READERS["webvision"]
    listed = entry.files(str(tmp_path / "set"), entry.options(root=str(tmp_path / "big")))
    assert [file.uri for file in listed] == ["google.tar", "info.tar", "google_images.tar"]


def test_a_linked_tar_is_followed_on_request(tmp_path, load):
    small(tmp_path / "set")
    (tmp_path / "set/google_images.tar").rename(tmp_path / "elsewhere.tar")
    (tmp_path / "set/google_images.tar").symlink_to(tmp_path / "elsewhere.tar")
    assert {row["status"] for row in load("webvision", tmp_path / "set")} == {"outside"}
    assert {row["status"] for row in load("webvision", tmp_path / "set", follow_links=True)} == {"ok"}


@pytest.mark.parametrize("tar", ["google.tar", "google_images.tar"])
def test_whatever_bytes_a_tar_holds_no_row_is_lost(tmp_path, load, tar):
    """Cut anywhere, or with bytes of its headers changed: each line is a document, with its own title or marked."""
    good = small(tmp_path) / tar
    whole, rng = good.read_bytes(), random.Random(0)
    for turn in range(120):
        data = bytearray(whole[: rng.randrange(len(whole))] if turn % 3 == 0 else whole)
        for _ in range(turn % 3):
            header = 1024 * rng.randrange(4)
            data[min(header + rng.randrange(345), len(data) - 1)] = rng.choice(b"\0 /.07x5L\x80\xff")
        good.write_bytes(data)
        rows = load("webvision", tmp_path)
        assert [row["id"] for row in rows[:4]] == NAMES
        assert {row["status"] for row in rows[:4]} <= {"ok", "bad_metadata", "bad_member"}
        assert {row["status"] for row in rows[4:]} <= {"bad_member", "bad_file"}
        for row in rows[:4]:
            expected = None if row["status"] == "bad_metadata" else f"title {Path(row['id']).stem}"
            assert row["title"] == expected
