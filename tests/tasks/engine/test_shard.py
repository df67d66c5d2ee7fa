"""Making one shard: what is read, what is refused, what is written."""

from dataclasses import replace

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from drive import clean, content, counts, documents, make_shard, nodes, run

from fuseline.models.progress import LocalMeter, metering
from fuseline.stores.errors import AlignmentError, MismatchError, StorageError
from fuseline.tasks.engine.inputs import Tables, context, row_inputs, shard_inputs, upstream_tables
from fuseline.tasks.engine.nodes import Context, Read
from fuseline.tasks.engine.planner import PlanOptions, plan_node
from fuseline.tasks.engine.shard import make_shards, make_summary


@pytest.fixture
def wanted(source, root):
    wanted = nodes(source.write(documents(15)))
    run([wanted.documents, wanted.clean], root)
    return wanted


def reversed_rows(tables, config, context):
    made = clean(tables, config, context)
    return made.take(list(range(made.num_rows))[::-1])


def fewer_rows(tables, config, context):
    return clean(tables, config, context).slice(1)


def without_ids(tables, config, context):
    return clean(tables, config, context).drop_columns("id")


def mended(tables, config, context):
    made = clean(tables, config, context)
    return made.set_column(1, "status", pa.array(["ok"] * made.num_rows))


def exploding(tables, config, context):
    raise ZeroDivisionError


def without_room(tables, config, context):
    raise StorageError("the disk is full")


def other_order(tables, config, context):
    return clean(tables, config, context).select(["id", "text", "status"])


@pytest.mark.parametrize("transform", [reversed_rows, fewer_rows, without_ids])
def test_a_transform_that_moves_rows_is_refused_and_nothing_written(wanted, root, transform):
    stage = replace(wanted.clean, version=9, transform=transform)
    assert make_shard(stage, root, 0).error.startswith("clean/text: returned")
    assert not stage.dataset(root).exists()


def test_a_transform_that_raises_leaves_the_shard_as_it_was(wanted, root):
    kept = content(wanted.clean, root)
    stage = replace(wanted.clean, transform=exploding)
    wanted.clean.dataset(root).store.delete(wanted.clean.dataset(root).record(0).name)
    assert make_shard(stage, root, 0).error.startswith("ZeroDivisionError")
    assert make_shard(wanted.clean, root, 0).error == ""
    assert content(wanted.clean, root) == kept


def test_an_output_root_that_cannot_be_written_ends_it_for_all_stages(wanted, root):
    with pytest.raises(StorageError, match="the disk is full"):
        make_shard(replace(wanted.clean, version=9, transform=without_room), root, 0)


def test_a_shard_that_was_never_made_upstream_is_a_data_error(wanted, root):
    absent = make_shard(wanted.clean, root, 7).error
    assert absent == "documents/x: shard 7 is not there yet; run `fuseline run` first"
    assert make_shard(wanted.predictions, root, 0).error.startswith("models/longest: is not fitted yet")


def test_a_stage_that_fails_does_not_take_the_others_with_it(wanted, root):
    broken = replace(wanted.title, transform=exploding)
    first, second = make_shards([broken, replace(wanted.clean, version=9)], root, 0, source="")
    assert (first.stage, first.error) == ("clean/title", "ZeroDivisionError: ")
    assert (second.stage, second.error, second.computed) == ("clean/text", "", 10)
    assert not broken.dataset(root).exists()


def test_stages_that_read_the_same_share_one_copy(wanted, root):
    seen = Tables()
    (one,) = upstream_tables(wanted.clean, root, 0, seen)
    (other,) = upstream_tables(replace(wanted.clean, version=9), root, 0, seen)
    (title,) = upstream_tables(wanted.title, root, 0, seen)
    assert one is other
    assert title.column_names == ["id", "title"]
    assert len(seen) == 2


def test_upstream_shards_of_other_documents_are_refused(wanted, root):
    both = replace(wanted.clean, reads=(Read(wanted.documents, ("text",)), Read(wanted.clean, ("text",))))
    other = wanted.clean.dataset(root)
    other.commit(0, other.read(other.record(0)).slice(1), {})
    with pytest.raises(AlignmentError, match="hold different documents"):
        upstream_tables(both, root, 0)


def check_another_version_is_refused(reader, wanted, root) -> None:
    assert upstream_tables(reader, root, 0)[0].num_rows == 10
    dataset = wanted.predictions.dataset(root)
    record = dataset.record(0)
    dataset.recommit(record, {**record.inputs, "models/longest": "xxh3:another"})
    with pytest.raises(MismatchError, match="version of models/longest"):
        upstream_tables(reader, root, 0)


def test_shards_made_with_another_version_of_a_fitted_thing_are_refused(wanted, root):
    run(wanted, root)
    reader = replace(wanted.predictions, reads=(Read(wanted.predictions, ("value",)),))
    check_another_version_is_refused(reader, wanted, root)


def test_a_fitted_thing_of_another_version_is_refused_behind_the_one_that_was_fitted_over_it(wanted, root):
    run(wanted, root)
    over = replace(wanted.model, short="over", fits=(wanted.model,))
    run([over], root)
    reader = replace(wanted.predictions, fits=(over,), reads=(Read(wanted.predictions, ("value",)),))
    check_another_version_is_refused(reader, wanted, root)


def test_the_keyed_columns_are_read_too(wanted, root):
    stage = replace(wanted.clean, reads=(Read(wanted.documents, ("text",), keyed=("title",)),))
    (table,) = upstream_tables(stage, root, 0)
    assert table.column_names == ["id", "text", "title"]


def test_a_value_that_moves_to_another_column_is_another_input(wanted, root):
    stage = replace(wanted.clean, reads=(Read(wanted.documents, ("num_*",)),))
    tables = [pa.table({"id": ["d0"], name: [1.0]}) for name in ("num_a", "num_b", "num_a")]
    one, other, again = (row_inputs(stage, [table], root).tolist() for table in tables)
    assert one == again != other


def test_shards_that_are_shared_are_told_apart(wanted, root):
    seen = Tables()
    assert [upstream_tables(wanted.clean, root, index, seen)[0].num_rows for index in (0, 1)] == [10, 5]


def test_only_the_columns_asked_for_are_read_ids_first(wanted, root):
    (table,) = upstream_tables(wanted.clean, root, 0)
    assert table.column_names == ["id", "text"]


def test_an_unchanged_shard_gets_a_new_note_and_keeps_its_bytes(wanted, root):
    dataset = wanted.clean.dataset(root)
    before = dataset.record(0)
    dataset.recommit(before, {"documents/x": "old"})
    report = make_shard(wanted.clean, root, 0)
    assert (report.n_rows, report.computed, report.reused) == (10, 0, 10)
    assert dataset.record(0) == before
    assert shard_inputs(wanted.clean, root, 0) == before.inputs


def test_where_no_row_is_to_do_nothing_is_computed(wanted, root):
    dataset = wanted.clean.dataset(root)
    dataset.recommit(dataset.record(0), {"documents/x": "old"})
    report = make_shard(replace(wanted.clean, transform=exploding), root, 0)
    assert (report.error, report.computed, report.reused) == ("", 0, 10)


def test_a_node_is_told_the_keys_of_what_it_reads(wanted, root):
    keys = {"clean/text": wanted.clean.key, "models/longest": wanted.model.key, "self": wanted.predictions.key}
    assert context(wanted.predictions, root, "here") == Context("here", {}, keys, wanted.predictions.reads)


def by_shard(tables, config, context):
    return pa.table({"n": [tables[0].num_rows]})


def test_a_stage_over_whole_shards_may_return_other_rows(wanted, root):
    stage = replace(wanted.clean, role="statistics", short="shards", transform=by_shard, by_row=False)
    report = make_shard(stage, root, 1)
    assert (report.n_rows, report.computed) == (1, 1)
    assert stage.dataset(root).read(stage.dataset(root).record(1)).to_pylist() == [{"n": 5}]
    assert [t.to_pylist() for t in upstream_tables(replace(stage, reads=(Read(stage, ("n",)),)), root, 1)] == [
        [{"n": 5}]
    ]


def test_a_stage_over_whole_shards_is_made_again_as_a_whole(source, root):
    def ranked(tables, config, context):
        texts = pc.rank(tables[0]["text"]).to_pylist()
        return pa.table({"id": tables[0]["id"], "rank": texts})

    wanted = nodes(source.write(documents(3)))
    whole = replace(wanted.vector, transform=ranked, by_row=False)
    run([wanted.documents, wanted.clean, whole], root)
    source.write(documents(3, d0="zebra"))
    made = counts(run([wanted.documents, wanted.clean, whole], root))
    assert (made["clean/text"], made["embed/length"]) == ((1, 1, 2), (1, 3, 0))
    assert {name: row["rank"] for name, row in content(whole, root).items()} == {"d0": 3, "d1": 1, "d2": 2}


def test_a_summary_notes_each_shard_on_its_way(wanted, root):
    meter, noted = LocalMeter(), []

    def watched(shards, config, context):
        noted.extend((meter.done, meter.total) for _ in shards())
        return {"total": pa.table({"n": [len(noted)]})}

    total = replace(wanted.total, reads=(Read(wanted.clean, ("text",)),), summarise=watched)
    with metering(meter):
        make_summary(total, root, source="")
    assert noted == [(0, 2), (1, 2)]


def test_a_summary_is_over_all_shards(wanted, root):
    run(wanted, root)
    dataset = wanted.total.dataset(root)
    assert dataset.read(dataset.record(0)).to_pylist() == [{"n": 15, "total": 10}]


class TestReusedRows:
    """Each row is found by its id and its inputs, wherever it and its neighbours lay before."""

    def test_the_first_row_is_tried_again_as_others_are(self, source, root):
        wanted = nodes(source.write(documents(5, d0="bad", d3="bad too")))
        run(wanted, root)
        assert counts(run([wanted.clean], root, retry_failed=True)) == {"clean/text": (1, 2, 3)}

    def test_what_failed_is_tried_again_where_it_lies_now(self, source, root):
        wanted = nodes(source.write(documents(6, d4="bad")))
        run(wanted, root)
        source.write([d for d in documents(6, d4="bad") if d["id"] not in ("d1", "d2")])
        again = replace(wanted.clean, transform=mended)
        run([wanted.documents, again], root, retry_failed=True)
        assert {i: row["status"] for i, row in content(again, root).items()} == dict.fromkeys(
            ("d0", "d3", "d4", "d5"), "ok"
        )

    def test_what_failed_is_not_tried_again_unasked(self, source, root):
        wanted = nodes(source.write(documents(5, d3="bad")))
        run(wanted, root)
        source.write(documents(5, d3="bad", d4="new"))
        assert counts(run(wanted, root))["clean/text"] == (1, 1, 4)

    def test_a_row_of_two_upstreams_follows_each_of_them(self, source, root):
        wanted = nodes(source.write(documents(5)))
        both = replace(wanted.vector, reads=(*wanted.vector.reads, Read(wanted.title, ("title",))))
        some = [wanted.documents, wanted.clean, wanted.title, both]
        run(some, root)
        source.write(documents(5, d3="another text"))
        assert counts(run(some, root))["embed/length"] == (1, 1, 4)
        assert content(both, root)["d3"]["embedding"] == [float(len("ANOTHER TEXT"))]
        source.write([{**d, "title": "new"} if d["id"] == "d1" else d for d in documents(5, d3="another text")])
        assert counts(run(some, root))["embed/length"] == (1, 1, 4)

    def test_each_row_is_known_by_its_own_inputs_from_then_on(self, source, root):
        wanted = nodes(source.write(documents(5)))
        run(wanted, root)
        for changed in ({"d3": "another"}, {"d3": "another", "d1": "new"}):
            source.write(documents(5, **changed))
            assert counts(run(wanted, root))["clean/text"] == (1, 1, 4)

    def test_columns_may_come_in_another_order(self, source, root):
        wanted = nodes(source.write(documents(5)))
        run(wanted, root)
        source.write(documents(5, d3="another"))
        again = replace(wanted.clean, transform=other_order)
        made = run([wanted.documents, again], root)
        assert (made["clean/text"][0].error, counts(made)["clean/text"]) == ("", (1, 1, 4))
        assert [row["text"] for row in content(again, root).values()] == [
            "TEXT D0",
            "TEXT D1",
            "TEXT D2",
            "ANOTHER",
            "TEXT D4",
        ]

    @pytest.mark.parametrize("gone", [0, 2, 4])
    def test_a_row_that_is_gone_leaves_the_others_as_they_were(self, source, root, gone):
        wanted = nodes(source.write(documents(5)))
        run(wanted, root)
        kept = content(wanted.clean, root)
        source.write([d for d in documents(5) if d["id"] != f"d{gone}"])
        assert counts(run(wanted, root))["clean/text"] == (1, 0, 4)
        assert content(wanted.clean, root) == {i: row for i, row in kept.items() if i != f"d{gone}"}

    def test_a_changed_row_behind_one_that_is_gone(self, source, root):
        wanted = nodes(source.write(documents(5)))
        run(wanted, root)
        source.write(documents(5, d3="another")[1:])
        assert counts(run(wanted, root))["clean/text"] == (1, 1, 3)
        assert [row["text"] for row in content(wanted.clean, root).values()] == [
            "TEXT D1",
            "TEXT D2",
            "ANOTHER",
            "TEXT D4",
        ]

    def test_a_shard_whose_documents_are_all_gone_is_made_where_it_never_was(self, source, root):
        wanted = nodes(source.write(documents(15)))
        run([wanted.documents], root)
        source.write(documents(10))
        run(wanted, root)
        record = wanted.clean.dataset(root).record(1)
        assert (record.n_rows, set(record.columns)) == (0, {"status", "text"})


class TestTables:
    """A summary of two tables, each of which can be read by its name."""

    @pytest.fixture
    def two(self, wanted):
        def counts(shards, config, context):
            tables = [table for (table,) in shards()]
            n = sum(table.num_rows for table in tables)
            return {"count": pa.table({"n": [n]}), "texts": pa.concat_tables(tables).select(["text"])}

        reads = (Read(wanted.clean, ("text",)),)
        return replace(wanted.total, reads=reads, fits=(), tables=("texts", "count"), summarise=counts)

    def test_each_is_read_by_its_name_with_its_own_columns(self, two, root):
        assert two.table(root, "count") is None
        report = make_summary(two, root, source="")
        assert (report.n_rows, two.table(root, "count").to_pydict()) == (16, {"n": [15]})
        assert two.table(root, "texts").column_names == ["text"]
        assert [record.table for _, record in sorted(two.dataset(root).records().items())] == ["texts", "count"]
        assert plan_node(two, root, PlanOptions()).fresh == (0,)

    @pytest.mark.parametrize("index", [0, 1])
    def test_one_that_is_lost_has_them_made_again(self, two, root, index):
        make_summary(two, root, source="")
        before = {name: two.table(root, name) for name in two.tables}
        two.dataset(root).drop(index)
        assert plan_node(two, root, PlanOptions()).todo == [0]
        make_summary(two, root, source="")
        assert {name: two.table(root, name) for name in two.tables} == before

    def test_a_kill_between_two_tables_leaves_it_stale(self, two, root):
        make_summary(two, root, source="")
        record = two.dataset(root).record(1)
        two.dataset(root).recommit(record, {**record.inputs, "clean/text": "of before"})
        assert plan_node(two, root, PlanOptions()).stale == {0: "clean/text changed"}

    def test_damage_of_one_is_found_and_its_loss_repaired(self, two, root):
        make_summary(two, root, source="")
        dataset = two.dataset(root)
        path = root.local() / two.name / two.key / next(iter(dataset.record(1).files))
        path.write_bytes(b"harm")
        assert [dataset.damaged(record) for _, record in sorted(dataset.records().items())] == [[], [path.name]]

    def test_tables_that_the_node_does_not_name_are_refused(self, two, root):
        other = replace(two, tables=("texts",))
        with pytest.raises(ValueError, match=r"tables of .*: expected \['texts'\], got \['count', 'texts'\]"):
            make_summary(other, root, source="")
