"""A source becomes shards once, and a second look touches only what changed."""

import errno
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from drive import aligned, content, counts, documents, ids_of, nodes, run
from faults import failing

from fuseline.stores.errors import ConfigError, DataError, StorageError
from fuseline.tasks.documents.assignment import SplitConfig
from fuseline.tasks.documents.documents_node import SourceConfig
from fuseline.tasks.documents.ingest import scan
from fuseline.tasks.documents.ingest import stage as ingest_stage
from fuseline.tasks.engine.planner import PlanOptions, plan_node
from fuseline.tasks.readers import READERS


def test_the_other_rows_of_a_changed_shard_are_kept(source, root):
    wanted = nodes(source.write(documents(15)))
    for expected, changed in (((2, 15, 0), {}), ((1, 2, 8), {"d3": "new", "d4": "new"})):
        source.write(documents(15, **changed))
        started = time.perf_counter()
        made = run([wanted.documents], root)
        assert counts(made) == {"documents/x": expected}
        assert 0 < sum(report.seconds for report in made["documents/x"]) <= time.perf_counter() - started


def test_documents_fill_shards_in_order(source, root):
    wanted = nodes(source.write(documents(25)))
    run([wanted.documents], root)
    assert ids_of(wanted.documents, root) == {
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
    assert ids_of(wanted.documents, root)[0] == [f"d{i}" for i in range(1, 10)]
    assert aligned(wanted, root)


def test_a_shard_may_lose_all_its_documents(source, root):
    wanted = nodes(source.write(documents(25)))
    run(wanted, root)
    source.write(documents(25)[10:])
    run(wanted, root)
    assert ids_of(wanted.documents, root)[0] == []
    assert aligned(wanted, root)
    assert len(content(wanted.predictions, root)) == 15
    assert run(wanted, root) == {}


def test_a_document_that_comes_back_is_a_new_one(source, root):
    wanted = nodes(source.write(documents(25)))
    run(wanted, root)
    source.write(documents(25)[1:])
    run(wanted, root)
    source.write(documents(25))
    run(wanted, root)
    assert ids_of(wanted.documents, root)[3] == ["d0"]
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


def test_no_path_is_a_config_error(root):
    nowhere = replace(nodes(Path("x.jsonl")).documents, source=SourceConfig(path=""))
    with pytest.raises(ConfigError, match=r"source.path: expected"):
        run([nowhere], root)


def test_a_single_document_is_a_data_set(source, root):
    wanted = nodes(source.write(documents(1)))
    run(wanted, root)
    assert list(content(wanted.predictions, root)) == ["d0"]


def test_changed_documents_lie_where_they_lay_whatever_the_order_of_the_source(source, root):
    wanted = nodes(source.write(documents(25)))
    run(wanted, root)
    ids = ids_of(wanted.documents, root)
    source.write(reversed(documents(25, d1="one", d2="two", d8="eight")))
    assert counts(run(wanted, root))["documents/x"] == (1, 3, 7)
    assert ids_of(wanted.documents, root) == ids
    assert {i: row["text"] for i, row in content(wanted.documents, root).items()} == {
        d["id"]: d["text"] for d in documents(25, d1="one", d2="two", d8="eight")
    }


def test_what_changed_and_what_is_gone_is_counted_by_shard(source, root):
    wanted = nodes(source.write(documents(25)))
    run(wanted, root)
    source.write(d for d in documents(25, d1="one", d2="two") if d["id"] not in ("d3", "d15"))
    assert scan(wanted.documents, root).changed == {0: 3, 1: 1}


def test_options_of_the_reader_decide_the_key(source):
    one, other = (SourceConfig(path=str(source.path), options={"columns": {"text": name}}) for name in "ab")
    chosen = {"shard_size": 10, "split": SplitConfig()}
    assert ingest_stage("x", one, **chosen).config != ingest_stage("x", other, **chosen).config


def test_a_full_disk_is_one_error_and_the_next_run_goes_on(source, root):
    wanted = nodes(source.write(documents(25)))
    with (
        failing(30, OSError(errno.ENOSPC, "No space left on device")),
        pytest.raises(StorageError, match="disk is full"),
    ):
        run([wanted.documents], root)
    run(wanted, root)
    assert len(content(wanted.predictions, root)) == 25
