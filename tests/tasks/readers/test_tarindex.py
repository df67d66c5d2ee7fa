"""The index of a tar: what it costs, and how its parts are read."""

import io
import tarfile
import tracemalloc

from fixtures.layouts_archives import add

from fuseline.tasks.readers.base import ReaderOptions
from fuseline.tasks.readers.places import place
from fuseline.tasks.readers.tarindex import TarStore


def test_an_index_takes_little_memory(tmp_path):
    """28 bytes per member in the end, and no name is kept."""
    count = 8_000
    with (tmp_path / "x.tar").open("wb") as out, tarfile.open(fileobj=out, mode="w") as archive:
        info = tarfile.TarInfo()
        for number in range(count):
            info.name = f"google/q{number % 100:04d}/{'name' * 10}{number}.jpg"
            archive.addfile(info)
            archive.members = []
    store = TarStore(place(str(tmp_path)), ["x.tar"], ReaderOptions(), lambda tar, member: member)
    tracemalloc.start()
    assert store.has_folder("google")
    kept, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept < 28 * count * 1.2 + 200_000
    assert peak < 28 * count * 4 + 4_000_000
    file = store.file(f"google/q0007/{'name' * 10}7.jpg")
    assert file is not None
    with file.open() as stream:
        assert stream.read() == b""


def test_a_part_reads_like_a_file(tmp_path):
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        add(archive, "a", b"first")
        add(archive, "b", bytes(range(256)) * 40)
    store = TarStore(place(str(tmp_path)), ["x.tar"], ReaderOptions(), lambda tar, member: member)
    part = store.file("b")
    assert part is not None
    with part.open() as stream:
        assert stream.read(3) == b"\0\1\2"
        assert stream.seek(-2, io.SEEK_END) == 256 * 40 - 2
        assert stream.read() == b"\xfe\xff"
        assert stream.seek(256) == 256
        assert stream.read1(2) == b"\0\1"
        assert stream.tell() == 258
