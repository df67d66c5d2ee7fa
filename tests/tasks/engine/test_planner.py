"""What is done again after which change: counted, not believed."""

from dataclasses import replace

import pyarrow as pa
import pytest
from drive import (
    CleanConfig,
    aligned,
    content,
    count_rows,
    counts,
    documents,
    nodes,
    record_path,
    run,
    shard_file,
    todo,
)

from fuseline.tasks.engine.images import CHANGED
from fuseline.tasks.engine.nodes import Read
from fuseline.tasks.engine.planner import (
    Plan,
    PlanOptions,
    changed_images,
    explain_key,
    plan_all,
    plan_node,
)
from fuseline.tasks.engine.snapshot import fit_shards


def test_nothing_was_made_then_everything_then_nothing(source, root):
    wanted = nodes(source.write(documents(25)))
    plans = plan_all(list(wanted), root, PlanOptions())
    assert [(p.node.name, len(p.missing), p.why) for p in plans][:2] == [
        ("documents/x", 3, "never made (3 shards)"),
        ("clean/text", 3, "never made (3 shards)"),
    ]
    assert [p.todo for p in plans] == [[0, 1, 2]] * 4 + [[0], [0, 1, 2], [0]]
    assert not root.local().exists()
    made = counts(run(wanted, root))
    assert made["documents/x"] == made["clean/text"] == made["embed/length"] == (3, 25, 0)
    assert made["models/longest"] == (1, 25, 25 - 25)
    assert todo(wanted, root) == {}
    assert run(wanted, root) == {}
    assert aligned(wanted, root)
    assert [plan.to_row() for plan in plan_all([wanted.clean], root, PlanOptions())] == [
        {"stage": "clean/text", "fresh": 3, "stale": 0, "missing": 0, "why": ""}
    ]


def test_a_changed_setting_concerns_its_stage_and_what_is_below(source, root):
    path = source.write(documents(25))
    before = nodes(path)
    run(before, root)
    kept = content(before.clean, root)
    after = nodes(path, factor=2)
    assert todo(after, root) == {"embed/length": (0, 3)}
    assert counts(run(after, root)) == {"embed/length": (3, 25, 0)}
    cleaned = nodes(path, cleaning=CleanConfig(suffix="!"))
    concerned = {"clean/text", "embed/length", "models/longest", "predictions/longest", "evaluation/total"}
    assert set(todo(cleaned, root)) == concerned
    assert set(run(cleaned, root)) == concerned
    assert content(cleaned.clean, root)["d0"]["text"] == "TEXT D0!"
    for back in (before, after, cleaned):
        assert run(back, root) == {}
    assert content(before.clean, root) == kept


def test_a_knob_concerns_nothing(source, root):
    path = source.write(documents(5))
    run(nodes(path), root)
    assert todo(nodes(path, cleaning=CleanConfig(workers=8)), root) == {}


def test_the_reason_names_the_setting_with_its_old_and_new_value(source, root):
    path = source.write(documents(25))
    run(nodes(path), root)
    changed = nodes(path, cleaning=CleanConfig(upper=False, suffix="!"))
    plan = plan_node(changed.clean, root, PlanOptions())
    assert plan.why == "suffix: '' -> '!'; upper: True -> False (3 shards)"
    assert explain_key(changed.vector, root) == "upstream clean/text has another key"
    resized = nodes(path, shard_size=7)
    assert explain_key(resized.documents, root) == "shard_size: 10 -> 7"


def test_upstreams_with_another_key_are_named_in_order(source, root):
    before, after = (nodes(source.write(documents(5)), shard_size=size) for size in (10, 7))
    over = [
        replace(one.vector, reads=tuple(Read(node, ()) for node in (one.title, one.vector, one.documents, one.clean)))
        for one in (before, after)
    ]
    run([*before[:4], over[0]], root)
    names = ("clean/text", "clean/title", "documents/x", "embed/length")
    assert explain_key(over[1], root) == "; ".join(f"upstream {name} has another key" for name in names)


def test_the_reason_compares_with_the_version_of_the_last_run_whatever_the_clock_says(source, root):
    path = source.write(documents(5))
    made = [nodes(path, cleaning=CleanConfig(suffix=suffix)) for suffix in "12"]
    for wanted in made:
        run(wanted, root)
    new = nodes(path, cleaning=CleanConfig(suffix="3")).clean
    last = {node.name: node.key for node in made[0]}
    assert plan_node(new, root, PlanOptions(last=last)).missing == dict.fromkeys([0], "suffix: '1' -> '3'")
    gone = {"clean/text": "0" * 20}
    assert plan_node(new, root, PlanOptions(last=gone)).missing == dict.fromkeys([0], "suffix: '2' -> '3'")


def test_the_reason_compares_with_the_newest_other_version(source, root):
    path = source.write(documents(5))
    run([nodes(path).documents, nodes(path, cleaning=CleanConfig(suffix="1")).clean], root)
    run([nodes(path, cleaning=CleanConfig(suffix="2")).clean], root)
    assert explain_key(nodes(path, cleaning=CleanConfig(suffix="3")).clean, root) == "suffix: '2' -> '3'"


def test_the_reason_compares_like_with_like(source, root):
    path = source.write(documents(5))
    mine = nodes(path, cleaning=CleanConfig(suffix="1"))
    run([mine.documents, mine.clean], root)
    others = replace(mine.documents, short="y")
    theirs = replace(mine.clean, reads=(Read(others, ("text",)),), config=CleanConfig(suffix="2"))
    run([others, theirs], root)
    assert explain_key(nodes(path, cleaning=CleanConfig(suffix="3")).clean, root) == "suffix: '1' -> '3'"


def test_the_reason_of_a_version_without_shards_is_not_sought_in_itself(source, root):
    path = source.write(documents(5))
    for suffix in "12":
        run(nodes(path, cleaning=CleanConfig(suffix=suffix))[:2], root)
    newest = nodes(path, cleaning=CleanConfig(suffix="2")).clean
    newest.dataset(root).drop(0)
    assert plan_node(newest, root, PlanOptions()).missing == {0: "suffix: '1' -> '2'"}


def test_one_document_of_a_thousand_costs_one_row(source, root):
    wanted = nodes(source.write(documents(1000)), shard_size=250)
    run(wanted, root)
    source.write(documents(1000, d600="another text"))
    plans = {p.node.name: p for p in plan_all(list(wanted), root, PlanOptions())}
    assert plans["documents/x"].stale == {2: "documents changed or gone"}
    assert plans["clean/text"].todo == plans["embed/length"].todo == [2]
    assert plans["evaluation/total"].stale == {0: "predictions/longest changes"}
    made = counts(run(wanted, root))
    assert made["documents/x"] == (1, 1, 249)
    assert made["clean/text"] == (1, 1, 249)
    assert made["embed/length"] == (1, 1, 249)
    assert made["predictions/longest"] == (1, 1, 249)
    # it reads the title, which did not change: fresh, at most a renewed note
    assert made.get("clean/title", (0, 0, 0))[1] == 0
    assert content(wanted.clean, root)["d600"]["text"] == "ANOTHER TEXT"
    assert run(wanted, root) == {}


def test_a_stage_that_reads_other_columns_stays_fresh(source, root):
    wanted = nodes(source.write(documents(25)))
    run(wanted, root)
    source.write(documents(25, d3="changed"))
    run([wanted.documents], root)
    assert plan_node(wanted.title, root, PlanOptions()).fresh == (0, 1, 2)


def test_an_edit_that_changes_no_output_stops_there(source, root):
    wanted = nodes(source.write(documents(25)))
    run(wanted, root)
    source.write(documents(25, d3="TEXT d3"))
    assert set(run(wanted, root)) == {"documents/x", "clean/text"}


def test_what_decides_is_the_content_of_the_keyed_columns(source, root):
    wanted = nodes(source.write(documents(25)))
    reads = (Read(wanted.documents, ("text", "title"), keyed=("text",)),)
    stage, fit, total = (replace(node, reads=reads) for node in (wanted.clean, wanted.model, wanted.total))
    total = replace(total, summarise=count_rows)
    run([wanted.documents, stage, total], root)
    seen = fit_shards(fit, root)
    source.write([{**document, "title": "another"} for document in documents(25)])
    run([wanted.documents], root)
    assert [plan_node(node, root, PlanOptions()).todo for node in (stage, total)] == [[], []]
    assert fit_shards(fit, root) == seen
    source.write(documents(25, d0="another"))
    run([wanted.documents], root)
    assert [plan_node(node, root, PlanOptions()).todo for node in (stage, total)] == [[0], [0]]
    assert [i for i, digest in fit_shards(fit, root).items() if digest != seen[i]] == ["0"]


def test_a_shard_that_one_of_two_upstreams_lacks_changes(source, root):
    wanted = nodes(source.write(documents(25)))
    both = replace(wanted.vector, reads=(*wanted.vector.reads, Read(wanted.title, ("title",))))
    run([wanted.documents, wanted.clean, wanted.title, both], root)
    wanted.title.dataset(root).drop(1)
    assert plan_node(both, root, PlanOptions()).stale == {1: "clean/title changes"}


def test_a_lost_shard_upstream_counts_as_changed_until_it_is_made(source, root):
    wanted = nodes(source.write(documents(25)))
    run(wanted, root)
    shard_file(wanted.clean, root, 1).unlink()
    plans = {p.node.name: p for p in plan_all(list(wanted), root, PlanOptions())}
    assert plans["embed/length"].stale == {1: "clean/text changes"}


def test_an_image_that_changed_concerns_stages_over_images_alone(source, root):
    wanted = nodes(source.write(documents(5)))
    stage = replace(wanted.clean, transform=told_of_a_changed_image)
    run([wanted.documents, stage], root)
    assert plan_node(stage, root, PlanOptions()).todo == []
    assert changed_images([stage], root) == frozenset()
    assert plan_node(wanted.documents, root, PlanOptions(changed=frozenset({7}))).scan is None


def told_of_a_changed_image(tables, config, context):
    return pa.table({"id": tables[0]["id"], "status": [CHANGED] * len(tables[0]), "text": tables[0]["text"]})


def test_the_shards_to_make_are_in_order(source):
    node = nodes(source.path).clean
    assert Plan(node, stale={2: "", 0: ""}, missing={1: ""}).todo == [0, 1, 2]


def test_a_lost_shard_of_documents_is_missing_not_stale_too(source, root):
    wanted = nodes(source.write(documents(25)))
    run([wanted.documents], root)
    shard_file(wanted.documents, root, 1).unlink()
    plan = plan_node(wanted.documents, root, PlanOptions())
    assert (plan.fresh, plan.stale, plan.missing) == ((0, 2), {}, {1: "its file is missing"})


@pytest.mark.parametrize("stage", ["clean", "vector", "predictions"])
@pytest.mark.parametrize("harm", ["lost", "cut", "record"])
def test_one_lost_shard_is_made_alone(source, root, stage, harm):
    wanted = nodes(source.write(documents(25)))
    run(wanted, root)
    node = getattr(wanted, stage)
    kept, file = content(node, root), shard_file(node, root, 1)
    if harm == "lost":
        file.unlink()
    elif harm == "cut":
        file.write_bytes(file.read_bytes()[:-1])
    else:
        record_path(node, root, 1).unlink()
    assert plan_node(node, root, PlanOptions()).todo == [1]
    assert counts(run(wanted, root)) == {node.name: (1, 5 if len(kept) < 20 else 10, 0)}
    assert content(node, root) == kept
    assert run(wanted, root) == {}


def test_a_corrupted_shard_that_was_found_is_made_alone(source, root):
    wanted = nodes(source.write(documents(25)))
    run(wanted, root)
    file, dataset = shard_file(wanted.clean, root, 1), wanted.clean.dataset(root)
    file.write_bytes(b"\x00" * file.stat().st_size)
    damaged = [i for i, r in dataset.records().items() if dataset.store.damaged(r.files)]
    assert damaged == [1]
    dataset.drop(1)
    assert counts(run(wanted, root)) == {"clean/text": (1, 10, 0)}


def test_added_documents_touch_new_shards_alone(source, root):
    wanted = nodes(source.write(documents(25)))
    run(wanted, root)
    source.write(documents(48))
    plans = {p.node.name: p for p in plan_all(list(wanted), root, PlanOptions())}
    assert plans["documents/x"].missing == dict.fromkeys((3, 4, 5), "new documents")
    assert plans["documents/x"].stale == {}
    assert plans["clean/text"].todo == [3, 4, 5]
    assert plans["models/longest"].todo == []
    made = counts(run(wanted, root))
    assert made["documents/x"] == made["clean/text"] == made["predictions/longest"] == (3, 23, 0)
    assert "models/longest" not in made
    assert len(content(wanted.predictions, root)) == 48
    assert aligned(wanted, root)


def test_failed_rows_alone_are_tried_again(source, root):
    wanted = nodes(source.write(documents(25, d3="bad", d14="bad too", d15="")))
    run(wanted, root)
    assert todo(wanted, root) == {}
    plan = plan_node(wanted.clean, root, PlanOptions(retry_failed=True))
    assert plan.stale == dict.fromkeys((0, 1), "failed rows are tried again")
    assert counts(run([wanted.clean], root, retry_failed=True)) == {"clean/text": (2, 2, 18)}
    assert counts(run(wanted, root)) == {}


def test_a_wish_to_try_again_finds_nothing_where_nothing_failed(source, root):
    wanted = nodes(source.write(documents(25, d15="")))
    run(wanted, root)
    assert run(wanted, root, retry_failed=True) == {}


def test_trying_again_spares_stages_without_a_status(source, root):
    wanted = nodes(source.write(documents(25, d3="bad")))
    run(wanted, root)
    source.write(documents(25, d3="bad", d4="new"))
    made = counts(run(wanted, root, retry_failed=True))
    assert made["clean/text"] == (1, 2, 8)
    assert made["embed/length"] == (1, 1, 9)


def test_trying_again_spares_stages_over_whole_shards(source, root):
    wanted = nodes(source.write(documents(25, d3="bad")))
    whole = replace(wanted.clean, by_row=False)
    run([wanted.documents, whole], root)
    assert plan_node(whole, root, PlanOptions(retry_failed=True)).todo == []
