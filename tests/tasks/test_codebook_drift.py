"""The drift report of a codebook, and what the planner makes of it."""

import numpy as np
import pyarrow as pa
import pytest
from drive import counts, run
from visual import Visual, pictures, visual

from fuseline.models.quantizers import PQ
from fuseline.stores.root import Root
from fuseline.stores.schemas import DRIFT
from fuseline.tasks.engine.planner import PlanOptions, plan_all, plan_node
from fuseline.tasks.engine.snapshot import seen_shards
from fuseline.tasks.stages.codebook_drift import refits


@pytest.fixture
def nodes(source, root):
    """Return nodes that have run over 80 documents in 4 shards."""
    nodes = visual(source.write(pictures(80)))
    run(nodes, root)
    return nodes


def report(nodes: Visual, root: Root) -> pa.Table:
    dataset = nodes.drift.dataset(root)
    return dataset.read(dataset.record(0))


def planned(nodes: Visual, root: Root, refit: str) -> dict[str, str]:
    """Return why each node that has something to do is made."""
    drifted = refits(list(nodes), root) if refit == "drift" else {}
    plans = plan_all(list(nodes), root, PlanOptions(refit=refit, drifted=drifted))
    return {plan.node.name: plan.why for plan in plans if plan.todo}


def settle(nodes: Visual, root: Root, refit: str) -> dict[str, tuple[int, int, int]]:
    """Run everything under a policy as the flows do: again as long as a report asks for another codebook."""
    options = {"refit": refit, "drifted": refits(list(nodes), root) if refit == "drift" else {}}
    return counts(run(nodes, root, **options))


def test_with_nothing_new_there_is_nothing_to_compare(nodes, root):
    table = report(nodes, root)
    assert table.schema.equals(DRIFT)
    rows = table.to_pylist()
    assert [(row["repeat"], row["part"]) for row in rows] == [(0, 0), (0, 1)]
    assert {(row["rows"], row["shards"], row["error_ratio"], row["refit"], row["why"]) for row in rows} == {
        (0, 0, None, False, "")
    }
    # 8 shapes of splits of 10: 32 of 80 documents are not in train; none of these lacks its vector
    assert {row["held_out"] for row in rows} == {32}
    assert refits(list(nodes), root) == {}


def test_errors_and_usage_are_those_of_the_rows_themselves(source, nodes, root):
    source.write(pictures(80) + pictures(30, start=80, shift=0.4))
    run(nodes, root)
    book = PQ.load(nodes.codebook.fitted(root).folder.local(nodes.codebook.fitted(root).record().name))
    vectors = nodes.embed.dataset(root)

    def usable(indices, split):
        rows = []
        for index in indices:
            table = vectors.read(vectors.record(index))
            documents = nodes.documents.dataset(root)
            splits = documents.read(documents.record(index))["split"].to_pylist()
            there = zip(table["present"].to_pylist(), splits, table["embedding"].to_pylist(), strict=True)
            rows += [vector for present, own, vector in there if present and split(own)]
        return np.array(rows, np.float32)

    new, held_out = usable([4, 5], lambda split: True), usable(range(4), lambda split: split != "train")
    row = report(nodes, root).to_pylist()[1]
    assert (row["rows"], row["shards"], row["held_out"]) == (len(new), 2, len(held_out)) == (27, 2, 32)
    errors = [float(book.errors(X, book.encode(X).codes).mean(dtype=np.float64)) for X in (new, held_out)]
    assert row["error"] == pytest.approx(errors[0])
    assert row["known_error"] == pytest.approx(errors[1])
    assert row["error_ratio"] == pytest.approx(errors[0] / errors[1])
    used = np.bincount(book.encode(new).codes[:, 1], minlength=4)
    assert row["empty"] == (used == 0).sum()
    assert row["used"] == 4


def test_documents_of_the_same_kind_change_nothing(source, nodes, root):
    source.write(pictures(120))
    for refit in ("manual", "drift"):
        settle(nodes, root, refit)
        assert report(nodes, root)["refit"].to_pylist() == [False, False]
        assert planned(nodes, root, refit) == {}


class TestMoved:
    """New documents that the codebook does not fit."""

    @pytest.fixture
    def moved(self, source, nodes, root):
        source.write(pictures(80) + pictures(40, start=80, shift=3))
        settle(nodes, root, "manual")
        return nodes

    def test_the_report_asks_for_a_refit_and_says_why(self, moved, root):
        row = report(moved, root).to_pylist()[0]
        assert row["refit"]
        assert row["error_ratio"] > 1.25
        assert row["why"].startswith(f"mean squared error {row['error_ratio']:.2f} x that of known rows")
        assert refits(list(moved), root) == {"codebooks/q": f"{row['rows']} new rows drifted: {row['why']}"}

    def test_manual_keeps_the_codebook(self, moved, root):
        assert planned(moved, root, "manual") == {}

    def test_drift_fits_it_again_and_everything_after_it_once(self, moved, root):
        before = moved.codebook.fitted(root).record()
        why = planned(moved, root, "drift")
        assert why["codebooks/q"].startswith("36 new rows drifted: mean squared error")
        assert why["quantize/q"] == "codebooks/q will be fitted (6 shards)"
        assert why["models/m"] == "codebooks/q was fitted again"
        made = settle(moved, root, "drift")
        assert made["codebooks/q"][0] == made["models/m"][0] == 1
        assert made["quantize/q"] == made["predictions/m"] == (6, 120, 0)
        assert "embed/image" not in made
        assert moved.codebook.fitted(root).record().digest != before.digest
        assert report(moved, root)["rows"].to_pylist() == [0, 0]
        assert planned(moved, root, "drift") == {}
        assert settle(moved, root, "drift") == {}

    def test_on_change_needs_no_drift(self, moved, root):
        assert planned(moved, root, "on_change")["codebooks/q"].startswith("training documents changed")

    def test_a_report_about_another_codebook_says_nothing(self, moved, root):
        run([moved.codebook], root, refit="now")
        assert refits(list(moved), root) == {}

    def test_a_refit_that_changes_no_byte_is_not_asked_for_again(self, source, nodes, root):
        """Only new documents outside the train split: the codebook stays as it is, and the report must not insist."""
        new = [{**row, "split": "test"} for row in pictures(40, start=80, shift=3)]
        source.write(pictures(80) + new)
        settle(nodes, root, "manual")
        before = nodes.codebook.fitted(root).record()
        assert refits(list(nodes), root)
        settle(nodes, root, "drift")
        assert nodes.codebook.fitted(root).record().digest == before.digest
        assert plan_node(nodes.drift, root, PlanOptions()).todo == []
        assert refits(list(nodes), root) == {}
        assert planned(nodes, root, "drift") == {}


def test_a_changed_shard_is_new_as_a_whole(source, nodes, root):
    rows = pictures(80)
    rows[25] = {**rows[25], "title": "[9, 9, 9, 9]"}
    source.write(rows)
    run(nodes, root)
    assert report(nodes, root)["shards"].to_pylist() == [1, 1]
    assert report(nodes, root)["rows"].to_pylist() == [18, 18]


def test_a_shard_that_a_codebook_cannot_read_is_none_that_it_saw(source, nodes, root):
    source.write(pictures(120))
    run(nodes, root)
    assert seen_shards(nodes.drift, root) == (True,) * 4 + (False,) * 2
    nodes.embed.dataset(root).drop(5)
    assert seen_shards(nodes.drift, root) == (True,) * 4 + (False,) * 2


def test_an_edited_text_is_nothing_to_a_codebook(source, nodes, root):
    rows = pictures(80)
    rows[25] = {**rows[25], "text": "another"}
    source.write(rows)
    made = counts(run(nodes, root))
    assert not {"token_counts/q", "drift/q", "quantize/q"} & set(made)


def test_a_lost_report_is_made_again(nodes, root):
    dataset = nodes.drift.dataset(root)
    (name,) = dataset.record(0).files
    (dataset.folder.local() / name).unlink()
    assert refits(list(nodes), root) == {}
    assert counts(run(nodes, root)) == {"drift/q": (1, 2, 0)}
