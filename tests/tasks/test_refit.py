"""A checkpoint that is lost is made again from what it saw, or the user is told that another comes of it."""

from pathlib import Path

import pytest
from drive import Source, counts, run
from faults import flip
from visual import Visual, pictures, visual

from fuseline.stores.fitted import FittedRecord
from fuseline.stores.root import Root
from fuseline.tasks.engine.nodes import Fit
from fuseline.tasks.engine.planner import PlanOptions, plan_node

GROWN = pictures(40) + pictures(40, start=40, spread=3, shift=-2)


@pytest.fixture
def source(tmp_path: Path) -> Source:
    return Source(tmp_path / "x.jsonl")


@pytest.fixture
def grown(source: Source, root: Root) -> Visual:
    """Return nodes whose fits saw half of the documents that there are now."""
    wanted = visual(source.write(pictures(40)))
    run(wanted, root)
    source.write(GROWN)
    run(wanted, root)
    return wanted


def record_of(node: Fit, root: Root) -> FittedRecord:
    record = node.fitted(root).record()
    assert record is not None
    return record


def mended(node: Fit, root: Root) -> None:
    """Damage a checkpoint as a disk does, and drop it as `fuseline repair` does."""
    fitted = node.fitted(root)
    flip(fitted.folder.local(record_of(node, root).name) / "arrays.safetensors")
    assert fitted.damaged()
    fitted.drop()


def gone(node: Fit, root: Root) -> None:
    """Lose a file, of which `fuseline run` alone takes care."""
    (node.fitted(root).folder.local(record_of(node, root).name) / "arrays.safetensors").unlink()


@pytest.mark.parametrize("lose", [mended, gone])
@pytest.mark.parametrize("name", ["codebook", "model"])
def test_it_is_fitted_again_on_the_documents_that_it_saw(grown: Visual, root: Root, name: str, lose) -> None:
    node = getattr(grown, name)
    before = record_of(node, root)
    lose(node, root)
    plan = plan_node(node, root, PlanOptions())
    assert (plan.missing, plan.warning) == ({0: "its checkpoint is missing or cut"}, "")
    made = run(grown, root)
    after = record_of(node, root)
    assert (after.digest, after.shards, after.fitted) == (before.digest, before.shards, before.fitted)
    assert after.n_rows == before.n_rows == 24
    assert node.fitted(root).damaged() == []
    assert counts(made) == {node.name: (1, 24, 0)}  # what rests on it stays
    assert run(grown, root) == {}


@pytest.mark.parametrize("lose", [mended, gone])
def test_documents_that_are_gone_cannot_be_seen_again(grown: Visual, source: Source, root: Root, lose) -> None:
    source.write(GROWN[1:])  # d0 was of the train split
    run(grown[:4], root)
    before = record_of(grown.codebook, root)
    lose(grown.codebook, root)
    made = run(grown, root)
    (report,) = made["codebooks/q"]
    assert report.note == (
        "quantize/codebooks-q: its checkpoint is missing or cut, and documents that it saw changed: fitted on today's "
        "47 training documents instead of the 24 of before, which gave another one; codes, models and predictions that "
        "rest on it follow"
    )
    assert record_of(grown.codebook, root).digest != before.digest
    assert record_of(grown.codebook, root).n_rows == 47
    assert {"quantize/q", "models/m", "predictions/m"} <= made.keys()
    assert made["models/m"][0].note == ""  # it follows for a reason that its plan tells
    assert run(grown, root) == {}


@pytest.mark.parametrize("damage", ["flipped", "gone"])
def test_a_lost_record_tells_nothing_of_what_was_seen(grown: Visual, root: Root, damage: str) -> None:
    path = grown.codebook.fitted(root).folder.local() / "record.json"
    flip(path) if damage == "flipped" else path.unlink()
    grown.codebook.fitted(root).drop()
    assert plan_node(grown.codebook, root, PlanOptions()).missing == {0: "its record is lost; it is fitted on today's"}
    (report,) = run(grown, root)["codebooks/q"]
    assert "its record is lost: fitted on today's 48 training documents instead of those of before" in report.note
    assert record_of(grown.codebook, root).n_rows == 48


def test_a_lost_record_of_what_comes_again_warns_of_nothing(source: Source, root: Root) -> None:
    wanted = visual(source.write(pictures(40)))
    run(wanted, root)
    (wanted.codebook.fitted(root).folder.local() / "record.json").unlink()
    made = run(wanted, root)
    assert made.keys() == {"codebooks/q"}
    assert made["codebooks/q"][0].note == ""


@pytest.mark.parametrize("refit", ["now", "on_change"])
def test_what_the_user_wants_fitted_again_sees_todays_documents(grown: Visual, root: Root, refit: str) -> None:
    gone(grown.codebook, root)
    (report,) = run([grown.codebook], root, refit=refit)["codebooks/q"]
    assert (report.note, report.n_rows) == ("", 48)


def test_a_fit_that_was_never_made_has_no_warning(source: Source, root: Root) -> None:
    wanted = visual(source.write(pictures(40)))
    run(wanted[:3], root)
    plan = plan_node(wanted.codebook, root, PlanOptions())
    assert (plan.missing, plan.warning, plan.snapshot) == ({0: "never made"}, "", None)
