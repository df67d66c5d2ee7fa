"""When a fit is made again, and what follows it."""

import shutil
from dataclasses import replace

import pytest
from drive import Scale, count_rows, counts, documents, nodes, run, shard_file, todo

from fuseline.tasks.engine.nodes import Fit
from fuseline.tasks.engine.planner import (
    PlanOptions,
    fit_is_due,
    plan_all,
    plan_node,
    snapshot_of,
    training_rows,
)
from fuseline.tasks.engine.snapshot import fit_shards


def test_documents_of_the_train_split_alone_are_training_rows(source, root):
    wanted = nodes(source.write([{**d, "split": "test" if int(d["id"][1:]) > 7 else "train"} for d in documents(25)]))
    run([wanted.documents], root)
    assert training_rows(wanted.model, root) == 8


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
        fitted.folder.remove(fitted.record().name)
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
        total = replace(wanted.total, reads=wanted.model.reads[1:], fits=(wanted.model,), summarise=count_rows)
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
        again = fitted.commit(lambda folder: copy_files(fitted.folder.local(record.name), folder), **seen)
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
