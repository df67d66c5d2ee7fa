"""What is done again after which change: counted, not believed."""

import shutil
from dataclasses import replace

import pyarrow as pa
import pytest
from drive import CleanConfig, Scale, aligned, content, counts, documents, nodes, run

from fuseline.tasks.engine.images import CHANGED
from fuseline.tasks.engine.nodes import Fit, Node, Read
from fuseline.tasks.engine.planner import (
    Plan,
    PlanOptions,
    changed_images,
    explain_key,
    fit_is_due,
    plan_all,
    plan_node,
    snapshot_of,
    training_rows,
)
from fuseline.tasks.engine.snapshot import fit_shards


def todo(wanted, root, **options) -> dict[str, tuple[int, int]]:
    """Return (stale, missing) of every node that has something to do."""
    plans = plan_all(list(wanted), root, PlanOptions(**options))
    return {plan.node.name: (len(plan.stale), len(plan.missing)) for plan in plans if plan.todo}


def record_path(node: Node, root, index: int):
    return node.dataset(root).folder / "shards" / f"{index:06d}.json"


def shard_file(node: Node, root, index: int):
    dataset = node.dataset(root)
    return dataset.folder / next(iter(dataset.record(index).files))


def test_nothing_was_made_then_everything_then_nothing(source, root):
    wanted = nodes(source.write(documents(25)))
    plans = plan_all(list(wanted), root, PlanOptions())
    assert [(p.node.name, len(p.missing), p.why) for p in plans][:2] == [
        ("documents/x", 3, "never made (3 shards)"),
        ("clean/text", 3, "never made (3 shards)"),
    ]
    assert not root.exists()
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
    total = replace(total, summarise=count)
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


def count(shards, config, context):
    return {"total": pa.table({"n": [sum(table.num_rows for (table,) in shards())]})}


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


def test_documents_of_the_train_split_alone_are_training_rows(source, root):
    wanted = nodes(source.write([{**d, "split": "test" if int(d["id"][1:]) > 7 else "train"} for d in documents(25)]))
    run([wanted.documents], root)
    assert training_rows(wanted.model, root) == 8


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


def test_a_fit_sees_the_shards_that_all_it_reads_have(source, root):
    wanted = nodes(source.write(documents(25)))
    run(wanted, root)
    whole = fit_shards(wanted.model, root)
    wanted.clean.dataset(root).drop(1)
    assert list(whole) == ["0", "1", "2"]
    assert fit_shards(wanted.model, root) == {index: whole[index] for index in "02"}


class TestRefit:
    """A fitted thing stays frozen until it is asked for."""

    @pytest.fixture
    def wanted(self, source, root):
        wanted = nodes(source.write(documents(25)))
        run(wanted, root)
        source.write(documents(30, d0="a much longer text than before"))
        return wanted

    def test_manual_says_what_it_saw_and_stays(self, wanted, root):
        made = run(wanted, root)
        assert "models/longest" not in made
        plan = plan_node(wanted.model, root, PlanOptions())
        assert (plan.fresh, plan.why) == ((0,), "fitted on 25 of 30 training documents")

    def test_on_change_fits_again_and_what_is_below_follows(self, wanted, root):
        (plan,) = [p for p in plan_all(list(wanted), root, PlanOptions(refit="on_change")) if p.node == wanted.model]
        assert plan.stale == {0: "training documents changed and refit is on_change"}
        made = run(wanted, root, refit="on_change")
        assert counts(made)["models/longest"] == (1, 30, 0)
        assert counts(made)["predictions/longest"] == (4, 30, 0)
        assert "evaluation/total" in made
        assert run(wanted, root, refit="on_change") == {}

    def test_on_change_stays_when_nothing_changed(self, wanted, root):
        run(wanted, root, refit="on_change")
        assert todo(wanted, root, refit="on_change") == {}

    def test_now_fits_again_whatever_changed(self, wanted, root):
        run(wanted, root)
        plans = {p.node.name: p for p in plan_all(list(wanted), root, PlanOptions(refit="now"))}
        assert plans["models/longest"].stale == {0: "--refit was given"}
        assert plans["predictions/longest"].stale == dict.fromkeys(range(4), "models/longest will be fitted")
        made = counts(run(wanted, root, refit="now"))
        assert made["models/longest"] == (1, 30, 0)
        assert made["predictions/longest"] == (4, 30, 0)

    @pytest.mark.parametrize(("refit", "stale"), [("drift", {0: "moved"}), ("manual", {}), ("on_change", {})])
    def test_drift_is_heeded_where_asked(self, refit, stale, source, root):
        wanted = nodes(source.write(documents(25)))
        run(wanted, root)
        drifted = {"models/longest": "moved", "models/another": "moved too"}
        assert plan_node(wanted.model, root, PlanOptions(refit=refit, drifted=drifted)).stale == stale

    def test_an_equal_checkpoint_leaves_what_is_below_fresh(self, source, root):
        wanted = nodes(source.write(documents(25)))
        run(wanted, root)
        assert set(run(wanted, root, refit="now")) == {"models/longest"}

    def test_a_lost_checkpoint_is_fitted_again_and_says_why(self, wanted, root):
        fitted = wanted.model.fitted(root)
        shutil.rmtree(fitted.path(fitted.record()))
        plan = plan_node(wanted.model, root, PlanOptions())
        assert plan.missing == {0: "its checkpoint is missing or cut"}

    def test_predicting_needs_a_fitted_model(self, source, root):
        wanted = nodes(source.write(documents(5)))
        run([wanted.documents, wanted.clean], root)
        (report,) = run([wanted.predictions], root)["predictions/longest"]
        assert report.error.startswith("models/longest: is not fitted yet")


class TestASummary:
    """A table over all shards follows what it reads, and what it was fitted by."""

    @pytest.fixture
    def total(self, source, root):
        """Return a summary over `models/longest` that reads nothing made by it; everything is made."""
        wanted = nodes(source.write(documents(25)))
        total = replace(wanted.total, reads=wanted.model.reads[1:], fits=(wanted.model,), summarise=count)
        run([wanted.documents, wanted.clean, wanted.model, total], root)
        assert plan_node(total, root, PlanOptions()).fresh == (0,)
        return total

    def test_it_follows_another_checkpoint(self, total, root):
        seen = {"n_rows": 25, "shards": {}, "fitted": {}, "facts": {}}
        total.fits[0].fitted(root).commit(lambda folder: (folder / "model.json").write_bytes(b"99"), **seen)
        assert plan_node(total, root, PlanOptions()).stale == {0: "models/longest was fitted again"}
        run([total], root)
        assert plan_node(total, root, PlanOptions()).todo == []

    def test_it_is_stale_while_its_checkpoint_is_lost(self, total, root):
        total.fits[0].fitted(root).drop()
        assert plan_node(total, root, PlanOptions()).stale == {0: "models/longest was fitted again"}

    def test_a_lost_file_is_made_again(self, total, root):
        shard_file(total, root, 0).unlink()
        assert plan_node(total, root, PlanOptions()).missing == {0: "its file is missing or cut"}

    def test_it_follows_a_fit_that_has_seen_other_shards_though_it_is_the_same(self, total, root):
        compared = replace(total, compares=total.fits[0])
        run([compared], root)
        fitted = compared.compares.fitted(root)
        record = fitted.record()
        seen = {"n_rows": 25, "shards": {**record.shards, "1": "xxh3:another"}, "fitted": {}, "facts": {}}
        again = fitted.commit(lambda folder: copy_files(fitted.path(record), folder), **seen)
        assert again.digest == record.digest
        assert plan_node(compared, root, PlanOptions()).stale == {0: "other shards are new to the codebook"}
        run([compared], root)
        assert plan_node(compared, root, PlanOptions()).todo == []


def copy_files(source, target) -> None:
    for path in source.iterdir():
        shutil.copy(path, target)


class TestAFitOverAFit:
    """A fit that reads what another fit made, as a classifier reads a codebook's codes."""

    @pytest.fixture
    def wanted(self, source):
        return nodes(source.write(documents(25)))

    @pytest.fixture
    def over(self, wanted, root):
        """Return a fit over `models/longest`; everything is made."""
        over = Fit(
            role="models", short="over", flow="train", version=1, config=Scale(), fit=wanted.model.fit,
            reads=wanted.model.reads, fits=(wanted.model,),
        )  # fmt: skip
        run([*wanted, over], root)
        return over

    @staticmethod
    def due(node, root, refit="manual") -> bool:
        """Return whether a fit is due; the sweep's decision and the planner's are one."""
        options = PlanOptions(refit=refit)
        answer = fit_is_due(node, root, options, snapshot_of(node, root))
        assert answer == bool(plan_node(node, root, options).todo)
        return answer

    def test_it_is_due_when_the_upstream_fit_was_made_again(self, wanted, over, source, root):
        assert not self.due(over, root)
        source.write(documents(25, d0="a much longer text than before"))
        run([wanted.documents, wanted.clean], root)
        run([wanted.model], root, refit="now")
        assert self.due(over, root)
        assert plan_node(over, root, PlanOptions()).stale == {0: "models/longest was fitted again"}
        assert set(run([over], root)) == {"models/over"}
        assert not self.due(over, root)

    def test_it_stays_when_the_upstream_fit_gave_the_same_again(self, wanted, over, root):
        run([wanted.model], root, refit="now")
        assert not self.due(over, root)

    def test_it_is_due_when_the_upstream_fit_is_lost(self, wanted, over, root):
        wanted.model.fitted(root).drop()
        assert fit_is_due(over, root, PlanOptions(), snapshot_of(over, root))
        assert plan_node(over, root, PlanOptions()).stale == {0: "models/longest was fitted again"}

    @pytest.mark.parametrize(("refit", "expected"), [("manual", False), ("on_change", True), ("drift", False)])
    def test_changed_training_rows_matter_under_on_change_alone(self, refit, expected, wanted, over, source, root):
        assert not self.due(over, root, refit)
        source.write(documents(25, d0="a much longer text than before"))
        run([wanted.documents, wanted.clean], root)
        assert self.due(over, root, refit) == expected

    def test_it_is_due_when_it_is_wanted_or_was_never_made(self, wanted, over, root):
        assert self.due(over, root, "now")
        over.fitted(root).drop()
        assert self.due(over, root)
