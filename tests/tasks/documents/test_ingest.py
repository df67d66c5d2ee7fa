"""A source becomes shards once, and a second look touches only what changed."""

import errno
import os
import shutil
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
import pytest
from drive import Source, aligned, content, counts, documents, nodes, run
from faults import Killed, failing
from hypothesis import given, settings
from hypothesis import strategies as st

from fuseline.stores.errors import ConfigError, DamagedError, DataError, StorageError
from fuseline.tasks.documents.assignment import SplitConfig
from fuseline.tasks.documents.ingest import SourceConfig, ingest_quarantine, scan
from fuseline.tasks.documents.ingest import stage as ingest_stage
from fuseline.tasks.documents.near_duplicates import DuplicatesConfig
from fuseline.tasks.engine.nodes import Ingest
from fuseline.tasks.engine.planner import PlanOptions, plan_node
from fuseline.tasks.readers import READERS


def ids_of(wanted, root) -> dict[int, list[str]]:
    dataset = wanted.documents.dataset(root)
    return {i: dataset.read(r, ("id",))["id"].to_pylist() for i, r in dataset.records().items()}


def shard_file(wanted, root, index: int) -> Path:
    dataset = wanted.documents.dataset(root)
    return dataset.folder / next(iter(dataset.record(index).files))


def test_documents_fill_shards_in_order(source, root):
    wanted = nodes(source.write(documents(25)))
    run([wanted.documents], root)
    assert ids_of(wanted, root) == {
        0: [f"d{i}" for i in range(10)], 1: [f"d{i}" for i in range(10, 20)], 2: [f"d{i}" for i in range(20, 25)]
    }  # fmt: skip
    assert set(content(wanted.documents, root)["d0"]) >= {"split", "labels", "image_digest"}


def test_reordered_lines_change_nothing(source, root):
    wanted = nodes(source.write(documents(25)))
    run(wanted, root)
    source.write(reversed(documents(25)))
    plan = plan_node(wanted.documents, root, PlanOptions())
    assert plan.todo == []
    assert plan.scan.stale_state
    assert run(wanted, root) == {}
    assert plan_node(wanted.documents, root, PlanOptions()).scan is None


def test_a_touched_source_is_read_once(source, root, monkeypatch):
    wanted = nodes(source.write(documents(5)))
    run(wanted, root)
    assert scan(wanted.documents, root) == scan(wanted.documents, root)
    assert not scan(wanted.documents, root).stale_state


def test_a_run_lists_and_reads_its_source_once(source, root, monkeypatch):
    """A plan before the ingest once read the whole source, images too, to say what the ingest would find."""
    entry, calls = READERS["jsonl"], []
    spied = {name: partial(spy, calls, name, getattr(entry, name)) for name in ("files", "read")}
    monkeypatch.setitem(READERS, "jsonl", entry._replace(**spied))
    wanted = nodes(source.write(documents(25)))
    for change in ([], documents(26)):
        if change:
            source.write(change)
        calls.clear()
        assert counts(run([wanted.documents], root, look=False))["documents/x"][0] == (1 if change else 3)
        assert calls == ["files", "read"]
    calls.clear()
    assert run([wanted.documents], root, look=False) == {}
    assert calls == ["files"]


def spy(calls, name, function, *args):
    calls.append(name)
    yield from function(*args)


def test_names_of_images_that_are_no_text_end_no_ingest(tmp_path, root):
    folder = tmp_path / "images"
    folder.mkdir()
    (folder / "a.jpg").write_bytes(b"x")
    Path(os.fsdecode(os.fsencode(folder) + b"/\xff.jpg")).write_bytes(b"y")
    where = SourceConfig(reader="imagefolder", path=str(folder))
    node = ingest_stage("x", where, shard_size=10, split=SplitConfig())
    run([node], root)
    assert list(content(node, root)) == ["a.jpg"]
    assert ingest_quarantine(node, root)["reason"].to_pylist() == ["bad_name"]
    assert run([node], root) == {}


def test_many_changed_documents_are_held_as_tables_not_one_by_one(source, root):
    wanted = nodes(source.write(documents(2000)), shard_size=500)
    run([wanted.documents], root)
    source.write({**d, "text": "new"} for d in documents(2000))
    made = run([wanted.documents], root, look=False)
    assert counts(made) == {"documents/x": (4, 2000, 0)}
    assert {row["text"] for row in content(wanted.documents, root).values()} == {"new"}


def test_an_automatic_shard_size_moves_nobody_and_is_in_no_key(source, root):
    wanted = nodes(source.write(documents(700)), shard_size="auto", workers=2)
    assert run([wanted.documents], root, look=False)
    assert [record.n_rows for record in wanted.documents.dataset(root).records().values()] == [88] * 7 + [84]
    before = content(wanted.documents, root)
    more = nodes(source.write(documents(750)), shard_size="auto", workers=16)  # a night later, on a larger machine
    assert more.documents.key == wanted.documents.key
    assert counts(run([more.documents], root, look=False)) == {"documents/x": (1, 50, 0)}
    assert {i: row for i, row in content(more.documents, root).items() if i in before} == before
    source.write(documents(2000))
    assert [report.n_rows for report in run([wanted.documents], root)["documents/x"]] == [250] * 5


def test_removed_documents_leave_their_neighbours_in_place(source, root):
    wanted = nodes(source.write(documents(25)))
    run(wanted, root)
    source.write(d for d in documents(25) if d["id"] not in ("d0", "d24"))
    made = counts(run(wanted, root))
    assert made["documents/x"] == (2, 0, 13)
    assert made["clean/text"] == (2, 0, 13)
    assert ids_of(wanted, root)[0] == [f"d{i}" for i in range(1, 10)]
    assert aligned(wanted, root)


def test_a_shard_may_lose_all_its_documents(source, root):
    wanted = nodes(source.write(documents(25)))
    run(wanted, root)
    source.write(documents(25)[10:])
    run(wanted, root)
    assert ids_of(wanted, root)[0] == []
    assert aligned(wanted, root)
    assert len(content(wanted.predictions, root)) == 15
    assert run(wanted, root) == {}


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


def test_a_document_that_comes_back_is_a_new_one(source, root):
    wanted = nodes(source.write(documents(25)))
    run(wanted, root)
    source.write(documents(25)[1:])
    run(wanted, root)
    source.write(documents(25))
    run(wanted, root)
    assert ids_of(wanted, root)[3] == ["d0"]
    assert aligned(wanted, root)


@pytest.mark.parametrize("before", [0, 25])
def test_an_emptied_source_is_refused_and_nothing_lost(source, root, before):
    wanted = nodes(source.write(documents(before)))
    if before:
        run(wanted, root)
        kept = content(wanted.clean, root)
        source.write([])
    plan, unplanned = partial(plan_node, wanted.documents, root, PlanOptions()), partial(run, wanted, root, look=False)
    for attempt in (plan, partial(run, wanted, root), unplanned):
        with pytest.raises(
            DataError,
            match=r"expected 'at least one document', got 0; the source holds x.jsonl; reader jsonl looks for",
        ):
            attempt()
    if before:
        assert content(wanted.clean, root) == kept
        source.write(documents(25))
        assert run(wanted, root) == {}


@pytest.mark.parametrize("look", [True, False])
def test_a_source_of_bad_rows_alone_is_refused_and_nothing_lost(source, root, look):
    wanted = nodes(source.write(documents(5)))
    run(wanted, root)
    kept = content(wanted.documents, root)
    source.write([{"id": "", "text": "a"}])
    with pytest.raises(DataError, match=r"first of 1 set aside: missing_id at x.jsonl:1"):
        run(wanted, root, look=look)
    assert content(wanted.documents, root) == kept


def test_no_path_is_a_config_error(root):
    nowhere = replace(nodes(Path("x.jsonl")).documents, source=SourceConfig(path=""))
    with pytest.raises(ConfigError, match=r"source.path: expected"):
        run([nowhere], root)


def test_a_single_document_is_a_data_set(source, root):
    wanted = nodes(source.write(documents(1)))
    run(wanted, root)
    assert list(content(wanted.predictions, root)) == ["d0"]


def test_repeated_ids_are_set_aside_and_the_first_wins(source, root):
    rows = [*documents(12), {"id": "d3", "text": "second"}, {"id": "d12", "text": "x"}, {"id": "d12", "text": "y"}]
    wanted = nodes(source.write(rows))
    run(wanted, root)
    assert content(wanted.documents, root)["d3"]["text"] == "text d3"
    assert content(wanted.documents, root)["d12"]["text"] == "x"
    bad = ingest_quarantine(wanted.documents, root).to_pylist()
    assert [(row["id"], row["reason"]) for row in bad] == [("d3", "duplicate_id"), ("d12", "duplicate_id")]
    assert all(row["source"].startswith("x.jsonl:") for row in bad)
    source.write(rows)
    assert run(wanted, root) == {}


def keeping(wanted, ids: str) -> Ingest:
    """Return the ingest with another choice among documents of one id."""
    config = wanted.documents.config.model_copy(update={"duplicates": DuplicatesConfig(ids=ids)})
    return replace(wanted.documents, config=config)


def test_of_repeated_ids_the_last_wins_where_asked(source, root):
    rows = [*documents(12), {"id": "d3", "text": "second"}, {"id": "d12", "text": "x"}, {"id": "d12", "text": "y"}]
    node = keeping(nodes(source.write(rows)), "last")
    run([node], root)
    assert content(node, root)["d3"]["text"] == "second"
    assert content(node, root)["d12"]["text"] == "y"
    assert len(content(node, root)) == 13
    bad = ingest_quarantine(node, root).to_pylist()
    assert [(row["id"], row["reason"]) for row in bad] == [("d3", "duplicate_id"), ("d12", "duplicate_id")]
    source.write([*rows, {"id": "d3", "text": "third"}])
    run([node], root)
    assert content(node, root)["d3"]["text"] == "third"
    assert len(ingest_quarantine(node, root)) == 3


def test_repeated_ids_end_the_run_where_asked(source, root):
    wanted = nodes(source.write(documents(12)))
    node = keeping(wanted, "error")
    run([node], root)
    source.write([*documents(12), {"id": "d3", "text": "second"}])
    with pytest.raises(DataError, match=r"every id once.*d3 at x.jsonl:13"):
        run([node], root)
    assert content(node, root)["d3"]["text"] == "text d3"


def test_strange_ids_are_documents_like_others(source, root):
    ids = ["a/b", "../../x", "日本", "\U0001f600", " ", "é", "e\u0301"]
    wanted = nodes(source.write({"id": i, "text": "t"} for i in ids))
    run(wanted, root)
    assert list(content(wanted.vector, root)) == ids


def test_rows_that_cannot_be_documents_are_listed(source, root):
    source.write([*documents(3), {"id": None, "text": "a"}, {"id": "", "text": "b"}])
    with source.path.open("a") as file:
        file.write("no json\n")
    wanted = nodes(source.path)
    run(wanted, root)
    assert len(content(wanted.documents, root)) == 3
    assert ingest_quarantine(wanted.documents, root)["reason"].to_pylist() == ["missing_id", "missing_id", "bad_json"]


def test_a_row_without_an_id_has_a_reason_though_its_reader_told_none(source, root, monkeypatch):
    reader = READERS["jsonl"]

    def read(path, options):
        for table in reader.read(path, options):
            place, field = table.schema.get_field_index("id"), table.schema.field("id")
            ids = pa.array([None, *table["id"].to_pylist()[1:]], field.type)
            yield table.set_column(place, field, ids)

    monkeypatch.setitem(READERS, "jsonl", reader._replace(read=read))
    wanted = nodes(source.write(documents(3)))
    run([wanted.documents], root)
    assert list(content(wanted.documents, root)) == ["d1", "d2"]
    assert ingest_quarantine(wanted.documents, root)["reason"].to_pylist() == ["no_id"]


@pytest.mark.parametrize("harm", ["lost", "cut"])
def test_a_lost_shard_is_made_again_in_place(source, root, harm):
    wanted = nodes(source.write(documents(25)))
    run(wanted, root)
    ids, kept, file = ids_of(wanted, root), content(wanted.documents, root), shard_file(wanted, root, 1)
    if harm == "lost":
        file.unlink()
    else:
        file.write_bytes(b"")
    plan = plan_node(wanted.documents, root, PlanOptions())
    assert plan.missing == {1: "its file is missing"}
    assert counts(run(wanted, root)) == {"documents/x": (1, 10, 0)}
    assert ids_of(wanted, root) == ids
    assert content(wanted.documents, root) == kept


def test_a_lost_shard_is_in_its_order_whatever_that_of_the_source(source, root):
    wanted = nodes(source.write(documents(25)))
    run(wanted, root)
    ids, kept = ids_of(wanted, root), content(wanted.documents, root)
    shard_file(wanted, root, 1).unlink()
    source.write(reversed(documents(25)))
    run(wanted, root)
    assert ids_of(wanted, root) == ids
    assert content(wanted.documents, root) == kept


def test_changed_documents_lie_where_they_lay_whatever_the_order_of_the_source(source, root):
    wanted = nodes(source.write(documents(25)))
    run(wanted, root)
    ids = ids_of(wanted, root)
    source.write(reversed(documents(25, d1="one", d2="two", d8="eight")))
    assert counts(run(wanted, root))["documents/x"] == (1, 3, 7)
    assert ids_of(wanted, root) == ids
    assert {i: row["text"] for i, row in content(wanted.documents, root).items()} == {
        d["id"]: d["text"] for d in documents(25, d1="one", d2="two", d8="eight")
    }


def test_what_changed_and_what_is_gone_is_counted_by_shard(source, root):
    wanted = nodes(source.write(documents(25)))
    run(wanted, root)
    source.write(d for d in documents(25, d1="one", d2="two") if d["id"] not in ("d3", "d15"))
    assert scan(wanted.documents, root).changed == {0: 3, 1: 1}


def test_new_documents_never_take_the_place_of_another_shard(source, root):
    """The first shard and all that tells of it are gone: its number is free, that of the last is not."""
    wanted = nodes(source.write(documents(25)))
    run([wanted.documents], root)
    ids, dataset = ids_of(wanted, root), wanted.documents.dataset(root)
    shard_file(wanted, root, 0).unlink()
    lose(wanted, root, 0)
    (dataset.folder / "rows" / "000000.parquet").unlink()
    (dataset.folder / "state.json").unlink()
    assert plan_node(wanted.documents, root, PlanOptions()).missing == {3: "new documents"}
    run([wanted.documents], root)
    assert ids_of(wanted, root) == {1: ids[1], 2: ids[2], 3: ids[0]}
    assert plan_node(wanted.documents, root, PlanOptions()).missing == {0: "its record is lost"}
    run([wanted.documents], root)
    assert ids_of(wanted, root) == {0: [], 1: ids[1], 2: ids[2], 3: ids[0]}
    assert run([wanted.documents], root) == {}


def test_options_of_the_reader_decide_the_key(source):
    one, other = (SourceConfig(path=str(source.path), options={"columns": {"text": name}}) for name in "ab")
    chosen = {"shard_size": 10, "split": SplitConfig()}
    assert ingest_stage("x", one, **chosen).config != ingest_stage("x", other, **chosen).config


def test_a_lost_shard_some_of_whose_documents_are_gone_too(source, root):
    wanted = nodes(source.write(documents(25)))
    run(wanted, root)
    shard_file(wanted, root, 1).unlink()
    source.write(d for d in documents(30) if d["id"] != "d15")
    run(wanted, root)
    assert ids_of(wanted, root)[1] == [f"d{i}" for i in range(10, 20) if i != 15]
    assert len(content(wanted.predictions, root)) == 29
    assert aligned(wanted, root)


def test_a_lost_shard_all_of_whose_documents_are_gone_is_empty(source, root):
    wanted = nodes(source.write(documents(25)))
    run(wanted, root)
    shard_file(wanted, root, 1).unlink()
    source.write(d for d in documents(25) if int(d["id"][1:]) not in range(10, 20))
    run(wanted, root)
    assert ids_of(wanted, root)[1] == []
    assert aligned(wanted, root)
    assert run(wanted, root) == {}


def test_a_lost_shard_whose_documents_are_not_known_any_more(source, root):
    """A kill before the list of ids was written, then a lost file: its documents move, and nothing stays broken."""
    wanted = nodes(source.write(documents(25)))
    run(wanted, root)
    shard_file(wanted, root, 1).unlink()
    shutil.rmtree(wanted.documents.dataset(root).folder / "rows")
    plan = plan_node(wanted.documents, root, PlanOptions())
    assert plan.missing == {1: "its file is missing", 3: "new documents"}
    run(wanted, root)
    assert ids_of(wanted, root) == {
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
        lose(wanted, root, index)
        assert plan_node(wanted.documents, root, PlanOptions()).missing == {index: "its record is lost"}
        monkeypatch.setitem(READERS, "jsonl", READERS["jsonl"]._replace(read=None))
        assert run(wanted, root, look=False) == {}
        assert wanted.documents.dataset(root).records() == before
        assert run(wanted, root) == {}

    @pytest.mark.parametrize("index", [0, 2])
    @pytest.mark.parametrize("harm", ["delete", "cut"])
    def test_without_its_bytes_the_same_documents_come_into_the_same_shard(self, wanted, source, root, index, harm):
        before, path = wanted.documents.dataset(root).records(), shard_file(wanted, root, index)
        lose(wanted, root, index)
        path.unlink() if harm == "delete" else path.write_bytes(path.read_bytes()[:-9])
        source.write(documents(27))
        made = counts(run(wanted, root))
        assert ids_of(wanted, root)[index] == [f"d{i}" for i in range(10 * index, min(25, 10 * index + 10))]
        assert ids_of(wanted, root)[3] == ["d25", "d26"]
        assert wanted.documents.dataset(root).record(index) == before[index]
        assert made["clean/text"] == (1, 2, 0)
        assert aligned(wanted, root)
        assert run(wanted, root) == {}

    def test_of_two_versions_the_right_one_is_kept_whatever_the_clock_says(self, wanted, source, root):
        old = shard_file(wanted, root, 1)
        source.write(documents(25, d13="another text"))
        run(wanted, root)
        before = wanted.documents.dataset(root).records()
        os.utime(old, (2_000_000_000, 2_000_000_000))  # the clock went back since
        lose(wanted, root, 1)
        run(wanted, root)
        assert wanted.documents.dataset(root).records() == before
        assert content(wanted.documents, root)["d13"]["text"] == "another text"
        assert run(wanted, root) == {}

    def test_an_older_record_put_back_is_noticed(self, wanted, source, root):
        dataset = wanted.documents.dataset(root)
        path = dataset.folder / dataset.record_name(1)
        old = path.read_bytes()
        source.write(documents(25, d13="another text"))
        run(wanted, root)
        path.write_bytes(old)
        run(wanted, root)
        assert content(wanted.documents, root)["d13"]["text"] == "another text"


def lose(wanted, root, index: int) -> None:
    dataset = wanted.documents.dataset(root)
    (dataset.folder / dataset.record_name(index)).unlink()


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
        path = wanted.documents.dataset(root).folder / name
        before = path.read_bytes()
        path.unlink() if data is None else path.write_bytes(data)
        assert plan_node(wanted.documents, root, PlanOptions()).scan.stale_state
        assert run(wanted, root) == {}
        assert path.read_bytes() == before
        assert plan_node(wanted.documents, root, PlanOptions()).scan is None

    def test_a_changed_byte_is_never_read(self, wanted, source, root):
        folder = wanted.documents.dataset(root).folder
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
        (dataset.folder / "rows" / "000000.parquet").write_bytes(b"PAR1 PAR1")
        assert dataset.damaged(record) == ["rows/000000.parquet"]

    def test_a_damaged_list_of_ids_is_not_believed(self, wanted, root):
        dataset = wanted.documents.dataset(root)
        (dataset.folder / "rows" / "000000.parquet").write_bytes(b"PAR1 PAR1")
        shard_file(wanted, root, 0).unlink()
        run(wanted, root)
        assert set(content(wanted.documents, root)) == {f"d{i}" for i in range(5)}
        assert aligned(wanted, root)


def test_a_corrupted_shard_is_made_again_when_the_source_changes(source, root):
    wanted = nodes(source.write(documents(25)))
    run(wanted, root)
    ids, file = ids_of(wanted, root), shard_file(wanted, root, 1)
    file.write_bytes(b"\x00" * file.stat().st_size)
    source.write(documents(25, d12="changed"))
    run(wanted, root)
    assert ids_of(wanted, root) == ids
    assert content(wanted.clean, root)["d12"]["text"] == "CHANGED"
    assert wanted.documents.dataset(root).store.damaged(wanted.documents.dataset(root).record(1).files) == []


def test_a_full_disk_is_one_error_and_the_next_run_goes_on(source, root):
    wanted = nodes(source.write(documents(25)))
    with (
        failing(30, OSError(errno.ENOSPC, "No space left on device")),
        pytest.raises(StorageError, match="disk is full"),
    ):
        run([wanted.documents], root)
    run(wanted, root)
    assert len(content(wanted.predictions, root)) == 25


crashes = (st.integers(1, 120), st.booleans(), st.sampled_from(["first", "edit"]))


@settings(max_examples=8)
@given(*crashes)
def test_a_killed_ingest_goes_on_without_loss_or_repetition(calls, after, when):
    check_killed(calls, after, when)


@pytest.mark.slow
@settings(max_examples=200)
@given(*crashes)
def test_a_killed_ingest_goes_on_whenever_it_is_killed(calls, after, when):
    check_killed(calls, after, when)


def check_killed(calls: int, after: bool, when: str) -> None:
    with TemporaryDirectory() as folder:
        source, root = Source(Path(folder) / "x.jsonl"), Path(folder) / "root"
        wanted = nodes(source.write(documents(25)), shard_size=5)
        if when == "edit":
            run([wanted.documents], root)
            source.write([*documents(33, d3="changed", d14="changed too")[1:20], *documents(33)[22:]])
        with failing(calls, Killed(), after=after), suppress(Killed):
            run([wanted.documents], root)
        run([wanted.documents, wanted.clean], root)
        whole = content(wanted.clean, root)
        fresh = Path(folder) / "fresh"
        run([wanted.documents, wanted.clean], fresh)
        assert whole == content(wanted.clean, fresh)
        assert content(wanted.documents, root) == content(wanted.documents, fresh)
        assert run([wanted.documents, wanted.clean], root) == {}


edits = st.lists(
    st.dictionaries(st.integers(0, 14).map(lambda i: f"d{i}"), st.sampled_from(["a", "b", "bad", ""]), min_size=1),
    min_size=2,
    max_size=4,
)


@settings(max_examples=6)
@given(edits, st.integers(1, 5))
def test_a_sequence_of_edits_ends_like_a_fresh_run(steps, shard_size):
    check_edits(steps, shard_size)


@pytest.mark.slow
@settings(max_examples=150)
@given(edits, st.integers(1, 5))
def test_any_sequence_of_edits_ends_like_a_fresh_run(steps, shard_size):
    check_edits(steps, shard_size)


def check_edits(steps: list[dict[str, str]], shard_size: int) -> None:
    with TemporaryDirectory() as folder:
        source, root, fresh = Source(Path(folder) / "x.jsonl"), Path(folder) / "root", Path(folder) / "fresh"
        for step in steps:
            path = source.write({"id": i, "text": text, "title": f"T{text}"} for i, text in step.items())
            wanted = nodes(path, shard_size=shard_size)
            some = [wanted.documents, wanted.clean, wanted.title, wanted.model, wanted.predictions, wanted.total]
            run(some, root, refit="on_change")
            ids = [{i: r.ids for i, r in n.dataset(root).records().items()} for n in (wanted.documents, wanted.clean)]
            assert ids[0] == ids[1]
        run(some, fresh)
        for node in (wanted.documents, wanted.clean, wanted.title, wanted.predictions):
            assert content(node, root) == content(node, fresh)
        totals = [wanted.total.dataset(r).read(wanted.total.dataset(r).record(0)).to_pylist() for r in (root, fresh)]
        assert totals[0] == totals[1]
        assert run(some, root, refit="on_change") == {}
