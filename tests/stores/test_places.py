"""The contract of every place, ours and those that installed packages add."""

import itertools
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from fuseline.stores.digests import bytes_digest
from fuseline.stores.errors import ConfigError, DataError, StorageError
from fuseline.stores.places import PLACES, open_root
from fuseline.stores.places.local import LocalRoot
from fuseline.stores.root import Root

OUTSIDE = ["../x", "a/../../x", "..", "/x", "/etc/passwd", "a//x", "./x", "a/", "a\0b"]


@pytest.fixture(params=list(PLACES))
def root(request: pytest.FixtureRequest, tmp_path: Path) -> Root:
    """Return an empty place of every kind; an address is its kind and a path of which it makes what it needs."""
    return open_root(f"{request.param}://{tmp_path}/place")


def filled(root: Root, *names: str) -> Root:
    for name in names:
        root.put(name, name.encode())
    return root


def test_is_opened_by_its_kind(root):
    assert type(root) is PLACES[root.kind]
    assert root.summary
    assert root == open_root(root.address)
    assert hash(root) == hash(open_root(root.address))


@pytest.mark.parametrize("data", [b"", b"\x00", bytes(range(256)) * 5000])
def test_returns_what_was_put(root, data):
    root.put("a/b c/é.bin", data)
    assert root.get("a/b c/é.bin") == data
    assert root.stat("a/b c/é.bin").size == root.size("a/b c/é.bin") == len(data)
    assert root.digest("a/b c/é.bin") == bytes_digest(data)
    assert open_root(root.address).get("a/b c/é.bin") == data


def test_says_what_is_not_there(root):
    filled(root, "a/x")
    for name in ("y", "a", "a/y", "a/x/z"):
        assert root.stat(name) is None
        assert not root.exists(name)
        with pytest.raises((FileNotFoundError, IsADirectoryError)):
            root.get(name)
    with pytest.raises(FileNotFoundError), root.reading("y"):
        pytest.fail("it is not there")
    assert root.list("y") == root.children("y") == root.list("a/x") == []


def test_put_replaces(root):
    filled(root, "x")
    before = root.stat("x")
    root.put("x", b"other")
    assert root.get("x") == b"other"
    assert root.stat("x").mark != before.mark
    assert root.stat("x").written >= before.written


def test_put_if_absent_is_exclusive(root):
    assert root.put_if_absent("a/x", b"first")
    assert not root.put_if_absent("a/x", b"second")
    assert root.get("a/x") == b"first"
    root.delete("a/x")
    assert root.put_if_absent("a/x", b"third")


def test_of_several_writers_one_succeeds(root):
    start = threading.Barrier(4)

    def write(number: int) -> list[bool]:
        start.wait()
        return [root.put_if_absent(str(place), str(number).encode()) for place in range(20)]

    with ThreadPoolExecutor(4) as pool:
        wrote = list(pool.map(write, range(4)))
    for place in range(20):
        (writer,) = [number for number in range(4) if wrote[number][place]]
        assert root.get(str(place)) == str(writer).encode()


def test_list_is_bounded_by_the_folder_and_sorted(root):
    filled(root, "b/2", "a/x/1", "ab/1", "a/2", "a-b", "b/10", "a/x/y/1")
    assert root.list() == ["a-b", "a/2", "a/x/1", "a/x/y/1", "ab/1", "b/10", "b/2"]
    assert root.list("a") == ["a/2", "a/x/1", "a/x/y/1"]
    assert root.list("a/x") == ["a/x/1", "a/x/y/1"]
    assert root.children() == ["a", "a-b", "ab", "b"]
    assert root.children("a") == ["2", "x"]
    assert root.size("a") == 3 + 5 + 7


def test_delete_may_be_repeated(root):
    filled(root, "a/x", "a/y")
    for _ in range(2):
        root.delete("a/x")
        root.delete("never/there")
    assert root.list() == ["a/y"]


def test_remove_takes_a_file_or_all_below_a_folder(root):
    filled(root, "a/x/1", "a/x/2", "a/xy", "b")
    for _ in range(2):
        root.remove("a/x")
        root.remove("b")
    assert root.list() == ["a/xy"]


def test_a_folder_is_a_root_of_its_own(root):
    inner = filled(root, "a/x/1", "ab/1", "top").at("a")
    assert inner.list() == ["x/1"]
    assert inner.children() == ["x"]
    assert inner.at("x").get("1") == b"a/x/1"
    inner.put("2", b"two")
    assert root.get("a/2") == b"two"
    assert inner == root.at("a") == open_root(root.address).at("a")
    assert inner.uri("2") == root.uri("a/2")


@pytest.mark.parametrize("name", OUTSIDE)
def test_a_name_that_leads_elsewhere_is_refused(root, name):
    calls = (
        root.get, root.delete, root.remove, root.stat, root.list, root.children, root.at, root.digest, root.size,
        lambda name: root.put(name, b""), lambda name: root.put_if_absent(name, b""),
        lambda name: root.reading(name).__enter__(), lambda name: root.at("a").get(name),
    )  # fmt: skip
    for call in calls:
        with pytest.raises(DataError, match="name below the root"):
            call(name)
    with pytest.raises(DataError), root.writing(name) as path:
        path.write_bytes(b"")


def test_a_reader_never_sees_half_a_file(root):
    versions = [bytes([n]) * 200_000 for n in range(2)]
    root.put("x", versions[0])
    done = threading.Event()

    def write() -> None:
        for n in itertools.islice(itertools.cycle((1, 0)), 60):
            root.put("x", versions[n])
        done.set()

    with ThreadPoolExecutor(1) as pool:
        writer = pool.submit(write)
        while not done.is_set() and not writer.done():
            assert root.get("x") in versions
        writer.result()


def test_a_file_is_lent_to_be_read(root):
    filled(root, "a/x.bin")
    with root.reading("a/x.bin") as path:
        assert path.name == "x.bin"
        assert path.read_bytes() == b"a/x.bin"
    assert root.list() == ["a/x.bin"]


def test_a_folder_is_lent_to_be_read(root):
    filled(root, "a/1", "a/b/2", "other")
    with root.reading("a") as path:
        files = {file.relative_to(path).as_posix() for file in path.rglob("*") if file.is_file()}
        assert files == {"1", "b/2"}


def test_what_is_written_to_a_lent_path_appears_when_the_block_ends_well(root):
    with root.writing("a/x") as path:
        path.write_bytes(b"new")
        assert root.list() == []
    assert root.get("a/x") == b"new"
    with pytest.raises(ZeroDivisionError), root.writing("a/x") as path:
        path.write_bytes(b"newer")
        raise ZeroDivisionError
    assert root.get("a/x") == b"new"
    assert root.list() == ["a/x"]
    assert root.leftovers() == []


def test_what_is_written_to_a_lent_folder_replaces_the_old_one(root):
    for files in ({"1": b"1", "b/2": b"2"}, {"b/2": b"two", "3": b"3"}):
        with root.writing_folder("a") as folder:
            for name, data in files.items():
                (folder / name).parent.mkdir(exist_ok=True)
                (folder / name).write_bytes(data)
        assert {name: root.get(f"a/{name}") for name in files} == files
        assert root.list() == sorted(f"a/{name}" for name in files)
    with pytest.raises(ZeroDivisionError), root.writing_folder("a") as folder:
        (folder / "4").write_bytes(b"")
        raise ZeroDivisionError
    assert root.list() == ["a/3", "a/b/2"]


def test_is_sent_to_other_processes_or_refused_in_one_line(root):
    if root.shared:
        assert pickle.loads(pickle.dumps(root.at("a"))) == root.at("a")
    else:
        with pytest.raises(StorageError, match=r"^root: expected .*, got .*; "):
            pickle.dumps(root)


def test_has_a_folder_beside_for_what_needs_a_disk(root):
    assert root.beside() == open_root(root.address).beside()
    assert (root.local() is None) == (root.local("a/x") is None)


def test_a_plain_path_is_a_local_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for address in ("out", "./out/", Path("out"), str(tmp_path / "out"), f"file://{tmp_path}/out"):
        open_root(address).put("a/x", b"1")
        assert (tmp_path / "out" / "a" / "x").read_bytes() == b"1"
        assert isinstance(open_root(address), LocalRoot)
    assert open_root("out").uri("a/x") == "out/a/x"
    assert open_root("out").at("a").list() == ["x"]
    assert open_root(".").list() == ["out/a/x"]
    assert open_root("out").absolute().uri("a") == str(tmp_path / "out" / "a")
    assert open_root("out").link("a b") == f"file://{tmp_path}/out/a%20b"


def test_a_place_that_nobody_knows_is_refused():
    with pytest.raises(ConfigError, match=r"^root: expected 'a path or one of file://, memory://.*got 'tape://'; "):
        open_root("tape://x")


def test_a_local_file_is_lent_where_it_lies(tmp_path):
    root = filled(open_root(tmp_path), "a/x")
    with root.reading("a/x") as path:
        assert path == tmp_path / "a" / "x"


def test_left_overs_of_killed_writes_are_no_names(tmp_path):
    root = filled(open_root(tmp_path), "a/x")
    (tmp_path / "a" / ".x.0123.partial").write_bytes(b"")
    (tmp_path / ".b.0123.partial").mkdir()
    (tmp_path / ".b.0123.partial" / "1").write_bytes(b"")
    assert (root.list(), root.children(), root.children("a")) == (["a/x"], ["a"], ["x"])
    assert root.leftovers() == [".b.0123.partial", "a/.x.0123.partial"]
    for name in root.leftovers():
        root.remove(name)
    assert [path.name for path in tmp_path.rglob("*")] == ["a", "x"]
