"""The contract of every layout, in every place."""

import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from fuseline.stores.errors import DamagedError, DataError
from fuseline.stores.layouts import zarr
from fuseline.stores.layouts.parquet import ParquetStore
from fuseline.stores.layouts.zarr import ZarrStore
from fuseline.stores.manifest import FileRecord
from fuseline.stores.places import PLACES, open_root
from fuseline.stores.places.local import LocalRoot
from fuseline.stores.store import LAYOUTS, Store, open_store

IDS = ["a", "a/b", "../../etc/passwd", "", " ", "日本語", "\U0001f600", "e\u0301", "C:\\x", "x" * 1000]


def flat_table(ids: list[str]) -> pa.Table:
    """Return a table of every kind of column that all stores hold."""
    n = len(ids)
    vectors = pa.array([float(i) / 3 for i in range(n * 3)], pa.float32())
    return pa.table(
        {
            "id": pa.array(ids, pa.string()),
            "present": pa.array([i % 2 == 0 for i in range(n)], pa.bool_()),
            "embedding": pa.FixedSizeListArray.from_arrays(vectors, 3),
            "codes": pa.FixedSizeListArray.from_arrays(pa.array([i % 256 for i in range(n * 2)], pa.uint8()), 2),
            "words": pa.array(range(n), pa.int32()),
            "row_inputs": pa.array([bytes([i % 256]) * 16 for i in range(n)], pa.binary(16)),
        }
    )


def ragged_table() -> pa.Table:
    """Return nulls, lists and structs."""
    place = pa.struct([("uri", pa.string()), ("bytes", pa.large_binary())])
    return pa.table(
        {
            "id": ["a", "b", "c"],
            "title": pa.array(["", None, "é"], pa.string()),
            "labels": pa.array([[], None, ["x", None]], pa.list_(pa.string())),
            "image": pa.array([None, {"uri": None, "bytes": b"\x00"}, {"uri": "a/b.jpg", "bytes": None}], place),
        }
    )


class StoreContract:
    """What every store must do; a subclass supplies the store and raw access behind its back."""

    layout: str
    kind: type[object]

    @pytest.fixture(params=list(PLACES))
    def store(self, request: pytest.FixtureRequest, tmp_path: Path) -> Store:
        return open_store(self.layout, open_root(f"{request.param}://{tmp_path}/place").at("data"))

    def raw(self, store: Store, file: str) -> bytes:
        return store.folder.get(file)

    def put(self, store: Store, file: str, data: bytes | None) -> None:
        store.folder.delete(file) if data is None else store.folder.put(file, data)

    def test_is_opened_by_its_name(self, store):
        assert type(store) is self.kind

    def test_returns_what_was_written(self, store):
        table = flat_table(IDS)
        files = store.write("000000-abc", table)
        read = store.read("000000-abc", files, None)
        assert read.column_names == table.column_names
        assert read.schema.types == table.schema.types
        assert read.to_pylist() == table.to_pylist()

    def test_keeps_what_a_column_s_field_says(self, store):
        vectors = pa.FixedSizeListArray.from_arrays(pa.array([1, 2, 3, 4], pa.float32()), 2)
        schema = pa.schema([pa.field("id", pa.string()), pa.field("logits", vectors.type, metadata={"labels": "[é]"})])
        table = pa.Table.from_arrays([pa.array(["a", "b"]), vectors], schema=schema)
        for columns in (None, ("logits",)):
            read = store.read("s", store.write("s", table), columns)
            assert read.schema.field("logits").metadata[b"labels"] == "[é]".encode()

    def test_returns_columns_in_the_order_asked_for(self, store):
        table = flat_table(IDS)
        files = store.write("s", table)
        read = store.read("s", files, ("words", "id"))
        assert read.column_names == ["words", "id"]
        assert read.to_pylist() == table.select(["words", "id"]).to_pylist()

    def test_a_slice_is_written_as_its_rows_alone(self, store):
        table = flat_table(IDS).slice(2, 3)
        files = store.write("s", table)
        assert store.read("s", files, None).to_pylist() == table.to_pylist()

    def test_chunks_make_no_difference(self, store):
        table = flat_table(IDS)
        chunked = pa.concat_tables([table.slice(0, 1), table.slice(1, 0), table.slice(1)])
        files = store.write("s", chunked)
        assert store.read("s", files, None).to_pylist() == table.to_pylist()

    def test_no_rows_are_a_shard_too(self, store):
        table = flat_table([])
        files = store.write("s", table)
        read = store.read("s", files, None)
        assert read.num_rows == 0
        assert read.schema.types == table.schema.types
        assert store.has(files)
        assert store.damaged(files) == []

    def test_equal_tables_give_equal_files(self, store):
        first = store.write("s", flat_table(IDS))
        assert store.write("s", flat_table(IDS)) == first
        assert store.read("s", first, ("id",)).num_rows == len(IDS)

    def test_versions_lie_side_by_side(self, store):
        old = store.write("000000-old", flat_table(["a"]))
        new = store.write("000000-new", flat_table(["b"]))
        assert store.read("000000-old", old, ("id",)).to_pylist() == [{"id": "a"}]
        assert store.read("000000-new", new, ("id",)).to_pylist() == [{"id": "b"}]
        assert store.names() == ["000000-new", "000000-old"]
        assert store.written("000000-new") > store.written("000000-old")
        assert (store.files("000000-new"), store.files("000000-old")) == (new, old)
        assert store.files("000000-never") == {}

    def test_delete_removes_one_shard(self, store):
        files, others = store.write("a", flat_table(["a"])), store.write("b", flat_table(["b"]))
        store.delete("a")
        store.delete("a")
        assert not store.has(files)
        assert store.damaged(files)
        assert store.names() == ["b"]
        assert store.has(others)
        with pytest.raises(DamagedError, match=r"missing.*fuseline repair"):
            store.read("a", files, None)

    def test_an_empty_store_has_no_shards(self, store):
        assert store.names() == []
        store.delete("never")

    def test_every_recorded_file_is_there_with_its_size(self, store):
        files = store.write("s", flat_table(IDS))
        assert files
        assert all(len(self.raw(store, file)) == record.size for file, record in files.items())

    def test_a_changed_byte_is_found(self, store):
        files = store.write("s", flat_table(IDS))
        file = self.largest(files)
        data = bytearray(self.raw(store, file))
        data[len(data) // 2] ^= 1
        self.put(store, file, bytes(data))
        assert store.has(files)
        assert store.damaged(files) == [file]
        with pytest.raises(DamagedError, match="fuseline repair"):
            store.read("s", files, None)

    def test_a_byte_changed_after_a_read_is_found_by_the_next(self, store):
        files = store.write("s", flat_table(IDS))
        store.read("s", files, None)
        self.test_a_changed_byte_is_found(store)

    def test_a_cut_file_is_found(self, store):
        files = store.write("s", flat_table(IDS))
        file = self.largest(files)
        self.put(store, file, self.raw(store, file)[:-1])
        assert not store.has(files)
        assert store.damaged(files) == [file]
        with pytest.raises(DamagedError):
            store.read("s", files, None)

    def test_a_lost_file_is_found(self, store):
        files = store.write("s", flat_table(IDS))
        file = self.largest(files)
        self.put(store, file, None)
        assert not store.has(files)
        assert store.damaged(files) == [file]
        with pytest.raises(DamagedError):
            store.read("s", files, None)

    @pytest.mark.parametrize("read_before", [False, True])
    def test_another_digest_in_the_record_is_refused(self, store, read_before):
        files = store.write("s", flat_table(IDS))
        if read_before:
            store.read("s", files, None)
        file = self.largest(files)
        wrong = {**files, file: FileRecord(files[file].size, "blake3:" + "0" * 64)}
        assert store.damaged(wrong) == [file]
        with pytest.raises(DamagedError):
            store.read("s", wrong, None)

    def largest(self, files: dict[str, FileRecord]) -> str:
        return max(files, key=lambda file: files[file].size)


class HoldsRagged:
    """Stores that hold nulls, lists and structs."""

    def test_holds_nulls_lists_and_structs(self, store):
        table = ragged_table()
        files = store.write("s", table)
        read = store.read("s", files, None)
        assert read.schema.types == table.schema.types
        assert read.to_pylist() == table.to_pylist()


class TestParquet(StoreContract, HoldsRagged):
    layout, kind = "parquet", ParquetStore


class TestZarr(StoreContract):
    layout, kind = "zarr", ZarrStore

    def test_refuses_nulls_naming_the_column(self, store):
        with pytest.raises(DataError, match=r"column title: .*no nulls, got 1"):
            store.write("s", pa.table({"id": ["a"], "title": pa.array([None], pa.string())}))
        assert store.names() == []

    def test_a_column_is_read_though_another_is_damaged(self, store):
        files = store.write("s", flat_table(IDS))
        broken = next(file for file in files if "/embedding/c/" in file)
        self.put(store, broken, b"")
        assert store.read("s", files, ("id", "codes")).num_rows == len(IDS)
        with pytest.raises(DamagedError):
            store.read("s", files, ("id", "embedding"))

    def test_bytes_are_mapped_chunk_by_chunk_and_outlive_their_files(self, store, monkeypatch):
        """A shard of pictures may be larger than memory allows."""
        monkeypatch.setattr(zarr, "CHUNK_BYTES", 2 << 20)
        values = np.random.default_rng(0).integers(0, 256, (11, 1 << 20), np.uint8)
        values[4:6] = 0  # Zarr writes no file for these
        pictures = pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), values.shape[1])
        files = store.write("s", pa.table({"id": [str(n) for n in range(11)], "pixels": pictures}))
        store.read("s", files, ("pixels",))  # its digests were compared
        before = pa.total_allocated_bytes()
        tracemalloc.start()
        read = store.read("s", files, ("pixels",))["pixels"]
        allocated = tracemalloc.get_traced_memory()[1] + pa.total_allocated_bytes() - before
        tracemalloc.stop()
        assert read.num_chunks == 6
        if isinstance(store.folder, LocalRoot):
            assert allocated < 3 << 20  # the zeros
        store.delete("s")
        assert (np.asarray(read.combine_chunks().flatten()).reshape(values.shape) == values).all()


def test_every_layout_is_under_the_contract():
    assert {test.layout for test in StoreContract.__subclasses__()} == set(LAYOUTS)


def test_only_the_layout_that_is_opened_is_imported(tmp_path: Path) -> None:
    """Zarr takes a fifth of a second to import, in every worker."""
    script = (
        "import sys\nfrom fuseline.stores.places import open_root\nfrom fuseline.stores.store import open_store\n"
        f"open_store('parquet', open_root({str(tmp_path)!r}))\nassert 'zarr' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
