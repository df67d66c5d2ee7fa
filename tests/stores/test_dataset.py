"""Datasets: bytes first, then the record; a reader never meets half of a shard."""

import errno
from contextlib import suppress
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from faults import Killed, caught, failing

from fuseline.stores.dataset import ROW_INPUTS, Dataset, changed_rows, check_aligned, check_ids, list_datasets
from fuseline.stores.digests import cell_digests, row_digests
from fuseline.stores.errors import AlignmentError, DamagedError, DataError, StorageError
from fuseline.stores.layouts.files import record_file
from fuseline.stores.manifest import FileRecord, Manifest
from fuseline.stores.places import open_root
from fuseline.stores.root import Root


def dataset(root: Root, layout: str = "parquet", **changes: object) -> Dataset:
    values = {"stage": "embed/x", "version": 1, "config": {"a": 1}, "upstream": {}, "layout": layout, **changes}
    return Dataset(root, Manifest(**values))


def table(*values: int, status: str = "ok") -> pa.Table:
    n = len(values)
    return pa.table({"id": [f"d{v}" for v in values], "status": [status] * n, "value": pa.array(values, pa.int64())})


layouts = pytest.mark.parametrize("layout", ["parquet", "zarr"])


@layouts
def test_a_committed_shard_is_read_by_anyone(layout, tmp_path):
    assert not dataset(open_root(tmp_path), layout).exists()
    assert dataset(open_root(tmp_path), layout).record(0) is None
    assert dataset(open_root(tmp_path), layout).written() == 0
    record = dataset(open_root(tmp_path), layout).commit(0, table(1, 2), {"up": "x"})
    again = dataset(open_root(tmp_path), layout)
    assert again.exists()
    assert again.written() > 0
    assert again.records() == {0: record}
    assert again.read(record).to_pylist() == table(1, 2).to_pylist()
    assert again.read(record, ("value",)).to_pylist() == [{"value": 1}, {"value": 2}]
    assert record.inputs == {"up": "x"}
    assert record.tallies == {"status": {"ok": 2}}


def test_records_come_in_order_of_shards(tmp_path):
    data = dataset(open_root(tmp_path))
    for index in (10, 2, 1_000_001, 0):
        data.commit(index, table(index), {})
    assert list(data.records()) == [0, 2, 10, 1_000_001]


def test_the_name_follows_the_content(tmp_path):
    data = dataset(open_root(tmp_path))
    first, other = data.commit(0, table(1), {}), data.commit(0, table(2), {})
    assert first.name != other.name
    assert first.digest(("status",)) != other.digest(("status",))
    assert data.commit(0, table(1), {}).name == first.name
    renamed = table(1).rename_columns(["id", "status", "worth"])  # still the last by name
    assert data.commit(0, renamed, {}).name != first.name
    other_document = table(1).set_column(0, "id", pa.array(["d2"]))
    assert data.commit(0, other_document, {}).name != first.name


def test_digests_are_counted_by_what_they_are_of(tmp_path):
    images = pa.table({"id": ["a", "b", "c"], "image_digest": ["file:0f", "file:1e", "no_image"]})
    assert dataset(open_root(tmp_path)).commit(0, images, {}).tallies == {"image_digest": {"file": 2, "no_image": 1}}


def test_row_inputs_name_a_version_but_are_no_content(tmp_path):
    def with_inputs(byte: bytes) -> pa.Table:
        return table(1).append_column("row_inputs", pa.array([byte * 16], pa.binary(16)))

    data = dataset(open_root(tmp_path))
    first, other = data.commit(0, with_inputs(b"a"), {}), data.commit(0, with_inputs(b"b"), {})
    assert first.name != other.name
    assert first.digest() == other.digest()
    assert "row_inputs" not in first.columns


def test_a_shard_of_other_length_than_its_record_is_damaged(tmp_path):
    data = dataset(open_root(tmp_path))
    record = data.commit(0, table(1, 2), {})
    with pytest.raises(DamagedError, match="2 rows, not 3"):
        data.read(replace(record, n_rows=3))


def test_recommit_changes_the_inputs_alone(tmp_path):
    data = dataset(open_root(tmp_path))
    record = data.commit(0, table(1), {"up": "x"})
    assert data.recommit(record, {"up": "y"}) == replace(record, inputs={"up": "y"}) == data.record(0)


@layouts
def test_a_lost_record_is_made_again_from_the_bytes(layout, tmp_path):
    data = dataset(open_root(tmp_path), layout)
    data.commit(0, table(1, 2), {})
    record, other = data.commit(0, table(3), {}), data.commit(1, table(4), {"up": "x"})
    path = data.folder.local() / data.record_name(0)
    for damaged in (path.read_bytes()[:-9], b"", None):
        path.unlink() if damaged is None else path.write_bytes(damaged)
        assert data.lost_records() == [0]
        assert data.readable_records() == {1: other}
        assert dataset(open_root(tmp_path), layout).recover(0) == record
        assert data.records() == {0: record, 1: other}
    assert data.recover(1) == replace(other, inputs={})


def test_a_record_that_is_damaged_is_lost_though_its_bytes_are_gone_too(tmp_path):
    data = dataset(open_root(tmp_path))
    record = data.commit(3, table(1), {})
    data.store.delete(record.name)
    (data.folder.local() / data.record_name(3)).write_bytes(b"{")
    assert data.lost_records() == [3]
    assert data.indices() == {3}


@layouts
def test_no_record_is_made_of_damaged_or_older_bytes(layout, tmp_path):
    data = dataset(open_root(tmp_path), layout)
    data.commit(0, table(1, 2), {})
    record = data.commit(0, table(3, status="bad"), {})
    newest = max(data.store.files(record.name), key=lambda file: (data.folder.local() / file).stat().st_size)
    raw = bytearray((data.folder.local() / newest).read_bytes())
    raw[len(raw) // 2] ^= 255
    (data.folder.local() / newest).write_bytes(raw)
    before = (data.folder.local() / data.record_name(0)).read_bytes()
    assert data.recover(0) is None
    assert (data.folder.local() / data.record_name(0)).read_bytes() == before
    assert data.recover(5) is None


@layouts
def test_no_harm_to_the_bytes_ends_in_a_traceback(layout, tmp_path):
    """Bytes without a record are read without a digest to compare them with: libraries raise anything over them."""
    data = dataset(open_root(tmp_path), layout)
    record = data.commit(0, table(1, 2), {})
    (data.folder.local() / data.record_name(0)).unlink()
    for name in record.files:
        path = data.folder.local() / name
        whole = path.read_bytes()
        for place in range(0, len(whole), max(1, len(whole) // 50)):
            for harmed in (whole[:place], whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :]):
                path.write_bytes(harmed)
                found = data.recoverable(0)
                assert found is None or found.columns == record.columns
        path.write_bytes(whole)
    assert data.recoverable(0) == record


def test_superseded_shards_are_told_from_other_files(tmp_path):
    """Lists of documents lie beside their shards: tidying once took them for shards that nothing names."""
    data = dataset(open_root(tmp_path))
    old = data.commit(0, table(1), {})
    data.commit(0, table(2), {})
    (data.folder.local() / "quarantine.parquet").write_bytes(b"")
    assert data.superseded() == [old.name]
    (data.folder.local() / data.record_name(0)).unlink()
    assert data.superseded() == []  # nobody can say which is the last: neither may be removed
    data.drop(0)
    assert data.store.names() == ["quarantine"]


def test_drop_drops_the_record(tmp_path):
    data = dataset(open_root(tmp_path))
    data.commit(0, table(1), {})
    data.drop(0)
    data.drop(0)
    assert data.records() == {}


def test_a_healthy_shard_is_not_written_again(tmp_path):
    """A Zarr folder is replaced in two renames: a kill between them would lose a shard that was there."""
    data = dataset(open_root(tmp_path), "zarr")
    record = data.commit(0, table(1), {})
    before = (data.folder.local() / f"{record.name}.zarr").stat().st_ino
    assert data.commit(0, table(1), {"up": "new"}).inputs == {"up": "new"}
    assert (data.folder.local() / f"{record.name}.zarr").stat().st_ino == before
    next((data.folder.local() / f"{record.name}.zarr").rglob("0")).unlink()
    repaired = data.commit(0, table(1), {})
    assert data.store.damaged(repaired.files) == []


@layouts
@pytest.mark.parametrize("same", [False, True])
@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("error", [Killed(), KeyboardInterrupt(), OSError(errno.ENOSPC, "No space left")], ids=repr)
def test_a_failure_at_any_call_leaves_the_old_shard_or_the_new(layout, same, after, error, tmp_path):
    old, new = table(1, 2), table(1, 2) if same else table(3)
    for calls in range(1, 300, 1 if layout == "parquet" else 5):
        root = open_root(tmp_path / str(calls))
        dataset(root, layout).commit(0, old, {"up": "old"})
        with failing(calls, error, after=after) as countdown:
            raised = caught(lambda root=root: dataset(root, layout).commit(0, new, {"up": "new"}))
        assert raised is None or isinstance(raised, StorageError | Killed | KeyboardInterrupt)
        data = dataset(root, layout)
        record = data.record(0)
        assert record is not None
        assert record.inputs["up"] in ("old", "new")
        assert data.store.damaged(record.files) == []
        assert data.read(record).to_pylist() == (old if record.inputs["up"] == "old" else new).to_pylist()
        if not countdown.fired:
            break
        assert len(data.store.names()) <= 2
        data.commit(0, new, {"up": "new"})
        assert data.read(data.record(0)).to_pylist() == new.to_pylist()
    assert 3 < calls < 290


@layouts
@pytest.mark.parametrize("after", [False, True])
def test_a_kill_at_any_call_of_the_first_commit_leaves_no_record_without_bytes(layout, after, tmp_path):
    for calls in range(1, 300, 1 if layout == "parquet" else 3):
        root = open_root(tmp_path / str(calls))
        with failing(calls, Killed(), after=after) as countdown, suppress(Killed):
            dataset(root, layout).commit(0, table(1), {})
        data = dataset(root, layout)
        record = data.record(0)
        assert record is None or data.store.damaged(record.files) == []
        assert [d.key for d in list_datasets(root)] == ([data.key] if data.exists() else [])
        if not countdown.fired:
            break
    assert 3 < calls < 290


def test_list_datasets_finds_every_key_and_passes_over_strangers(tmp_path):
    wanted = [
        dataset(open_root(tmp_path)),
        dataset(open_root(tmp_path), config={"a": 2}),
        dataset(open_root(tmp_path), stage="clean"),
    ]
    for data in wanted:
        data.commit(0, table(1), {})
    strange = tmp_path / "other" / "key"
    strange.mkdir(parents=True)
    (strange / "manifest.json").write_bytes(b'{"manifest_version": 3}')
    assert {data.folder for data in list_datasets(open_root(tmp_path))} == {data.folder for data in wanted}
    assert list_datasets(open_root(tmp_path / "absent")) == []


def test_shards_of_other_documents_are_not_read_together(tmp_path):
    data = dataset(open_root(tmp_path))
    one, same, other = data.commit(0, table(1, 2), {}), data.commit(0, table(1, 2), {}), data.commit(0, table(2, 1), {})
    check_aligned({"a": one, "b": same})
    with pytest.raises(AlignmentError, match="shard 0: a and c hold different documents; run `fuseline run` again"):
        check_aligned({"a": one, "b": same, "c": other})


@pytest.mark.parametrize(
    ("expected", "got"), [(["a"], []), ([], ["a"]), (["a", "b"], ["b", "a"]), (["a"], ["A"]), (["a"], [None])]
)
def test_a_stage_must_return_the_rows_it_was_given(expected, got):
    with pytest.raises(AlignmentError, match="clean: returned other rows"):
        check_ids("clean", ids(expected), ids(got))
    check_ids("clean", ids(expected), ids(expected))


def ids(values: list[str | None]) -> pa.ChunkedArray:
    return pa.chunked_array([pa.array(values, pa.string())])


def test_rows_are_reused_by_id_and_inputs():
    before = pa.table({"id": ["a", "b", "c", "d"], "text": ["1", "2", "3", "4"]})
    before = before.append_column("row_inputs", inputs_of(before))
    now = pa.table({"id": ["d", "x", "b", "a", "c"], "text": ["4", "1", "2", "changed", "3"]})
    reused = changed_rows(before, now["id"], row_digests(now, ["text"]))
    assert reused.tolist() == [3, -1, 1, -1, 2]
    assert changed_rows(None, now["id"], row_digests(now, ["text"])).tolist() == [-1] * 5
    assert changed_rows(before, now["id"].slice(0, 0), np.zeros((0, 16), np.uint8)).tolist() == []


def inputs_of(rows: pa.Table) -> pa.Array:
    return pa.array([digest.tobytes() for digest in cell_digests(rows["text"])], pa.binary(16))


def test_a_wrong_file_record_is_damage(tmp_path):
    data = dataset(open_root(tmp_path))
    record = data.commit(0, table(1), {})
    wrong = replace(record, files={name: FileRecord(f.size + 1, f.digest) for name, f in record.files.items()})
    with pytest.raises(DamagedError):
        data.read(wrong)


def test_a_broken_record_is_a_data_error_that_names_the_cure(tmp_path):
    data = dataset(open_root(tmp_path))
    data.commit(0, table(1), {})
    next((data.folder.local() / "shards").iterdir()).write_bytes(b"{")
    with pytest.raises(DataError, match="fuseline repair"):
        data.records()


def test_files_beside_a_shard_are_part_of_its_record_and_of_its_damage(tmp_path):
    data = dataset(open_root(tmp_path))
    data.commit(0, table(1), {})
    (data.folder.local() / "ids").write_bytes(b"d1")
    beside = {"ids": record_file(data.folder, "ids")}
    record = data.commit(0, table(1), {}, beside=beside)
    assert data.record(0).beside == record.beside == beside
    assert data.recommit(record, {"up": "y"}) == data.record(0) == replace(record, inputs={"up": "y"})
    assert data.damaged(data.record(0)) == []
    (data.folder.local() / "ids").write_bytes(b"d2")
    assert data.damaged(data.record(0)) == ["ids"]
    assert data.recommit(record, {}, beside={}).beside == data.record(0).beside == {}
    assert data.damaged(data.record(0)) == []
    data.recommit(record, {})
    data.store.delete(record.name)
    assert len(data.damaged(data.record(0))) == 2


@pytest.mark.parametrize("rows", [(1,), (1, 2, 3)])
def test_a_shard_has_as_many_rows_as_its_record_says(tmp_path, rows):
    data = dataset(open_root(tmp_path))
    record = data.commit(0, table(*rows), {})
    with pytest.raises(DamagedError, match=f"has {len(rows)} rows, not 2"):
        data.read(replace(record, n_rows=2))


def test_rows_are_reused_by_the_inputs_of_their_own_id():
    digests = [bytes([n]) * 16 for n in (1, 2, 3)]
    before = pa.table({"id": ["a", "b", "c"], ROW_INPUTS: pa.array(digests, pa.binary(16))})
    now = np.frombuffer(b"".join([digests[2], digests[1], digests[1]]), np.uint8).reshape(3, 16)
    assert changed_rows(before, pa.chunked_array([["c", "b", "a"]]), now).tolist() == [2, 1, -1]
