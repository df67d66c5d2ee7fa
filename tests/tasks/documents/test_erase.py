"""Forgotten documents: gone from every dataset, with nothing else to make again, whatever was damaged or killed."""

import shutil
from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from drive import CleanConfig, Nodes, Source, aligned, content, counts, documents, nodes, record_path, run, shard_file
from faults import Killed, caught, failing

from fuseline.flows.upkeep.traces import find_traces
from fuseline.stores.forgotten import Forgotten
from fuseline.stores.places import open_root
from fuseline.stores.root import Root
from fuseline.tasks.documents.erase import datasets_of, erase_rows, find_listed, find_rows
from fuseline.tasks.documents.ingest import ingest_quarantine
from fuseline.tasks.engine.planner import PlanOptions, plan_all


@pytest.fixture
def source(tmp_path) -> Source:
    return Source(tmp_path / "x.jsonl")


@pytest.fixture
def root(tmp_path) -> Root:
    return open_root(tmp_path / "root")


def forget(root: Root, wanted: Nodes, *ids: str) -> dict[str, int]:
    """Forget, and return how many rows of which stage were found."""
    forgotten = Forgotten.load(root).with_ids(ids)
    datasets = datasets_of(root, list(wanted))
    found = list(find_rows(datasets, forgotten))
    forgotten.save(root)
    erase_rows(root, list(wanted), datasets, found, forgotten)
    rows: dict[str, int] = {}
    for one in found:
        rows[one.dataset.manifest.stage] = rows.get(one.dataset.manifest.stage, 0) + len(one.ids)
    return rows


def left(root: Root) -> list[str]:
    return find_traces(root, Forgotten.load(root))[1]


def todo(wanted: Nodes, root: Root) -> set[str]:
    return {plan.node.name for plan in plan_all(list(wanted), root, PlanOptions()) if plan.todo}


def test_rows_are_gone_everywhere_and_every_row_wise_stage_stays_fresh(source, root):
    wanted = nodes(source.write(documents(25)))
    run(wanted, root)
    assert forget(root, wanted, "d3", "d24") == {
        "documents/x": 2, "clean/text": 2, "clean/title": 2, "embed/length": 2, "predictions/longest": 2
    }  # fmt: skip
    assert left(root) == []
    assert todo(wanted, root) == {"evaluation/total"}
    assert aligned(wanted, root)
    assert set(content(wanted.vector, root)) == {f"d{i}" for i in range(25)} - {"d3", "d24"}
    assert counts(run(wanted, root)) == {"evaluation/total": (1, 1, 0)}
    assert wanted.total.dataset(root).read(wanted.total.dataset(root).record(0))["n"].to_pylist() == [23]


def test_a_shard_that_was_stale_stays_stale_and_is_computed(source, root):
    """Erasing renews the record of a fresh shard; a stale one would pass for fresh with its old content."""
    wanted = nodes(source.write(documents(25)))
    run(wanted, root)
    source.write(documents(25, d3="another text"))
    run([wanted.documents, wanted.clean], root)
    before = todo(wanted, root)
    assert {"embed/length", "predictions/longest"} <= before
    forget(root, wanted, "d5")
    assert todo(wanted, root) == before | {"evaluation/total"}
    made = counts(run(wanted, root))
    assert made["embed/length"] == (1, 1, 8)
    assert content(wanted.vector, root)["d3"]["embedding"] == [float(len("ANOTHER TEXT"))]
    assert left(root) == []


def test_a_forgotten_document_does_not_come_back(source, root):
    wanted = nodes(source.write(documents(25)))
    run(wanted, root)
    forget(root, wanted, "d3")
    source.write([*documents(25, d3="quite another text"), {"id": "new", "title": "t", "text": "new"}])
    done = counts(run(wanted, root))
    assert done["documents/x"] == (1, 1, 0)
    assert set(content(wanted.clean, root)) == {f"d{i}" for i in range(25) if i != 3} | {"new"}
    assert left(root) == []
    (row,) = ingest_quarantine(wanted.documents, root).to_pylist()
    assert (row["id"], row["source"], row["reason"]) == (None, "", "forgotten")
    again = nodes(source.path, shard_size=7)  # another documents dataset, from scratch
    run(again, root)
    assert "d3" not in content(again.documents, root)
    assert len(content(again.documents, root)) == 25


def test_every_version_is_erased_and_the_old_one_is_found_again(source, root):
    path = source.write(documents(25))
    old, new = nodes(path), nodes(path, cleaning=CleanConfig(suffix="!"))
    run(old, root)
    run(new, root)
    assert forget(root, Nodes(*old), "d11")["clean/text"] == 2
    assert left(root) == []
    assert todo(old, root) == {"evaluation/total"}
    # Of this one nobody said how it is made: its shard is compared row by row, and no row is computed.
    assert counts(run(new, root))["clean/text"] == (1, 0, 9)


def shown(shards, config, context):
    """Name the first document of each shard, and say something of no document."""
    documents = [[{"id": table["id"][0].as_py(), "n": 1}] for (table,) in shards()]
    return {"total": pa.table({"label": [str(n) for n in range(len(documents))], "documents": documents})}


def test_a_table_that_names_a_document_among_others_goes_whole(source, root):
    wanted = nodes(source.write(documents(25)))
    wanted = wanted._replace(total=replace(wanted.total, summarise=shown))
    run(wanted, root)
    assert forget(root, wanted, "d1").get("evaluation/total") is None
    assert wanted.total.dataset(root).record(0) is not None
    assert forget(root, wanted, "d10")["evaluation/total"] == 1
    assert wanted.total.dataset(root).records() == {}
    assert left(root) == []
    run(wanted, root)
    dataset = wanted.total.dataset(root)
    named = dataset.read(dataset.record(0))["documents"].to_pylist()
    assert [one["id"] for ones in named for one in ones] == ["d0", "d11", "d20"]


def test_a_document_that_a_table_names_twice_is_one(source, root):
    wanted = nodes(source.write(documents(25)))
    wanted = wanted._replace(total=replace(wanted.total, summarise=shown_twice))
    run(wanted, root)
    (found,) = find_rows([wanted.total.dataset(root)], Forgotten().with_ids(["d10"]))
    assert (found.ids, found.by_row) == (("d10",), False)


def shown_twice(shards, config, context):
    (table,) = shown(shards, config, context).values()
    return {"total": pa.concat_tables([table, table])}


def test_what_is_made_of_whole_shards_is_made_again_without_them(source, root):
    """Its rows may tell of one another: to take some of them out is not enough."""
    wanted = nodes(source.write(documents(25)))
    wanted = wanted._replace(title=replace(wanted.title, by_row=False))
    run(wanted, root)
    forget(root, wanted, "d3")
    assert todo(wanted, root) == {"clean/title", "evaluation/total"}
    assert left(root) == []


def test_left_overs_of_killed_writes_go_too(source, root):
    wanted = nodes(source.write(documents(5)))
    run(wanted, root)
    partial = wanted.clean.dataset(root).folder.local() / ".000000-0123.parquet.89abcdef.partial"
    partial.write_bytes(b"d3")
    forget(root, wanted, "d3")
    assert not partial.exists()


def test_superseded_bytes_go_too(source, root):
    wanted = nodes(source.write(documents(25)))
    run(wanted, root)
    source.write(documents(25, d3="changed"))
    run(wanted, root)
    assert len(wanted.clean.dataset(root).store.names()) == 4
    forget(root, wanted, "d3")
    assert len(wanted.clean.dataset(root).store.names()) == 3
    assert left(root) == []


def test_a_shard_and_a_source_without_any_document_left(source, root):
    wanted = nodes(source.write(documents(15)))
    run(wanted, root)
    forget(root, wanted, *(f"d{i}" for i in range(10, 15)))
    assert [record.n_rows for record in wanted.vector.dataset(root).records().values()] == [10, 0]
    run(wanted, root)
    source.write(documents(16))
    assert counts(run(wanted, root))["clean/text"] == (1, 1, 0)
    forget(root, wanted, *(f"d{i}" for i in range(16)))
    source.write(documents(16))
    assert counts(run([wanted.documents, wanted.clean, wanted.vector], root)) == {}
    assert content(wanted.clean, root) == {}


@pytest.mark.parametrize("name", ["documents", "clean", "vector"])
def test_what_cannot_be_read_goes_whole_and_is_made_again_without_them(name, source, root):
    wanted = nodes(source.write(documents(25)))
    run(wanted, root)
    data = getattr(wanted, name).dataset(root)
    record = data.records()[0]
    largest = max(record.files, key=lambda file: record.files[file].size)
    (data.folder.local() / largest).write_bytes(b"PAR1 d3 PAR1")
    assert any("cannot be read" in place or "forgotten" in place for place in left_with(root, "d3"))
    forget(root, wanted, "d3")
    assert left(root) == []
    assert (0 in data.records()) is (name == "documents")  # where its documents belong is known by its record
    run(wanted, root)
    assert left(root) == []
    assert todo(wanted, root) == set()
    assert set(content(getattr(wanted, name), root)) == {f"d{i}" for i in range(25) if i != 3}
    assert aligned(wanted, root)


def test_documents_that_nobody_can_tell_any_more_go_whole(source, root):
    """Their record is lost, and their bytes are damaged: the list of their ids alone says who they were."""
    wanted = nodes(source.write(documents(25)))
    run(wanted, root)
    file = shard_file(wanted.documents, root, 0)
    file.write_bytes(b"PAR1 d3 PAR1")
    record_path(wanted.documents, root, 0).unlink()
    forget(root, wanted, "d3")
    assert not file.exists()
    assert left(root) == []
    run(wanted, root)
    assert set(content(wanted.documents, root)) == {f"d{i}" for i in range(25) if i != 3}
    assert aligned(wanted, root)


@pytest.mark.parametrize("cut", [0, 0.5, 0.9])
def test_vectors_whose_ids_are_damaged_cannot_be_read(cut, source, root):
    wanted = nodes(source.write(documents(25)))
    run(wanted, root)
    for name in ("id/c/0", "id/zarr.json", "zarr.json"):
        path = next(wanted.vector.dataset(root).folder.local().glob(f"000001-*.zarr/{name}"))
        data = path.read_bytes()
        path.write_bytes(data[: int(cut * len(data))])
        (place,) = left_with(root, "nobody")
        assert "cannot be read" in place
        path.write_bytes(data)


def left_with(root: Root, document: str) -> list[str]:
    return find_traces(root, Forgotten.load(root).with_ids([document]))[1]


def test_unreadable_documents_that_do_not_hold_them_are_left_alone(source, root):
    wanted = nodes(source.write(documents(25)))
    run(wanted, root)
    data = wanted.documents.dataset(root)
    path = data.folder.local() / f"{data.records()[2].name}.parquet"
    path.write_bytes(b"PAR1 damaged PAR1")
    forget(root, wanted, "d3")
    assert path.exists()


@pytest.mark.parametrize("name", ["documents", "clean", "vector"])
@pytest.mark.parametrize("damaged", [True, False])
def test_a_shard_whose_record_is_lost_is_erased_from(name, damaged, source, root):
    wanted = nodes(source.write(documents(25)))
    run(wanted, root)
    data = getattr(wanted, name).dataset(root)
    path = data.folder.local() / "shards" / "000000.json"
    path.write_bytes(b"{") if damaged else path.unlink()
    found = list(find_rows([data], Forgotten().with_ids(["d3"])))
    assert [(one.index, one.ids) for one in found] == [(0, ("d3",))]
    forget(root, wanted, "d3")
    assert left(root) == []
    assert data.records()[0].n_rows == 9
    assert sum(computed for _, computed, _ in counts(run(wanted, root)).values()) == 1  # the summary's row


@pytest.mark.parametrize("damaged", [False, True])
def test_digests_of_their_images_go_too(damaged, source, root):
    rows = [{**row, "image": f"{row['id']}.png"} for row in documents(3)]
    for row in rows:
        (source.path.parent / row["image"]).write_bytes(row["id"].encode())
    wanted = nodes(source.write(rows))
    run([wanted.documents], root)
    data = wanted.documents.dataset(root)
    listed = data.folder.local() / "images.parquet"
    assert len(pq.read_table(listed)) == 3
    forget(root, wanted, "nobody")
    assert listed.exists()
    if damaged:
        (data.folder.local() / "shards" / "000000.json").write_bytes(b"{")
    forget(root, wanted, "d1")
    assert not listed.exists()  # they are kept by a hash of their place: no one can be told from the others
    run([nodes(source.write([*rows, {"id": "d9", "title": "new", "text": "new"}])).documents], root)
    assert len(pq.read_table(listed)) == 2  # the images that are still wanted, read once more


def test_ids_in_quarantine_are_known_and_go(source, root):
    wanted = nodes(source.write([*documents(5), {"id": "d3", "title": "again", "text": "again"}]))
    run(wanted, root)
    assert ingest_quarantine(wanted.documents, root)["id"].to_pylist() == ["d3"]
    forgotten, datasets = Forgotten().with_ids(["d3", "nobody"]), datasets_of(root, list(wanted))
    assert find_listed(datasets, forgotten) == {"d3"}
    forget(root, wanted, "d4")
    assert ingest_quarantine(wanted.documents, root)["id"].to_pylist() == ["d3"]
    forget(root, wanted, "d3")
    assert ingest_quarantine(wanted.documents, root).num_rows == 0
    assert (wanted.documents.dataset(root).folder.local() / "quarantine.parquet").exists()
    listed = [pq.read_table(path)["id"].to_pylist() for path in root.local().glob("documents/x/*/rows/*.parquet")]
    assert listed == [["d0", "d1", "d2"]]


@pytest.mark.parametrize(("after", "step"), [(True, 131), pytest.param(True, 13, marks=pytest.mark.slow),
                                             pytest.param(False, 13, marks=pytest.mark.slow)])  # fmt: skip
def test_a_kill_at_any_moment_leaves_what_the_next_call_completes(after, step, source, root, tmp_path):
    wanted = nodes(source.write(documents(12)), shard_size=6)
    run(wanted, root)
    reached = 0
    for calls in range(1, 2000, step):
        here = open_root(tmp_path / f"{calls}")
        shutil.copytree(root.local(), here.local())
        with failing(calls, Killed(), after=after) as countdown:
            raised = caught(lambda here=here: forget(here, wanted, "d3", "d7"))
        assert raised is None or isinstance(raised, Killed)
        if not countdown.fired:
            assert left(here) == []
            break
        reached += bool(left_with(here, "d3"))
        forget(here, wanted, "d3", "d7")
        assert left(here) == []
        made = counts(run(wanted, here))
        assert sum(computed for _, computed, _ in made.values()) <= 1  # the summary's row: no row of a stage
        assert todo(wanted, here) == set()
        assert aligned(wanted, here)
        assert set(content(wanted.vector, here)) == {f"d{i}" for i in range(12) if i not in (3, 7)}
        shutil.rmtree(here.local())
    assert reached > 1
    assert calls < 1800
