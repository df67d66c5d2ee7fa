"""The list of forgotten documents: hashes that outlive the ids."""

import os
from pathlib import Path
from unittest import mock

import blake3
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fuseline.stores.errors import DataError
from fuseline.stores.forgotten import COPY, FILE, Forgotten, documents_of, erase_from_file, naming
from fuseline.stores.places import open_root

IDS = ["doc-1", "日本語", "", "a\nb", "x" * 5000]


def test_a_list_comes_back_without_the_ids(tmp_path):
    assert len(Forgotten.load(open_root(tmp_path))) == 0
    forgotten = Forgotten.load(open_root(tmp_path)).with_ids(IDS)
    forgotten.save(open_root(tmp_path))
    data = (tmp_path / FILE).read_bytes()
    assert Forgotten.load(open_root(tmp_path)) == forgotten
    assert all(document in forgotten for document in IDS)
    assert "doc-2" not in forgotten
    assert not any(document and document.encode() in data for document in IDS)


def test_hashes_are_keyed_by_root():
    """Without the key of one root, the hashes of another tell nothing about it."""
    one, other = Forgotten(key=bytes(32)).with_ids(["a"]), Forgotten().with_ids(["a"])
    assert one.hashes == {blake3.blake3(b"a", key=bytes(32)).digest(16)}
    assert one.hashes != other.hashes
    assert len(one.with_ids(["a"])) == 1


def test_the_mask_follows_chunks_and_nulls():
    forgotten = Forgotten().with_ids(["a", "c"])
    ids = pa.chunked_array([pa.array(["a", None, "b"]), pa.array(["x", "c"]).slice(1)])
    assert forgotten.mask(ids).tolist() == [True, False, False, True]
    assert Forgotten().mask(ids).tolist() == [False] * 4


@pytest.mark.parametrize("data", [b"", b"{}", b'{"format": 1, "key": "00", "ids": []}'])
def test_a_damaged_list_stops_everything(data, tmp_path):
    """An empty list instead would let every forgotten document back in."""
    (tmp_path / FILE).write_bytes(data)
    with pytest.raises(DataError, match=r"forgotten.json.*(backup|another Fuseline version)"):
        Forgotten.load(open_root(tmp_path))


def test_rows_go_from_a_file_and_only_those(tmp_path):
    path, forgotten = tmp_path / "x.parquet", Forgotten().with_ids(["b"])
    pq.write_table(pa.table({"id": ["a", "b", None], "n": [1, 2, 3]}), path)
    assert erase_from_file(open_root(tmp_path), path.name, forgotten) == 1
    assert pq.read_table(path).to_pylist() == [{"id": "a", "n": 1}, {"id": None, "n": 3}]
    before = path.stat().st_mtime_ns
    assert erase_from_file(open_root(tmp_path), path.name, forgotten) == 0
    assert path.stat().st_mtime_ns == before
    lists = [[{"id": "a", "n": 1}, {"id": "b", "n": 2}], [], None, [{"id": "c", "n": 3}]]
    pq.write_table(pa.table({"t.documents": lists, "pictures": [[b"x"], [], [], []], "value": [1, 2, 3, 4]}), path)
    assert naming(pq.read_schema(path)) == ["t.documents"]
    ids, rows = documents_of(pq.read_table(path)["t.documents"])
    assert (ids.to_pylist(), rows.tolist()) == (["a", "b", "c"], [0, 0, 3])
    assert erase_from_file(open_root(tmp_path), path.name, forgotten) == 1
    assert pq.read_table(path)["value"].to_pylist() == [2, 3, 4]
    pq.write_table(pa.table({"value": [1], "names": [["b"]], "one": [{"x": "b"}]}), path)
    assert erase_from_file(open_root(tmp_path), path.name, forgotten) == 0
    assert erase_from_file(open_root(tmp_path), "absent.parquet", forgotten) == 0


class TestTwoCopies:
    """A list that disappeared would let every forgotten document back in."""

    @pytest.fixture
    def forgotten(self, tmp_path):
        forgotten = Forgotten().with_ids(IDS)
        forgotten.save(open_root(tmp_path))
        return forgotten

    @pytest.mark.parametrize("name", [FILE, COPY])
    @pytest.mark.parametrize("data", [b"", b"{}", b"{", b"PAR1", None])
    def test_one_copy_is_enough_and_restores_the_other(self, forgotten, tmp_path, name, data):
        before = (tmp_path / name).read_bytes()
        (tmp_path / name).unlink() if data is None else (tmp_path / name).write_bytes(data)
        assert Forgotten.load(open_root(tmp_path)) == forgotten
        assert Forgotten.damaged(open_root(tmp_path)) == [name]
        assert Forgotten.restore(open_root(tmp_path)) == [name]
        assert (tmp_path / name).read_bytes() == before
        assert Forgotten.damaged(open_root(tmp_path)) == Forgotten.restore(open_root(tmp_path)) == []

    def test_every_changed_byte_of_either_is_found(self, forgotten, tmp_path):
        for name in (FILE, COPY):
            data = (tmp_path / name).read_bytes()
            for place in range(0, len(data), 7):
                (tmp_path / name).write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
                assert Forgotten.damaged(open_root(tmp_path)) == [name]
                assert Forgotten.load(open_root(tmp_path)) == forgotten
            (tmp_path / name).write_bytes(data)

    def test_after_a_kill_between_the_two_the_longer_one_counts(self, forgotten, tmp_path):
        """Nothing ever leaves the list."""
        older = (tmp_path / COPY).read_bytes()
        longer = forgotten.with_ids(["one more"])
        longer.save(open_root(tmp_path))
        (tmp_path / COPY).write_bytes(older)
        assert Forgotten.load(open_root(tmp_path)) == longer
        assert Forgotten.damaged(open_root(tmp_path)) == [COPY]
        Forgotten.restore(open_root(tmp_path))
        assert Forgotten.load(open_root(tmp_path)) == longer
        assert Forgotten.damaged(open_root(tmp_path)) == []

    @pytest.mark.parametrize("data", [None, b""])
    def test_with_both_lost_nothing_goes_on_but_forgetting_as_many_again(self, forgotten, tmp_path, data):
        for name in (FILE, COPY):
            (tmp_path / name).unlink() if data is None else (tmp_path / name).write_bytes(data)
        assert Forgotten.damaged(open_root(tmp_path)) == [FILE, COPY]
        for attempt in (Forgotten.load, Forgotten.restore, lambda root: Forgotten.load(root, again=IDS[:4])):
            with pytest.raises(DataError, match=r"forgotten.json.*5 .*backup.*fuseline forget .*--missing-ok"):
                attempt(open_root(tmp_path))
        again = Forgotten.load(open_root(tmp_path), again=IDS).with_ids(IDS)
        assert "doc-1" in again
        again.save(open_root(tmp_path))
        assert Forgotten.load(open_root(tmp_path)) == again

    def test_an_older_list_is_no_list(self, forgotten, tmp_path):
        older = {name: (tmp_path / name).read_bytes() for name in (FILE, COPY)}
        forgotten.with_ids(["one more"]).save(open_root(tmp_path))
        for name, data in older.items():
            (tmp_path / name).write_bytes(data)
        with pytest.raises(DataError, match=r"forgotten.json: expected .*6 .*got '5 of them'; "):
            Forgotten.load(open_root(tmp_path))
        assert Forgotten.damaged(open_root(tmp_path)) == [FILE, COPY]

    def test_nobody_else_may_read_them_at_any_time(self, tmp_path, monkeypatch):
        modes, real = [], Path.replace

        def replace(self, target):
            modes.append(self.stat().st_mode & 0o777)
            return real(self, target)

        monkeypatch.setattr(Path, "replace", replace)
        before = os.umask(0o022)
        try:
            Forgotten().with_ids(["a"]).save(open_root(tmp_path))
            for name in (FILE, COPY):
                (tmp_path / name).chmod(0o644)  # as an earlier version left it
            Forgotten.load(open_root(tmp_path)).with_ids(["b"]).save(open_root(tmp_path))
        finally:
            os.umask(before)
        assert [mode for mode in modes if mode != 0o644] == [0o600] * 4
        assert [(tmp_path / name).stat().st_mode & 0o777 for name in (FILE, COPY)] == [0o600, 0o600]

    def test_they_are_private_from_their_first_byte(self, tmp_path):
        """A file that is made first and closed later can be opened in between."""
        real, made = os.open, []

        def opened(path, flags, mode=0o777, **options):
            handle = real(path, flags, mode, **options)
            if flags & os.O_CREAT and ".forgotten" in str(path):
                made.append(os.fstat(handle).st_mode & 0o777)
            return handle

        with mock.patch.object(os, "open", opened):
            Forgotten().with_ids(["a"]).save(open_root(tmp_path))
        assert made == [0o600, 0o600]
