"""The list of forgotten documents: hashes that outlive the ids."""

import blake3
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stores.errors import DataError
from stores.forgotten import FILE, Forgotten, documents_of, erase_from_file, naming

IDS = ["doc-1", "日本語", "", "a\nb", "x" * 5000]


def test_a_list_comes_back_without_the_ids(tmp_path):
    assert len(Forgotten.load(tmp_path)) == 0
    forgotten = Forgotten.load(tmp_path).with_ids(IDS)
    forgotten.save(tmp_path)
    data = (tmp_path / FILE).read_bytes()
    assert Forgotten.load(tmp_path) == forgotten
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
        Forgotten.load(tmp_path)


def test_rows_go_from_a_file_and_only_those(tmp_path):
    path, forgotten = tmp_path / "x.parquet", Forgotten().with_ids(["b"])
    pq.write_table(pa.table({"id": ["a", "b", None], "n": [1, 2, 3]}), path)
    assert erase_from_file(path, forgotten) == 1
    assert pq.read_table(path).to_pylist() == [{"id": "a", "n": 1}, {"id": None, "n": 3}]
    before = path.stat().st_mtime_ns
    assert erase_from_file(path, forgotten) == 0
    assert path.stat().st_mtime_ns == before
    lists = [[{"id": "a", "n": 1}, {"id": "b", "n": 2}], [], None, [{"id": "c", "n": 3}]]
    pq.write_table(pa.table({"t.documents": lists, "pictures": [[b"x"], [], [], []], "value": [1, 2, 3, 4]}), path)
    assert naming(pq.read_schema(path)) == ["t.documents"]
    ids, rows = documents_of(pq.read_table(path)["t.documents"])
    assert (ids.to_pylist(), rows.tolist()) == (["a", "b", "c"], [0, 0, 3])
    assert erase_from_file(path, forgotten) == 1
    assert pq.read_table(path)["value"].to_pylist() == [2, 3, 4]
    pq.write_table(pa.table({"value": [1], "names": [["b"]], "one": [{"x": "b"}]}), path)
    assert erase_from_file(path, forgotten) == erase_from_file(tmp_path / "absent.parquet", forgotten) == 0
