"""What lies beside and below the documents is lost or damaged, and comes back in its place."""

import os
import shutil

import pytest
from drive import aligned, content, counts, documents, ids_of, nodes, record_path, run, shard_file

from fuseline.stores.errors import DamagedError
from fuseline.tasks.documents.ingest import ingest_quarantine
from fuseline.tasks.engine.planner import PlanOptions, plan_node
from fuseline.tasks.readers import READERS


@pytest.mark.parametrize("node", ["clean", "vector"])
def test_an_empty_shard_that_is_lost_is_made_again(source, root, node):
    wanted = nodes(source.write(documents(25)))
    run(wanted, root)
    source.write(documents(25)[10:])
    run(wanted, root)
    dataset = getattr(wanted, node).dataset(root)
    dataset.store.delete(dataset.record(0).name)
    run(wanted, root)
    assert dataset.store.has(dataset.record(0).files)
    assert run(wanted, root) == {}


@pytest.mark.parametrize("harm", ["lost", "cut"])
def test_a_lost_shard_is_made_again_in_place(source, root, harm):
    wanted = nodes(source.write(documents(25)))
    run(wanted, root)
    ids, kept = ids_of(wanted.documents, root), content(wanted.documents, root)
    file = shard_file(wanted.documents, root, 1)
    if harm == "lost":
        file.unlink()
    else:
        file.write_bytes(b"")
    plan = plan_node(wanted.documents, root, PlanOptions())
    assert plan.missing == {1: "its file is missing"}
    assert counts(run(wanted, root)) == {"documents/x": (1, 10, 0)}
    assert ids_of(wanted.documents, root) == ids
    assert content(wanted.documents, root) == kept


def test_a_lost_shard_is_in_its_order_whatever_that_of_the_source(source, root):
    wanted = nodes(source.write(documents(25)))
    run(wanted, root)
    ids, kept = ids_of(wanted.documents, root), content(wanted.documents, root)
    shard_file(wanted.documents, root, 1).unlink()
    source.write(reversed(documents(25)))
    run(wanted, root)
    assert ids_of(wanted.documents, root) == ids
    assert content(wanted.documents, root) == kept


def test_new_documents_never_take_the_place_of_another_shard(source, root):
    """The first shard and all that tells of it are gone: its number is free, that of the last is not."""
    wanted = nodes(source.write(documents(25)))
    run([wanted.documents], root)
    ids, dataset = ids_of(wanted.documents, root), wanted.documents.dataset(root)
    shard_file(wanted.documents, root, 0).unlink()
    record_path(wanted.documents, root, 0).unlink()
    (dataset.folder.local() / "rows" / "000000.parquet").unlink()
    (dataset.folder.local() / "state.json").unlink()
    assert plan_node(wanted.documents, root, PlanOptions()).missing == {3: "new documents"}
    run([wanted.documents], root)
    assert ids_of(wanted.documents, root) == {1: ids[1], 2: ids[2], 3: ids[0]}
    assert plan_node(wanted.documents, root, PlanOptions()).missing == {0: "its record is lost"}
    run([wanted.documents], root)
    assert ids_of(wanted.documents, root) == {0: [], 1: ids[1], 2: ids[2], 3: ids[0]}
    assert run([wanted.documents], root) == {}


def test_a_lost_shard_some_of_whose_documents_are_gone_too(source, root):
    wanted = nodes(source.write(documents(25)))
    run(wanted, root)
    shard_file(wanted.documents, root, 1).unlink()
    source.write(d for d in documents(30) if d["id"] != "d15")
    run(wanted, root)
    assert ids_of(wanted.documents, root)[1] == [f"d{i}" for i in range(10, 20) if i != 15]
    assert len(content(wanted.predictions, root)) == 29
    assert aligned(wanted, root)


def test_a_lost_shard_all_of_whose_documents_are_gone_is_empty(source, root):
    wanted = nodes(source.write(documents(25)))
    run(wanted, root)
    shard_file(wanted.documents, root, 1).unlink()
    source.write(d for d in documents(25) if int(d["id"][1:]) not in range(10, 20))
    run(wanted, root)
    assert ids_of(wanted.documents, root)[1] == []
    assert aligned(wanted, root)
    assert run(wanted, root) == {}


def test_a_lost_shard_whose_documents_are_not_known_any_more(source, root):
    """A kill before the list of ids was written, then a lost file: its documents move, and nothing stays broken."""
    wanted = nodes(source.write(documents(25)))
    run(wanted, root)
    shard_file(wanted.documents, root, 1).unlink()
    shutil.rmtree(wanted.documents.dataset(root).folder.local() / "rows")
    plan = plan_node(wanted.documents, root, PlanOptions())
    assert plan.missing == {1: "its file is missing", 3: "new documents"}
    run(wanted, root)
    assert ids_of(wanted.documents, root) == {
        0: [f"d{i}" for i in range(10)], 1: [], 2: [f"d{i}" for i in range(20, 25)], 3: [f"d{i}" for i in range(10, 20)]
    }  # fmt: skip
    assert aligned(wanted, root)
    assert run(wanted, root) == {}


class TestALostRecord:
    """Which documents a shard holds is known from its record alone: one that disappears must be missed."""

    @pytest.fixture
    def wanted(self, source, root):
        wanted = nodes(source.write(documents(25)))
        run(wanted, root)
        return wanted

    @pytest.mark.parametrize("index", [0, 2])
    def test_it_is_planned_and_recovered_without_reading_the_source(self, wanted, root, index, monkeypatch):
        before = wanted.documents.dataset(root).records()
        record_path(wanted.documents, root, index).unlink()
        assert plan_node(wanted.documents, root, PlanOptions()).missing == {index: "its record is lost"}
        monkeypatch.setitem(READERS, "jsonl", READERS["jsonl"]._replace(read=None))
        assert run(wanted, root, look=False) == {}
        assert wanted.documents.dataset(root).records() == before
        assert run(wanted, root) == {}

    @pytest.mark.parametrize("index", [0, 2])
    @pytest.mark.parametrize("harm", ["delete", "cut"])
    def test_without_its_bytes_the_same_documents_come_into_the_same_shard(self, wanted, source, root, index, harm):
        before, path = wanted.documents.dataset(root).records(), shard_file(wanted.documents, root, index)
        record_path(wanted.documents, root, index).unlink()
        path.unlink() if harm == "delete" else path.write_bytes(path.read_bytes()[:-9])
        source.write(documents(27))
        made = counts(run(wanted, root))
        assert ids_of(wanted.documents, root)[index] == [f"d{i}" for i in range(10 * index, min(25, 10 * index + 10))]
        assert ids_of(wanted.documents, root)[3] == ["d25", "d26"]
        assert wanted.documents.dataset(root).record(index) == before[index]
        assert made["clean/text"] == (1, 2, 0)
        assert aligned(wanted, root)
        assert run(wanted, root) == {}

    def test_of_two_versions_the_right_one_is_kept_whatever_the_clock_says(self, wanted, source, root):
        old = shard_file(wanted.documents, root, 1)
        source.write(documents(25, d13="another text"))
        run(wanted, root)
        before = wanted.documents.dataset(root).records()
        os.utime(old, (2_000_000_000, 2_000_000_000))  # the clock went back since
        record_path(wanted.documents, root, 1).unlink()
        run(wanted, root)
        assert wanted.documents.dataset(root).records() == before
        assert content(wanted.documents, root)["d13"]["text"] == "another text"
        assert run(wanted, root) == {}

    def test_an_older_record_put_back_is_noticed(self, wanted, source, root):
        dataset = wanted.documents.dataset(root)
        path = dataset.folder.local() / dataset.record_name(1)
        old = path.read_bytes()
        source.write(documents(25, d13="another text"))
        run(wanted, root)
        path.write_bytes(old)
        run(wanted, root)
        assert content(wanted.documents, root)["d13"]["text"] == "another text"


class TestFilesBeside:
    """Lists beside the documents' shards: of ids, of rows set aside, of the digests of images, and the state."""

    @pytest.fixture
    def wanted(self, source, root):
        rows = [{**row, "image": f"{row['id']}.png"} for row in documents(5)]
        for row in rows:
            (source.path.parent / row["image"]).write_bytes(row["id"].encode())
        wanted = nodes(source.write([*rows, rows[0]]))
        run(wanted, root)
        return wanted

    @pytest.mark.parametrize("name", ["state.json", "images.parquet", "quarantine.parquet"])
    @pytest.mark.parametrize("data", [None, b"", b"[]", b"5", b"PAR1 PAR1"])
    def test_one_that_is_lost_is_written_again_from_the_source(self, wanted, root, name, data):
        path = wanted.documents.dataset(root).folder.local() / name
        before = path.read_bytes()
        path.unlink() if data is None else path.write_bytes(data)
        assert plan_node(wanted.documents, root, PlanOptions()).scan.stale_state
        assert run(wanted, root) == {}
        assert path.read_bytes() == before
        assert plan_node(wanted.documents, root, PlanOptions()).scan is None

    def test_a_changed_byte_is_never_read(self, wanted, source, root):
        folder = wanted.documents.dataset(root).folder.local()
        for name in ("images.parquet", "quarantine.parquet"):
            data = bytearray((folder / name).read_bytes())
            data[len(data) // 2] ^= 1
            (folder / name).write_bytes(data)
        with pytest.raises(DamagedError, match=r"quarantine.parquet: its bytes differ .*fuseline repair"):
            ingest_quarantine(wanted.documents, root)
        source.write(documents(6))
        run(wanted, root)
        assert ingest_quarantine(wanted.documents, root).num_rows == 0

    def test_the_list_of_ids_is_in_the_record_of_its_shard(self, wanted, root):
        dataset = wanted.documents.dataset(root)
        record = dataset.record(0)
        assert dataset.damaged(record) == []
        (dataset.folder.local() / "rows" / "000000.parquet").write_bytes(b"PAR1 PAR1")
        assert dataset.damaged(record) == ["rows/000000.parquet"]

    def test_a_damaged_list_of_ids_is_not_believed(self, wanted, root):
        dataset = wanted.documents.dataset(root)
        (dataset.folder.local() / "rows" / "000000.parquet").write_bytes(b"PAR1 PAR1")
        shard_file(wanted.documents, root, 0).unlink()
        run(wanted, root)
        assert set(content(wanted.documents, root)) == {f"d{i}" for i in range(5)}
        assert aligned(wanted, root)


def test_a_corrupted_shard_is_made_again_when_the_source_changes(source, root):
    wanted = nodes(source.write(documents(25)))
    run(wanted, root)
    ids, file = ids_of(wanted.documents, root), shard_file(wanted.documents, root, 1)
    file.write_bytes(b"\x00" * file.stat().st_size)
    source.write(documents(25, d12="changed"))
    run(wanted, root)
    assert ids_of(wanted.documents, root) == ids
    assert content(wanted.clean, root)["d12"]["text"] == "CHANGED"
    assert wanted.documents.dataset(root).store.damaged(wanted.documents.dataset(root).record(1).files) == []
