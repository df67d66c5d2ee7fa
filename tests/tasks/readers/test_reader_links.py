"""Links that lead out of a source: of folders and files, and inside HDF5 files. None is followed unasked."""

import json
import os
from pathlib import Path

import pytest

from fuseline.stores.errors import DataError
from fuseline.tasks.readers.image_files import Fence


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """Return a folder of somebody else's, with a picture."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "x.jpg").write_bytes(b"secret")
    return tmp_path / "elsewhere"


@pytest.fixture
def linked(tmp_path: Path, outside: Path) -> Path:
    """Return an image folder with a file, links inside it, and links that lead out of it."""
    root = tmp_path / "root"
    (root / "train" / "cat").mkdir(parents=True)
    (root / "train" / "cat" / "1.jpg").write_bytes(b"picture")
    (root / "train" / "cat" / "inner.jpg").symlink_to(root / "train" / "cat" / "1.jpg")
    (root / "train" / "cat" / "outer.jpg").symlink_to(outside / "x.jpg")
    (root / "train" / "dog").symlink_to(outside)
    return root


STATUSES = {
    "train/cat/1.jpg": "ok", "train/cat/inner.jpg": "ok",
    "train/cat/outer.jpg": "outside", "train/dog/x.jpg": "outside",
}  # fmt: skip


@pytest.mark.parametrize("images", ["reference", "copy"])
def test_images_behind_links_are_marked_and_not_read(linked: Path, load, images: str) -> None:
    rows = {row["id"]: row for row in load("imagefolder", linked, images=images)}
    assert {name: row["status"] for name, row in rows.items()} == STATUSES
    assert [row["image"] for row in rows.values() if row["status"] == "outside"] == [None, None]
    assert b"secret" not in str(rows).encode()


def test_they_are_followed_on_request(linked: Path, load) -> None:
    rows = {row["id"]: row for row in load("imagefolder", linked, images="copy", follow_links=True)}
    assert {row["status"] for row in rows.values()} == {"ok"}
    assert rows["train/dog/x.jpg"]["image"]["bytes"] == b"secret"


def test_a_table_that_names_a_link_is_marked_too(linked: Path, load) -> None:
    lines = [{"id": name, "image": name} for name in STATUSES]
    (linked / "documents.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    rows = load("jsonl", linked / "documents.jsonl")
    assert {row["id"]: row["status"] for row in rows} == STATUSES


def test_a_root_that_is_a_link_itself_is_a_root(linked: Path, tmp_path: Path, load) -> None:
    (tmp_path / "alias").symlink_to(linked)
    rows = load("imagefolder", tmp_path / "alias")
    assert {row["id"]: row["status"] for row in rows} == STATUSES


def test_the_fence_knows_neighbours_of_the_same_beginning(tmp_path: Path) -> None:
    for name in ("root", "root2"):
        (tmp_path / name).mkdir()
    (tmp_path / "root" / "link").symlink_to(tmp_path / "root2")
    fence = Fence(str(tmp_path / "root"))
    assert fence.leaves("link/a.jpg")
    assert not fence.leaves("absent/a.jpg")
    assert not fence.leaves("https://h/a.jpg")


@pytest.mark.parametrize("kind", ["external storage", "external link", "soft link", "virtual"])
def test_an_hdf5_file_that_reads_elsewhere_is_refused(tmp_path: Path, load, kind: str) -> None:
    """External storage made `root:x:` of /etc/passwd an id; a virtual dataset over itself never ended."""
    h5py, np = pytest.importorskip("h5py"), pytest.importorskip("numpy")
    (tmp_path / "other.bin").write_bytes(b"root:x:00000000\0" * 4)
    path = tmp_path / "multimodal_imdb.hdf5"
    with h5py.File(path, "w") as file:
        file["genres"] = np.ones((2, 1), np.int32)
        file["genres"].attrs["target_names"] = json.dumps(["Drama"])
        file["images"] = np.zeros((2, 3, 4, 4), np.int32)
        if kind == "external storage":
            file.create_dataset("imdb_ids", (2,), "S16", external=[(str(tmp_path / "other.bin"), 0, 32)])
        elif kind == "external link":
            file["imdb_ids"] = h5py.ExternalLink("other.h5", "ids")
        elif kind == "soft link":
            file["imdb_ids"] = h5py.SoftLink("/genres")
        else:
            layout = h5py.VirtualLayout((2,), "S16")
            layout[:] = h5py.VirtualSource(str(path), "imdb_ids", (2,), "S16")
            file.create_virtual_dataset("imdb_ids", layout)
    with pytest.raises(DataError, match="dataset imdb_ids: expected 'numbers that lie in the file itself'") as caught:
        load("mmimdb", path)
    assert "root:x" not in str(caught.value)


def test_links_anywhere_on_the_way_are_seen(tmp_path: Path, outside: Path) -> None:
    root = tmp_path / "root"
    (root / "a" / "b").mkdir(parents=True)
    (root / "a" / "b" / "up").symlink_to(root)
    (root / "a" / "out").symlink_to(outside)
    (root / "a" / "lost").symlink_to(tmp_path / "nowhere")
    fence = Fence(str(root))
    told = {
        "x.jpg": False, "a/b/x.jpg": False, "a/b/up/x.jpg": False, "a/b/up/a/out/x.jpg": True, "a/out/x.jpg": True,
        "a/out/c/d/x.jpg": True, "a/lost/x.jpg": True, "a/none/c/x.jpg": False, "/".join("a" * 3000): False,
    }  # fmt: skip
    assert {uri: fence.leaves(uri) for _ in range(2) for uri in told} == told


@pytest.mark.parametrize(("folder", "most"), [("there", 20), ("absent", 2)])
def test_a_folder_is_looked_at_once_however_many_images(tmp_path: Path, load, monkeypatch, folder, most) -> None:
    """Each look asks the disk, and costs more than parsing the row."""
    root = tmp_path / "r"
    (root / "there/a").mkdir(parents=True)
    lines = [{"id": str(i), "image": f"{folder}/{'ab'[i % 2]}/{i}.jpg"} for i in range(1000)]
    (root / "d.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    asked: list[str] = []
    lstat = os.lstat
    monkeypatch.setattr(os, "lstat", lambda path, **more: asked.append(str(path)) or lstat(path, **more))
    monkeypatch.setattr(os.path, "islink", lambda path: False)  # of the images themselves
    assert {row["status"] for row in load("jsonl", root / "d.jsonl")} == {"ok"}
    assert len([path for path in asked if path.startswith(f"{root}/{folder}")]) <= most
